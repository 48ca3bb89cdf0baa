#include "apps/quantize_commands.h"

#include "apps/export/subject.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/integer_runner.h"
#include "space/cost.h"
#include "supernet/evaluate.h"
#include "supernet/quantize/sensitivity.h"
#include "supernet/quantize/simulation.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace supernet;

struct ReportOptions {
  std::vector<std::string> networks;
  std::string run;
  std::vector<std::string> methods{"min_max", "percentile", "mse", "kl", "auto"};
  QuantizeStage stage;
  std::int64_t test_images = 0;  // 0: all of the test split
  bool layers = false;
};

std::vector<bool> right(const std::vector<std::vector<float>>& logits,
                        const std::vector<std::int64_t>& labels) {
  std::vector<bool> is_right;
  for (std::size_t n = 0; n < logits.size(); ++n)
    is_right.push_back(std::max_element(logits[n].begin(), logits[n].end()) - logits[n].begin() == labels[n]);
  return is_right;
}

// Difference of two accuracies on the same images, in points, with the 95 % interval of paired proportions:
// variance of the mean of (-1, 0, 1).
struct Difference {
  double points = 0, low = 0, high = 0;
};
Difference paired(const std::vector<bool>& before, const std::vector<bool>& after) {
  double lost = 0, won = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    lost += before[i] && !after[i] ? 1 : 0;
    won += !before[i] && after[i] ? 1 : 0;
  }
  const double n = static_cast<double>(before.size()), mean = (won - lost) / n;
  const double half = 1.959964 * std::sqrt(std::max(0.0, (won + lost) / n - mean * mean) / n);
  return {100 * mean, 100 * (mean - half), 100 * (mean + half)};
}

double share(const std::vector<bool>& is_right) {
  return static_cast<double>(std::count(is_right.begin(), is_right.end(), true)) /
         static_cast<double>(std::max<std::size_t>(is_right.size(), 1));
}

class Reporter {
 public:
  Reporter(const Context& context, const ReportOptions& o, TrainedRun run)
      : context_(context), o_(o), run_(std::move(run)) {}

  // One record per method, and one for QAT where asked for.
  Result<std::vector<Record>> methods(const std::string& name) {
    NAS_TRY(trained, start(name));
    NAS_TRY(folded, fold(trained));
    const LabelledImages test =
        images_of(run_.job.feeds.scoring(data::Split::test), folded.deployment.input.height, o_.test_images);
    const auto exact = right(outputs(FloatExecutor(folded), test.images), test.labels);
    std::vector<Record> records;
    std::vector<std::string> rows = o_.methods;
    if (o_.stage.qat > 0) rows.push_back("qat");
    for (const std::string& row : rows) {
      QuantizeStage stage = o_.stage;
      stage.qat = row == "qat" ? o_.stage.qat : 0;
      if (row != "qat") stage.calibration = row;
      const auto begin = std::chrono::steady_clock::now();
      NAS_TRY(q, quantized(run_.config, run_.job, trained, stage, shown_progress(context_.quiet)));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      NAS_TRY(rounded, answers(q.network, test));
      const auto is_right = right(rounded, test.labels);
      const Difference d = paired(exact, is_right);
      records.push_back({{"network", name},
                         {"macs", macs(trained.network).count()},
                         {"method", row},
                         {"top1_float", share(exact)},
                         {"top1_int8", share(is_right)},
                         {"difference", d.points},
                         {"low", d.low},
                         {"high", d.high},
                         {"images", test.images.size()},
                         {"snr", decibels(q.report.error)},
                         {"equalised", q.report.equalised},
                         {"bias_corrected", q.report.bias_corrected},
                         {"seconds", seconds}});
      if (!context_.quiet) std::fprintf(stderr, "%s\n", records.back().dump().c_str());
    }
    return records;
  }

