#include "supernet/detail/step.h"

#include <ATen/Parallel.h>
#include <tbb/parallel_for.h>

#include "space/base/hash.h"
#include "supernet/detail/losses.h"
#include "supernet/runtime.h"

namespace nas::supernet {
namespace {

struct Range {
  std::size_t from, to;
};

Range shard_of(std::size_t size, int shards, int shard) {
  const auto n = static_cast<std::size_t>(shards), s = static_cast<std::size_t>(shard);
  return {size * s / n, size * (s + 1) / n};
}

std::span<const float> floats(const at::Tensor& t) {
  return {t.data_ptr<float>(), static_cast<std::size_t>(t.numel())};
}

class Step {
 public:
  Step(const WeightTable& weights, const StepPlan& plan, const Batch& batch, StepGradients& out)
      : weights_(weights),
        plan_(plan),
        batch_(batch),
        out_(out),
        shards_(shards_for(batch.size(), plan.shards)),
        images_(static_cast<double>(plan.batch_images ? plan.batch_images : batch.size())) {}

  void run() {
    const std::size_t n = plan_.paths.size(), count = n * static_cast<std::size_t>(shards_);
    // Made before any pass begins: an exchange reads what some passes have given while others still run.
    out_.parts.assign(count, Gradients(weights_.parameters().size()));
    losses_.assign(count, {});
    teacher_.assign(static_cast<std::size_t>(shards_), {});
    const bool in_place = plan_.distillation.teacher == Teacher::in_place;
    if (in_place || plan_.frozen)
      tbb::parallel_for(
          0, shards_, [&](int s) { in_place ? path(0, s) : frozen(s); }, tbb::simple_partitioner());
    const int first = in_place ? shards_ : 0;
    tbb::parallel_for(
        first, static_cast<int>(count), [&](int t) { path(t / shards_, t % shards_); },
        tbb::simple_partitioner());
    report();
  }

 private:
  void frozen(int shard) {
    const TaskGuard guard;
    const Range r = shard_of(batch_.size(), shards_, shard);
    ExecutionOptions options;
    options.keep = false;
    options.bf16 = plan_.bf16;
    Execution run(*plan_.frozen, plan_.frozen_network, options);
    teacher_[static_cast<std::size_t>(shard)] =
        run.forward(images_of(weights_, batch_, r.from, r.to)).cpu().contiguous();
  }

  void path(int index, int shard) {
    const TaskGuard guard;
    const PathJob& job = plan_.paths[static_cast<std::size_t>(index)];
    const Range r = shard_of(batch_.size(), shards_, shard);
    const std::size_t slot = static_cast<std::size_t>(index * shards_ + shard);
    ExecutionOptions options;
    options.bf16 = plan_.bf16;
    options.recompute = plan_.recompute;
    options.dropout = job.dropout;
    const int all = plan_.all_shards ? plan_.all_shards : shards_;
    options.dropout_key =
        mix64(plan_.key + static_cast<std::uint64_t>(index * all + plan_.first_shard + shard));
    Execution run(weights_, job.network, options);
    const at::Tensor out = run.forward(images_of(weights_, batch_, r.from, r.to));
    const at::Tensor logits = out.cpu().contiguous();
    const auto classes = static_cast<std::size_t>(logits.size(1));
    const std::span<const float> rows = floats(logits);
    at::Tensor gradient = at::zeros_like(logits);
    const std::span<float> g{gradient.data_ptr<float>(), rows.size()};
    const Distillation& d = plan_.distillation;
    const double weight = job.taught ? d.hard_weight : 1.0, batch = images_;
    const std::span<const std::int64_t> labels(batch_.labels.data() + r.from, r.to - r.from);
    const std::span<const float> targets =
        batch_.targets.empty()
            ? std::span<const float>()
            : std::span(batch_.targets).subspan(r.from * classes, (r.to - r.from) * classes);
    LossValue value = hard_loss(rows, classes, labels, targets, plan_.label_smoothing, weight, batch, g);
    value.loss *= weight;
    if (job.taught)
      value.loss += d.weight * teacher_loss(d, rows, floats(teacher_[static_cast<std::size_t>(shard)]),
                                            classes, batch, g);
    if (index == 0 && d.teacher == Teacher::in_place) teacher_[static_cast<std::size_t>(shard)] = logits;
    losses_[slot] = value;
    if (plan_.layer_done) run.after = [&](std::size_t layer) { plan_.layer_done(job.network.layers[layer]); };
    run.backward(gradient.to(out.device()), out_.parts[slot]);
  }

