#include "supernet/detail/answer_trainer.h"

#include <tbb/parallel_for.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "supernet/detail/losses.h"
#include "supernet/detail/optimizer.h"
#include "supernet/train.h"

namespace nas::supernet {
namespace {

class Trainer {
 public:
  Trainer(const AnswerTraining& training, const QuantizeAwareOptions& options)
      : t_(training),
        options_(options),
        teacher_(training.leaves()),
        optimizer_(training.table, OptimizerKind::adamw, 0) {
    for (at::Tensor& t : teacher_) t = t.detach().clone();
  }

  Result<void> run(const BatchStream& batches) {
    const std::int64_t steps =
        options_.steps > 0
            ? options_.steps
            : std::max<std::int64_t>(
                  1, std::llround(options_.epochs * static_cast<double>(batches.steps_per_epoch)));
    OptimizerOptions how;
    how.kind = OptimizerKind::adamw;
    how.learning_rate = options_.learning_rate;
    how.weight_decay = 0;
    Batch batch;
    for (std::int64_t step = 0; step < steps; ++step) {
      batches.read(step, batch);
      if (batch.resolution != t_.resolution)
        return usage_error("the batch has resolution " + std::to_string(batch.resolution) +
                           ", the network takes " + std::to_string(t_.resolution));
      const double loss = gradients(batch);
      const double rate = learning_rate_at(how, step, steps, batches.steps_per_epoch);
      NAS_TRY(moved, optimizer_.step(gradients_, how, rate));
      if (!std::isfinite(loss) || !moved.finite)
        return Error{t_.what + " diverged: the loss of step " + std::to_string(step + 1) +
                     " is not finite; try a lower learning rate"};
      if (options_.on_step && !options_.on_step(step + 1, steps, loss))
        return Error{t_.what + " was stopped at step " + std::to_string(step + 1)};
    }
    return {};
  }

 private:
  double gradients(const Batch& batch) {
    const std::size_t shards =
        std::max<std::size_t>(1, std::min(static_cast<std::size_t>(options_.shards), batch.size()));
    gradients_.parts.assign(shards, {});
    std::vector<double> losses(shards, 0);
    tbb::parallel_for(
        std::size_t{0}, shards,
        [&](std::size_t s) {
          losses[s] =
              shard(batch, batch.size() * s / shards, batch.size() * (s + 1) / shards, gradients_.parts[s]);
        },
        tbb::simple_partitioner());
    double loss = 0;
    for (const double l : losses) loss += l / static_cast<double>(batch.size());
    return loss;
  }

  // Summed loss of some images; gradients are those of the mean over the whole batch.
  double shard(const Batch& batch, std::size_t from, std::size_t to, Gradients& out) {
    const TaskGuard guard;
    const at::Tensor images = images_of(t_.table, batch, from, to);
    const at::Tensor answers = t_.teacher(images, teacher_).contiguous();
    const at::AutoGradMode recording(true);
    const std::vector<at::Tensor> leaves = t_.leaves();
    const at::Tensor logits = t_.student(images, leaves);
    const at::Tensor values = logits.detach().contiguous();
    at::Tensor gradient = at::zeros_like(values);
    const auto classes = static_cast<std::size_t>(values.size(1)),
               count = static_cast<std::size_t>(values.numel());
    const std::span<float> g(gradient.data_ptr<float>(), count);
    const std::span<const float> rows(values.data_ptr<float>(), count);
    const auto size = static_cast<double>(batch.size());
    const std::span<const float> targets =
        batch.targets.empty() ? std::span<const float>()
                              : std::span(batch.targets).subspan(from * classes, (to - from) * classes);
    double loss =
        options_.label_weight * hard_loss(rows, classes, std::span(batch.labels).subspan(from, to - from),
                                          targets, options_.label_smoothing, options_.label_weight, size, g)
                                    .loss;
    Distillation how;
    how.teacher = Teacher::frozen;
    how.weight = options_.teacher_weight;
    if (how.weight > 0)
      loss += how.weight * teacher_loss(how, rows, {answers.data_ptr<float>(), count}, classes, size, g);
    out = torch::autograd::grad({logits}, leaves, {gradient}, false, false, true);
    return loss;
  }

  const AnswerTraining& t_;
  const QuantizeAwareOptions& options_;
  std::vector<at::Tensor> teacher_;
  Optimizer optimizer_;
  StepGradients gradients_;
};

}  // namespace

Result<void> train_by_answers(const AnswerTraining& training, const BatchStream& batches,
                              const QuantizeAwareOptions& options) {
  if (batches.steps_per_epoch < 1) return usage_error(training.what + " needs at least one batch an epoch");
  return Trainer(training, options).run(batches);
}

}  // namespace nas::supernet
