#include <filesystem>
#include <map>
#include <memory>

#include "apps/accuracy_file.h"
#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/compress/compressed_folder.h"
#include "apps/session_predictor.h"
#include "latency/calibration.h"
#include "latency/kernel_model.h"
#include "latency/predictor.h"
#include "latency/table.h"
#include "space/base/file.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

struct EstimateOptions {
  std::string arch;
  SessionChoice choice;
  std::string model, energy = "horowitz-45nm";
  bool layers = false, by_kind = false, all = false;
};

Result<Network> lowered(const Context& context, const EstimateOptions& o) {
  if (is_compressed(o.arch)) {
    NAS_TRY(loaded, load_compressed(o.arch));
    return loaded.trained.network;
  }
  if (o.choice.space.empty()) return usage_error("--space is required for an architecture by name");
  NAS_TRY(space, open_space(o.choice.space));
  NAS_TRY(text, resolve_architecture(context.project, o.arch));
  NAS_TRY(genotype, text == "largest"    ? Result<Genotype>(space.largest())
                    : text == "smallest" ? Result<Genotype>(space.smallest())
                                         : space.parse(text));
  return space.lower(genotype);
}

// Kernel predictors from the session, or from a file of `predict kernels`.
Result<latency::KernelModels> kernel_models(const SessionPredictor& predictor, const EstimateOptions& o) {
  if (o.model.empty()) return latency::KernelModels::fit(predictor.session);
  NAS_TRY(text, read_file(o.model, 1 << 28));
  NAS_TRY(models, latency::KernelModels::load(text, o.model));
  const latency::SessionInfo& info = predictor.session.info;
  for (const auto& [what, required, found] : {std::tuple{"device", info.device, models.device()},
                                              {"precision", info.precision, models.precision()}})
    if (required != found)
      return usage_error(std::string("the predictors are of another ") + what + ": required " + required +
                             ", found " + found,
                         o.model);
  return models;
}

// Every figure of the network: latency, modelled energy, memory bracket, flash.
Result<int> run_all(const Context& context, const EstimateOptions& o, const Network& network,
                    const SessionPredictor& predictor) {
  const latency::SessionInfo& info = predictor.session.info;
  const Precision precision = latency::precision_of(info.precision);
  NAS_TRY(energies, load_energy_table(o.energy));
  std::vector<latency::Predictor> all;
  if (o.by_kind) {
    NAS_TRY(models, kernel_models(predictor, o));
    all.push_back(latency::latency_by_kernels(models, predictor.rules, info.unit));
  } else {
    all.push_back(latency::latency_by_table(predictor.table, predictor.rules, predictor.calibration));
  }
  all.push_back(latency::modelled_energy(energies, precision, predictor.rules));
  all.push_back(latency::modelled_memory(precision, predictor.rules));
  all.push_back(latency::modelled_flash(precision, 0));
  std::vector<Record> rows;
  for (const latency::Predictor& one : all) {
    NAS_TRY(e, one(network));
    rows.push_back({{"quantity", e.quantity},
                    {"value", e.value},
                    {"low", e.low},
                    {"high", e.high},
                    {"unit", e.unit},
                    {"source", e.source},
                    {"by", e.by},
                    {"device", info.device},
                    {"session", predictor.path.stem().string()}});
  }
  print_records(context,
                {{"quantity", "quantity"},
                 {"value", "value"},
                 {"low", "from"},
                 {"high", "to"},
                 {"unit", "unit"},
                 {"source", "source"},
                 {"by", "by"}},
                rows);
  return 0;
}

std::string layer_names(const Network& network, const std::vector<std::int32_t>& layers) {
  return layers.empty() ? "" : layer_name(network.layers[static_cast<std::size_t>(layers.front())]);
}

Result<int> run_estimate(const Context& context, const EstimateOptions& o) {
  NAS_TRY(network, lowered(context, o));
  NAS_TRY(predictor, open_session_predictor(context, o.choice));
  if (o.all) return run_all(context, o, network, predictor);
  std::optional<latency::KernelModels> models;
  if (o.by_kind || !o.model.empty()) {
    NAS_TRY(found, kernel_models(predictor, o));
    models = std::move(found);
  }
  NAS_TRY(sum, models ? models->estimate(network, predictor.rules)
                      : predictor.table.estimate(network, predictor.rules));
  if (models) predictor.calibration.reset();  // it was fitted to the table's sums
  const latency::SessionInfo& info = predictor.table.info();
  if (o.layers) {
    std::vector<Record> rows;
    for (const latency::KernelEstimate& k : sum.kernels)
      rows.push_back({{"layer", layer_names(network, k.layers)},
                      {"kernel", k.signature},
                      {"value", k.value},
                      {"low", k.low},
                      {"high", k.high},
                      {"share", k.value / sum.value},
                      {"unit", info.unit},
                      {"source", to_string(k.source)}});
    print_records(context,
                  {{"layer", "layer"},
                   {"kernel", "kernel"},
                   {"value", info.unit},
                   {"low", "from"},
                   {"high", "to"},
                   {"share", "share"},
                   {"source", "source"}},
                  rows);
    return 0;
  }
  Record record{{"device", info.device},
                {"precision", info.precision},
                {"unit", info.unit},
                {"session", predictor.path.stem().string()},
                {"kernels", sum.kernels.size()},
                {"interpolated", sum.interpolated},
                {"by", models ? "kernel predictors" : "table"},
                {"sum", sum.value},
                {"sum_low", sum.low},
                {"sum_high", sum.high}};
  std::vector<Column> columns{{"device", "device"},
                              {"precision", "precision"},
                              {"kernels", "kernels"},
                              {"interpolated", "of them interpolated"},
                              {"sum", "sum of kernels (predicted)", info.unit}};
  if (predictor.calibration) {
    const latency::Calibration& c = *predictor.calibration;
    const double value = c(latency::sum_features(network, sum));
    record["value"] = value;
    record["low"] = value / (1 + c.spread);
    record["high"] = value * (1 + c.spread);
    record["calibration"] = c.form + " on " + std::to_string(c.networks) + " networks";
    for (const Column& column :
         {Column{"value", "calibrated (predicted)", info.unit}, Column{"low", "90 % from", info.unit},
          Column{"high", "to", info.unit}, Column{"calibration", "calibration"}})
      columns.push_back(column);
  }
  print_record(context, columns, record);
  return 0;
}