  void report() {
    out_.paths.assign(plan_.paths.size(), {});
    for (std::size_t i = 0; i < losses_.size(); ++i) {
      PathReport& p = out_.paths[i / static_cast<std::size_t>(shards_)];
      p.loss += losses_[i].loss / images_;
      p.accuracy += static_cast<double>(losses_[i].correct) / images_;
    }
  }

  const WeightTable& weights_;
  const StepPlan& plan_;
  const Batch& batch_;
  StepGradients& out_;
  int shards_;
  double images_;  // of the whole batch
  std::vector<LossValue> losses_;
  std::vector<at::Tensor> teacher_;
};

}  // namespace

TaskGuard::TaskGuard() {
  static const bool once = (set_blas_threads(1), true);
  static_cast<void>(once);
  static thread_local bool first = true;
  if (first) at::set_num_threads(1);
  first = false;
}

int shards_for(std::size_t images, int wanted) {
  return std::max(1, std::min(wanted, static_cast<int>(images / 2)));
}

void sum_parts(const WeightTable& weights, const StepGradients& gradients, std::size_t parameter,
               at::Tensor& sum) {
  const bool centre = crops_centre(weights.parameters()[parameter].key);
  sum.zero_();
  for (const Gradients& part : gradients.parts)
    if (const at::Tensor& g = part[parameter]; g.defined())
      slice(sum, g.sizes().vec(), centre).add_(g.to(sum.device()));
}

at::Tensor images_of(const WeightTable& weights, const Batch& batch, std::size_t from, std::size_t to) {
  const std::int64_t side = batch.resolution;
  const auto image = static_cast<std::size_t>(side * side * 3);
  // from_blob needs a mutable pointer; nothing writes through it.
  auto* data = const_cast<float*>(batch.pixels.data() + from * image);
  const at::Tensor view =
      at::from_blob(data, {static_cast<std::int64_t>(to - from), side, side, 3}, at::kFloat);
  return view.to(weights.parameters().front().value.device());
}

void run_step(const WeightTable& weights, const StepPlan& plan, const Batch& batch, StepGradients& out) {
  Step(weights, plan, batch, out).run();
}

std::vector<double> forward_losses(const WeightTable& weights, const std::vector<Network>& networks,
                                   const Batch& batch, int wanted) {
  const int shards = shards_for(batch.size(), wanted), count = static_cast<int>(networks.size()) * shards;
  std::vector<double> parts(static_cast<std::size_t>(count));
  tbb::parallel_for(
      0, count,
      [&](int t) {
        const TaskGuard guard;
        const Range r = shard_of(batch.size(), shards, t % shards);
        ExecutionOptions options;
        options.keep = false;
        Execution run(weights, networks[static_cast<std::size_t>(t / shards)], options);
        const at::Tensor logits = run.forward(images_of(weights, batch, r.from, r.to)).cpu().contiguous();
        parts[static_cast<std::size_t>(t)] =
            hard_loss(floats(logits), static_cast<std::size_t>(logits.size(1)),
                      std::span(batch.labels).subspan(r.from, r.to - r.from), {}, 0, 1, 1, {})
                .loss;
      },
      tbb::simple_partitioner());
  std::vector<double> losses(networks.size(), 0);
  for (int t = 0; t < count; ++t)
    losses[static_cast<std::size_t>(t / shards)] +=
        parts[static_cast<std::size_t>(t)] / static_cast<double>(batch.size());
  return losses;
}

}  // namespace nas::supernet
