// One training step of ofa-mbv3-w1.0 (10 classes, resolution 64, batch 32, 4 sampled sub-networks and a
// teacher for distillation, SGD): ours by number of threads, and the naive way with LibTorch's own operators
// in the same program. images_per_second counts the batch once a step, as the reference implementation's
// figure does.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>
#include <tbb/global_control.h>

#include <sys/resource.h>
#include <cstdlib>

#include "space/cost.h"
#include "space/search_space.h"
#include "supernet/detail/optimizer.h"
#include "supernet/detail/step.h"
#include "supernet/runtime.h"
#include "supernet/supernet.h"
#include "tests/supernet/reference_network.h"

namespace nas::supernet {
namespace {

constexpr int kBatch = 32, kResolution = 64, kPaths = 4;

struct Setup {
  SearchSpace space;
  WeightTable weights, teacher;
  std::vector<std::vector<Network>> steps;  // the same sub-networks for every variant
  Network largest;
  Batch batch;
  double flops_per_step = 0;  // 2 x MACs: forward and backward (3 x) of the paths, forward of the teacher

  static Setup& get() {
    static Setup setup = make();
    return setup;
  }

 private:
  static Setup make() {
    prepare_runtime();
    SpaceOverrides change;
    change.classes = 10;
    change.resolutions = {kResolution};
    auto space = load_space("ofa-mbv3-w1.0", change);
    if (!space) std::abort();
    WeightTable weights(true, 1e-5);
    for (const Network& n : size_giving_networks(*space)) weights.add(n);
    weights.allocate(at::kCPU);
    weights.initialise(1);
    Setup s{*space, weights, weights.clone(), {}, space->lower(space->largest()), {}, 0};
    Rng rng(1, "bench");
    for (int i = 0; i < 8; ++i) {
      s.steps.emplace_back();
      for (int p = 0; p < kPaths; ++p) {
        s.steps.back().push_back(space->lower(space->sample(rng)));
        s.flops_per_step += 6.0 * static_cast<double>(macs(s.steps.back().back()).count()) * kBatch / 8;
      }
    }
    s.flops_per_step += 2.0 * static_cast<double>(macs(s.largest).count()) * kBatch;
    s.batch.resolution = kResolution;
    s.batch.pixels.resize(std::size_t{kBatch} * kResolution * kResolution * 3);
    for (float& v : s.batch.pixels) v = static_cast<float>(rng.normal());
    for (int i = 0; i < kBatch; ++i) s.batch.labels.push_back(i % 10);
    return s;
  }
};

void report(benchmark::State& state, const Setup& setup) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto steps = static_cast<double>(state.iterations());
  state.counters["images_per_second"] = benchmark::Counter(steps * kBatch, benchmark::Counter::kIsRate);
  state.counters["gflops"] =
      benchmark::Counter(steps * setup.flops_per_step * 1e-9, benchmark::Counter::kIsRate);
  state.counters["peak_rss_mb"] = static_cast<double>(usage.ru_maxrss) / 1024;
}

void ours(benchmark::State& state) {
  Setup& setup = Setup::get();
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(state.range(0)));
  const TaskGuard guard;
  WeightTable weights = setup.weights.clone();
  Optimizer optimizer(weights, OptimizerKind::sgd, 0);
  StepPlan plan;
  plan.distillation.teacher = Teacher::frozen;
  plan.frozen = &setup.teacher;
  plan.frozen_network = setup.largest;
  plan.shards = static_cast<int>(state.range(1));
  StepGradients gradients;
  std::size_t at = 0;
  const auto step = [&] {
    plan.paths.clear();
    for (const Network& n : setup.steps[at++ % setup.steps.size()]) plan.paths.push_back({n, true, 0});
    run_step(weights, plan, setup.batch, gradients);
    if (!optimizer.step(gradients, {}, 0.001)) std::abort();  // only ranks fail
  };
  step();  // makes the buffers
  for (auto _ : state) step();
  report(state, setup);
}
BENCHMARK(ours)
    ->ArgNames({"threads", "shards"})
    ->Args({1, 1})
    ->Args({4, 1})
    ->Args({4, 4})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(4);

void naive(benchmark::State& state) {
  Setup& setup = Setup::get();
  at::set_num_threads(static_cast<int>(state.range(0)));
  set_blas_threads(static_cast<int>(state.range(0)));
  ReferenceSupernet reference{{}, true}, teacher{{}, true};
  std::vector<at::Tensor> momentum;
  for (const Parameter& p : setup.weights.parameters()) {
    reference.leaves[p.name] = p.value.clone().set_requires_grad(true);
    teacher.leaves[p.name] = p.value.clone();
  }
  for (auto& [name, leaf] : reference.leaves) momentum.push_back(at::zeros_like(leaf));
  const at::Tensor images = at::from_blob(setup.batch.pixels.data(), {kBatch, kResolution, kResolution, 3})
                                .permute({0, 3, 1, 2})
                                .contiguous();
  const at::Tensor labels = at::tensor(setup.batch.labels, at::kLong);
  const auto forward = [&](const ReferenceSupernet& net, const Network& n) {
    return ReferenceNetwork{n, [&](std::size_t l, const char* part) { return net.cut(n, l, part); }}.forward(
        images);
  };
  std::size_t at = 0;
  const auto step = [&] {
    for (auto& [name, leaf] : reference.leaves) leaf.mutable_grad() = at::Tensor();
    at::Tensor soft;
    {
      const c10::NoGradGuard no_grad;
      soft = forward(teacher, setup.largest).softmax(1);
    }
    for (const Network& n : setup.steps[at++ % setup.steps.size()]) {
      const at::Tensor out = forward(reference, n);
      const at::Tensor loss = at::cross_entropy_loss(out, labels) - (soft * out.log_softmax(1)).sum(1).mean();
      loss.backward();
    }
    const c10::NoGradGuard no_grad;
    std::size_t i = 0;
    for (auto& [name, leaf] : reference.leaves) {
      at::Tensor& v = momentum[i++];
      if (!leaf.grad().defined()) continue;
      const at::Tensor g = leaf.grad() + leaf * 3e-5;
      v.mul_(0.9).add_(g);
      leaf.sub_((g + v * 0.9) * 0.001);
    }
  };
  step();
  for (auto _ : state) step();
  report(state, setup);
  at::set_num_threads(1);
  set_blas_threads(1);
}
BENCHMARK(naive)
    ->ArgName("threads")
    ->Arg(1)
    ->Arg(4)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(4);

}  // namespace
}  // namespace nas::supernet