  // One record per operation.
  Result<std::vector<Record>> layers(const std::string& name) {
    NAS_TRY(trained, start(name));
    NAS_TRY(q, quantized(run_.config, run_.job, trained, o_.stage, shown_progress(context_.quiet)));
    const LabelledImages images = images_of(run_.job.feeds.recalibration(), q.folded.deployment.input.height,
                                            o_.stage.calibration_images);
    const FoldedNetwork& shifted = o_.stage.qat > 0 ? q.folded : q.report.folded;
    const std::vector<Sensitivity> found = sensitivity(shifted, q.network, images.images);
    std::vector<Record> records;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const DeployedOp& op = q.network.deployment.ops[i];
      std::string layer = layer_name(trained.network.layers[static_cast<std::size_t>(op.layer)]);
      if (op.part == DeployedPart::squeeze) layer += ".squeeze";
      if (op.part == DeployedPart::excite) layer += ".excite";
      records.push_back({{"operation", layer},
                         {"scale", q.network.tensors[i + 1].scale},
                         {"zero", q.network.tensors[i + 1].zero},
                         {"method", to_string(q.report.methods.tensors[i + 1])},
                         {"alone", decibels(found[i].alone)},
                         {"without", decibels(found[i].without)}});
    }
    return records;
  }

 private:
  Result<TrainedNetwork> start(const std::string& name) {
    NAS_TRY(network, network_named(run_.job.space, name));
    Provenance provenance = run_.loaded.provenance;
    provenance.genotype = name;
    NAS_TRY(trained, extract(run_.loaded.supernet, network, run_.job.feeds.recalibration(), provenance));
    if (o_.stage.finetune <= 0) return trained;
    return finetuned(run_.config, trained, o_.stage.finetune, shown_progress(context_.quiet));
  }

  Result<std::vector<std::vector<float>>> answers(const QuantizedNetwork& network,
                                                  const LabelledImages& test) const {
    NAS_TRY(runner, IntegerRunner::make(network));
    std::vector<std::vector<float>> out(test.images.size());
    tbb::parallel_for(std::size_t{0}, out.size(),
                      [&](std::size_t i) { out[i] = runner.run(test.images[i]); });
    return out;
  }

  const Context& context_;
  const ReportOptions& o_;
  TrainedRun run_;
};

const std::vector<Column> kMethodColumns = {
    {"network", "network"},         {"macs", "MACs"},         {"method", "method"},
    {"top1_float", "top-1, float"}, {"top1_int8", "int8"},    {"difference", "difference", "points"},
    {"low", "95 % from", "points"}, {"high", "to", "points"}, {"snr", "output", "dB"},
    {"seconds", "took", "s"}};
const std::vector<Column> kLayerColumns = {{"operation", "operation"}, {"scale", "scale"},
                                           {"zero", "zero"},           {"method", "range by"},
                                           {"alone", "alone", "dB"},   {"without", "all others", "dB"}};

Result<int> run_report(const Context& context, ReportOptions o) {
  if (o.layers && o.networks.size() != 1)
    return usage_error("--layers takes one network, found " + std::to_string(o.networks.size()));
  NAS_TRY(run, open_trained_run(o.run));
  Reporter reporter(context, o, std::move(run));
  std::vector<Record> records;
  for (const std::string& given : o.networks) {
    NAS_TRY(name, resolve_architecture(context.project, given));
    NAS_TRY(found, o.layers ? reporter.layers(name) : reporter.methods(name));
    records.insert(records.end(), found.begin(), found.end());
  }
  print_records(context, o.layers ? kLayerColumns : kMethodColumns, records);
  return 0;
}

}  // namespace

void add_quantize_options(CLI::App& command, QuantizeStage& stage) {
  command.add_option("--calibration-images", stage.calibration_images, "Of the recalibration split")
      ->check(CLI::PositiveNumber);
  command.add_flag("!--no-equalise", stage.equalise, "Do not try cross-layer equalisation");
  command.add_flag("!--no-bias-correction", stage.correct_bias, "Do not try bias correction");
  command.add_option("--finetune", stage.finetune, "Train the extracted network for so many epochs first")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--qat", stage.qat, "Epochs of quantisation-aware training, after calibration")
      ->check(CLI::NonNegativeNumber);
}

void add_quantize_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = add_command(app, "quantize-report",
                                  "What int8 costs: accuracy by calibration method, sensitivity by layer",
                                  {"hwnas quantize-report smallest middle --run runs/tiny-sandwich --qat 1",
                                   "hwnas quantize-report middle --run runs/tiny-sandwich --layers"});
  command->add_option("NETWORK", options->networks, "smallest, middle, largest, a genotype's text, RUN:best")
      ->required();
  command->add_option("--run", options->run, "Folder of a training run")->required();
  command->add_option("--calibration", options->methods, "Methods to compare; the last one for --layers")
      ->check(CLI::IsMember({"auto", "min_max", "percentile", "mse", "kl"}));
  command->add_option("--test-images", options->test_images, "At most this many of the test split; 0: all");
  command->add_flag("--layers", options->layers,
                    "Per operation: the output's error if only it is int8, and if all "
                    "others are");
  add_quantize_options(*command, options->stage);
  command->callback([&context, options] {
    options->stage.calibration = options->methods.back();
    context.action = [&context, options] { return run_report(context, *options); };
  });
}

}  // namespace nas::apps
