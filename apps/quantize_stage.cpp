#include "apps/quantize_stage.h"

#include <memory>

#include "apps/export/subject.h"
#include "apps/progress.h"
#include "supernet/evaluate.h"
#include "supernet/quantize_aware.h"
#include "supernet/train.h"

namespace nas::apps {
namespace {

using namespace supernet;

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
  options.seed = config.seed;
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

Result<Quantized> quantized(const TrainConfig& config, const TrainJob& job, const TrainedNetwork& trained,
                            const QuantizeStage& stage, const StageProgress& progress) {
  Quantized q;
  NAS_TRY(folded, fold(trained));
  q.folded = std::move(folded);
  const int resolution = q.folded.deployment.input.height;
  const LabelledImages calibration =
      images_of(job.feeds.recalibration(), resolution, stage.calibration_images);
  QuantizeOptions how;
  how.calibration = calibration_named(stage.calibration);
  how.equalise = stage.equalise;
  how.correct_bias = stage.correct_bias;
  NAS_TRY(network, quantize(q.folded, calibration.images, how, &q.report));
  q.network = std::move(network);
  if (stage.qat <= 0) return q;
  NAS_TRY(training, job_at(config, resolution));
  QuantizeAwareOptions aware;
  aware.epochs = stage.qat;
  aware.on_step = [&](std::int64_t step, std::int64_t steps, double) {
    q.steps = step;
    if (progress) progress("quantisation-aware", step, steps);
    return true;
  };
  NAS_TRY(tuned, train_quantized(q.report.folded, q.network, training.feeds.training(), aware));
  q.network = std::move(tuned);
  q.folded = real_network(q.network);
  return q;
}

}  // namespace nas::apps