// Where an estimate comes from: kinds of kernels by their share, and what the calibration adds.
Result<int> run_explain(const Context& context, const EstimateOptions& o) {
  NAS_TRY(network, lowered(context, o));
  NAS_TRY(predictor, open_session_predictor(context, o.choice));
  NAS_TRY(sum, predictor.table.estimate(network, predictor.rules));
  struct Part {
    std::size_t kernels = 0, interpolated = 0;
    double value = 0;
  };
  std::map<std::string, Part> parts;
  for (const latency::KernelEstimate& k : sum.kernels) {
    const Layer& anchor = network.layers[static_cast<std::size_t>(k.layers.front())];
    Part& part = parts[is_depthwise(anchor) ? "depthwise conv" : std::string(to_string(anchor.kind))];
    ++part.kernels;
    part.interpolated += k.source == latency::EntrySource::interpolated;
    part.value += k.value;
  }
  const double total =
      predictor.calibration ? (*predictor.calibration)(latency::sum_features(network, sum)) : sum.value;
  std::vector<Record> rows;
  const auto add = [&](const std::string& name, const Part& part) {
    rows.push_back({{"part", name},
                    {"kernels", part.kernels},
                    {"interpolated", part.interpolated},
                    {"value", part.value},
                    {"share", part.value / total},
                    {"unit", predictor.table.info().unit}});
  };
  for (const auto& [name, part] : parts) add(name, part);
  if (predictor.calibration)
    add("between kernels (" + predictor.calibration->form + ")", {0, 0, total - sum.value});
  add("whole network", {sum.kernels.size(), sum.interpolated, total});
  print_records(context,
                {{"part", "part"},
                 {"kernels", "kernels"},
                 {"interpolated", "of them interpolated"},
                 {"value", predictor.table.info().unit},
                 {"share", "share"}},
                rows);
  return 0;
}

}  // namespace

void add_estimate_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<EstimateOptions>();
  CLI::App* estimate =
      add_command(app, "estimate", "Latency of an architecture by a device's table, kernel by kernel",
                  {"hwnas estimate largest --space tiny --session cortex-m4-qemu-int8-tiny",
                   "hwnas estimate mcu:best --space cifar-mbv3 --device host --layers"});
  estimate
      ->add_option(
          "ARCH", options->arch,
          "smallest, largest, a genotype's text, RUN:best, RUN:front[3], or a folder of `hwnas compress`")
      ->required();
  add_session_options(estimate, options->choice);
  estimate->get_option("--space")->required(false);  // a compressed folder needs none
  estimate->add_flag("--layers", options->layers, "Every kernel with its share");
  estimate->add_flag("--all", options->all, "Latency, energy, peak memory and flash");
  estimate->add_option("--energy", options->energy,
                       "With --all: energy coefficients, as for hwnas space cost");
  estimate->add_flag("--by-kind", options->by_kind,
                     "By kernel predictors instead of the table: also for kernels it does not cover");
  estimate->add_option("--model", options->model, "Kernel predictors from a file of `hwnas predict kernels`");
  estimate->callback([&context, options] {
    context.action = [&context, options] { return run_estimate(context, *options); };
  });

  CLI::App* predict = app.get_subcommand("predict");
  CLI::App* explain =
      add_command(*predict, "explain", "What an estimate is made of, by kind of kernel",
                  {"hwnas predict explain largest --space tiny --session host-int8-tiny",
                   "hwnas predict explain smallest --space tiny --session host-int8-tiny -f csv"});
  explain->add_option("ARCH", options->arch, "As for hwnas estimate")->required();
  add_session_options(explain, options->choice);
  explain->callback([&context, options] {
    context.action = [&context, options] { return run_explain(context, *options); };
  });
}

}  // namespace nas::apps
