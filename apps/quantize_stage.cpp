#include "apps/quantize_stage.h"

#include <memory>

#include "apps/export/subject.h"
#include "apps/progress.h"
#include "supernet/evaluate.h"
#include "supernet/quantize_aware.h"
#include "supernet/train.h"
#include "supernet/trained_ternary.h"

namespace nas::apps {
namespace {

using namespace supernet;

// Codes only change where weights cross a threshold: far steps, of 1/127 of a channel's largest weight.
constexpr double kTernaryLearningRate = 0.3;

// The run's images, every training batch at the network's own resolution.
Result<TrainJob> job_at(TrainConfig config, int resolution) {
  config.resolutions = {resolution};
  return open_train_job(config);
}

// The real values of an integer network's weights.
FoldedNetwork real_network(const QuantizedNetwork& q) {
  FoldedNetwork real{q.deployment, {}};
  for (std::size_t i = 0; i < q.weights.size(); ++i) {
    const DeployedOp& op = q.deployment.ops[i];
    const double scale = q.tensors[static_cast<std::size_t>(op.inputs[0])].scale;
    real.weights.push_back(op.part == DeployedPart::none ? FoldedWeights{}
                                                         : real_values(op, q.weights[i], scale));
  }
  return real;
}

}  // namespace

StageProgress shown_progress(bool quiet) {
  auto shown = std::make_shared<std::unique_ptr<Progress>>();
  return [shown, quiet](const std::string& what, std::int64_t step, std::int64_t steps) {
    if (!*shown) *shown = std::make_unique<Progress>(what, static_cast<std::uint64_t>(steps), quiet);
    (*shown)->update(static_cast<std::uint64_t>(step));
    if (step == steps) shown->reset();
  };
}

Result<TrainedNetwork> finetuned(const TrainConfig& config, const TrainedNetwork& start, double epochs,
                                 const StageProgress& progress) {
  NAS_TRY(recipe, load_recipe("fine-tune"));
  const double own = recipe.phases.front().epochs;
  NAS_TRY(job, job_at(config, start.network.layers.front().out.height));
  NAS_TRY(single, Supernet::of(start, config.device));
  TrainOptions options;
  options.seed = config.order.value_or(config.seed);
  options.data_fingerprint = job.feeds.fingerprint();
  options.on_step = [&](const TrainProgress& p) {
    if (progress) progress("fine-tune", p.step, p.total_steps);
    return true;
  };
  NAS_TRY(outcome, train(single, start.network, scaled(std::move(recipe), epochs / own), job.feeds.training(),
                         options));
  Provenance provenance = start.provenance;
  provenance.steps += outcome.steps;
  provenance.note += ", fine-tuned " + std::to_string(outcome.steps) + " steps";
  return extract(single, start.network, job.feeds.recalibration(), provenance);
}

namespace {

// The int8 network as calibration makes it.
Result<Quantized> calibrated(const TrainJob& job, const TrainedNetwork& trained, const QuantizeStage& stage) {
  Quantized q;
  NAS_TRY(folded, fold(trained));
  q.folded = std::move(folded);
  const LabelledImages calibration =
      images_of(job.feeds.recalibration(), q.folded.deployment.input.height, stage.calibration_images);
  QuantizeOptions how;
  how.calibration = calibration_named(stage.calibration);
  how.equalise = stage.equalise;
  how.correct_bias = stage.correct_bias;
  NAS_TRY(network, quantize(q.folded, calibration.images, how, &q.report));
  q.network = std::move(network);
  return q;
}

// `steps` follows the training; it is shown as `what`.
QuantizeAwareOptions training_options(double epochs, const char* what, std::int64_t& steps,
                                      const StageProgress& progress) {
  QuantizeAwareOptions options;
  options.epochs = epochs;
  options.on_step = [&steps, &progress, what](std::int64_t step, std::int64_t all, double) {
    steps = step;
    if (progress) progress(what, step, all);
    return true;
  };
  return options;
}

}  // namespace

Result<Quantized> quantized(const TrainConfig& config, const TrainJob& job, const TrainedNetwork& trained,
                            const QuantizeStage& stage, const StageProgress& progress) {
  NAS_TRY(q, calibrated(job, trained, stage));
  if (stage.qat <= 0) return q;
  NAS_TRY(training, job_at(config, q.folded.deployment.input.height));
  const QuantizeAwareOptions aware = training_options(stage.qat, "quantisation-aware", q.steps, progress);
  NAS_TRY(tuned, train_quantized(q.report.folded, q.network, training.feeds.training(), aware));
  q.network = std::move(tuned);
  q.folded = real_network(q.network);
  return q;
}

Result<CodedNetwork> ternary_trained(const TrainConfig& config, const TrainJob& job,
                                     const TrainedNetwork& trained, const QuantizeStage& stage,
                                     const StageProgress& progress, std::int64_t& steps) {
  NAS_TRY(q, calibrated(job, trained, stage));
  NAS_TRY(training, job_at(config, q.folded.deployment.input.height));
  QuantizeAwareOptions options = training_options(stage.finetune, "ternary", steps, progress);
  options.learning_rate = kTernaryLearningRate;
  return train_ternary(q.report.folded, q.network, training.feeds.training(), options);
}

}  // namespace nas::apps
