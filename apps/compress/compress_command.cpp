#include <filesystem>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/compress/compressor.h"
#include "apps/quantize_commands.h"
#include "supernet/runtime.h"

namespace nas::apps {
namespace {

Result<int> run_compress(const Context& context, CompressOptions o) {
  supernet::prepare_runtime();
  std::error_code ignored;
  if (std::filesystem::exists(o.out, ignored)) return usage_error("the folder exists already", o.out);
  if (!is_compressed(o.network)) {
    NAS_TRY(network, resolve_architecture(context.project, o.network));
    o.network = network;
  }
  NAS_TRY(done, compress_network(context, o));
  done.record["quantize"] = {{"calibration", o.stage.calibration},
                             {"finetune_epochs", o.stage.finetune},
                             {"qat_epochs", o.stage.qat}};
  NAS_CHECK(save_compressed(o.out, done));
  std::vector<nlohmann::ordered_json> rows = done.record["stages"];
  std::vector<Column> columns{{"stage", "network"},  {"top1", "top-1"},          {"low", "95 % from"},
                              {"high", "to"},        {"images", "images"},       {"macs", "MACs"},
                              {"params", "weights"}, {"flash", "flash", "bytes"}};
  if (rows.front().contains("latency"))
    columns.push_back({"latency", "latency (predicted)", rows.front()["latency_unit"].get<std::string>()});
  if (rows.front().contains("energy")) columns.push_back({"energy", "energy (modelled)", "uJ"});
  print_records(context, columns, rows);
  if (context.quiet) return 0;
  for (const char* part : {"mask", "codes", "ratio_search"})
    if (done.record.contains(part)) std::fprintf(stderr, "%s: %s\n", part, done.record[part].dump().c_str());
  std::fprintf(stderr, "%s: hwnas export %s --run %s --to c; hwnas estimate %s\n", o.out.c_str(),
               o.out.c_str(), o.run.c_str(), o.out.c_str());
  return 0;
}

void add_what(CLI::App& command, CompressOptions& o) {
  command.add_option(
      "--prune", o.prune,
      "Channels inside blocks, IMPORTANCE:RATIO. Importance: l1, bn, apoz, taylor, second. Ratio: the "
      "share that goes, uniform, auto (by sensitivity) or search, both under the first limit");
  command.add_option("--mask", o.mask,
                     "Single weights to zero: a share such as 0.5, or a pattern such as 2:4");
  command.add_option("--rank", o.rank, "1x1 and linear layers as two: a share of the full rank, or auto");
  command.add_option(
      "--bits", o.bits,
      "Of weights: 8, 4, 2; a list such as stage3=4,classifier=2; mixed (under flash, latency, energy)");
  command.add_option("--activation-bits", o.activation_bits, "Of what layers give: 8 or 4");
  command.add_option("--codes", o.codes, "Weights that share values: shared:16, ternary, binary");
  command.add_option(
      "--under", o.under,
      "Limits: flash=40k (bytes), macs=2M, latency=1.5 (Minstr or ms), energy=8 (microjoules)");
  command.add_option("--energy", o.energy, "Coefficients of a limit on energy: a name or a JSON file");
}

void add_how(CLI::App& command, CompressOptions& o) {
  command.add_option("--rounds", o.rounds, "Of pruning (masking, projecting) and fine-tuning in turn")
      ->check(CLI::Range(1, 100));
  command.add_option("--multiple", o.multiple, "Channels of larger groups are a multiple of this")
      ->check(CLI::Range(1, 64));
  command
      .add_option("--score-images", o.score_images, "Of the recalibration split, for importances and errors")
      ->check(CLI::PositiveNumber);
  command.add_option("--images", o.images, "Of the validation split, for accuracies; 0: all")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--evaluations", o.evaluations, "Losses measured by a search for ratios")
      ->check(CLI::PositiveNumber);
  command.add_option("--loss-images", o.loss_images, "Of the recalibration split, for those losses")
      ->check(CLI::PositiveNumber);
  command.add_option("--seed", o.seed,
                     "Of that search and of the order of training images; splits stay the run's");
  command.add_option(
      "--space", o.session.space,
      "The space that ARCH is of, where it has bit genes besides the run's: the file of `hwnas sweep "
      "--integers`");
  command.add_option("--session", o.session.session, "Session of `hwnas profile` that predicts latency");
  command.add_option("--device", o.session.device, "Its newest session in this project");
  command.add_option("--calibration", o.stage.calibration, "How ranges of activations are chosen")
      ->check(CLI::IsMember({"auto", "min_max", "percentile", "mse", "kl"}));
  add_quantize_options(command, o.stage);
}

}  // namespace

void add_compress_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<CompressOptions>();
  CLI::App* command = add_command(
      app, "compress",
      "Prune, mask, factor and give fewer bits to a network; the result goes to export and estimate",
      {"hwnas compress mcu:best --run runs/supernet --prune taylor:auto --bits 4 --qat 1 --under macs=1M "
       "--out small",
       "hwnas compress largest --run runs/supernet --bits mixed --under flash=40k --out mixed && hwnas "
       "export mixed "
       "--run runs/supernet --to c --out exports/mixed"});
  command
      ->add_option(
          "ARCH", options->network,
          "smallest, middle, largest, a genotype's text, RUN:best, RUN:front[3], or a folder of compress")
      ->required();
  command->add_option("--run", options->run, "Folder of a training run")->required();
  command->add_option("--out", options->out, "Folder to make")->required();
  add_what(*command, *options);
  add_how(*command, *options);
  command->callback([&context, options] {
    context.action = [&context, options] { return run_compress(context, *options); };
  });
}

}  // namespace nas::apps
