#include "supernet/proxies.h"

#include <cmath>

#include "space/base/rng.h"
#include "supernet/detail/losses.h"
#include "supernet/detail/step.h"
#include "supernet/detail/supernet_impl.h"

namespace nas::supernet {
namespace {

double gradient_norm(const WeightTable& weights, const Network& network, const Batch& batch) {
  StepPlan plan;
  plan.paths = {{network, false, 0}};
  StepGradients gradients;
  run_step(weights, plan, batch, gradients);
  double sum = 0;
  for (const at::Tensor& g : gradients.parts.front())
    if (g.defined()) sum += g.square().sum(at::kDouble).item<double>();
  return std::sqrt(sum);
}

// Positive weights, an input of ones, batch norm as the identity. Every weight tensor is divided by its mean
// row sum first, and the logarithm of that is added at the end, or deep networks would overflow: exact
// without branches, and the same constant choice for all networks with them.
double log_synflow(const WeightTable& given, const Network& network) {
  WeightTable weights = given.clone();
  double log_scale = 0;
  for (Parameter& p : weights.parameters()) {
    if (p.key.part == Part::scale) {
      p.value.fill_(1);
    } else if (p.decay) {
      p.value.abs_();
      const double mean = p.value.sum(at::kDouble).item<double>() / static_cast<double>(p.value.size(0));
      if (!(mean > 0)) continue;
      p.value.div_(mean);
      log_scale += std::log(mean);
    }
  }
  NormStatistics identity;
  identity.of.resize(network.layers.size());
  for (std::size_t i = 0; i < network.layers.size(); ++i)
    if (network.layers[i].kind == LayerKind::batch_norm) {
      const std::int64_t c = network.layers[i].out.channels;
      identity.of[i] = {at::zeros({c}), at::ones({c}), 0};
    }
  ExecutionOptions options;
  options.mode = NormMode::fixed;
  options.fixed = &identity;
  Execution run(weights, network, options);
  const Shape in = network.layers.front().out;
  const at::Tensor out = run.forward(at::ones({1, in.height, in.width, in.channels}));
  Gradients gradients;
  run.backward(at::ones_like(out), gradients);
  double sum = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (gradients[i].defined() && weights.parameters()[i].decay)
      sum += (gradients[i] * weights.parameters()[i].value).abs().sum(at::kDouble).item<double>();
  return std::log(sum) + log_scale;
}

// K[i][j] = how many units agree on images i and j; the score is log |det K|.
double naswot(const Execution& run, const Network& network, std::int64_t images) {
  at::Tensor kernel = at::zeros({images, images}, at::kDouble);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].kind != LayerKind::activation) continue;
    const at::Tensor on = (run.value(i) > 0).to(at::kFloat).reshape({images, -1}), off = 1 - on;
    kernel += (at::mm(on, on.t()) + at::mm(off, off.t())).to(at::kDouble);
  }
  return std::get<1>(at::slogdet(kernel)).item<double>();
}

std::size_t feature_layer(const Network& network) {
  for (std::size_t i = network.layers.size(); i-- > 1;)
    if (network.layers[i].kind == LayerKind::global_pool)
      return static_cast<std::size_t>(network.layers[i].inputs[0]);
  return network.layers.size() - 1;
}

double zen(const WeightTable& weights, const Network& network, const Batch& batch, std::uint64_t seed) {
  constexpr double kNoise = 0.01;
  const Shape in = network.layers.front().out;
  const auto count = static_cast<std::int64_t>(batch.size());
  Rng rng(seed, "zen");
  at::Tensor x = at::empty({count, in.height, in.width, in.channels}), e = at::empty_like(x);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    x.data_ptr<float>()[i] = static_cast<float>(rng.normal());
    e.data_ptr<float>()[i] = static_cast<float>(rng.normal() * kNoise);
  }
  ExecutionOptions options;
  options.mode = NormMode::record;
  Execution a(weights, network, options), b(weights, network, options);
  a.forward(x);
  b.forward(x + e);
  const std::size_t at = feature_layer(network);
  const double change =
      (a.value(at) - b.value(at)).abs().to(at::kDouble).sum().item<double>() / static_cast<double>(count);
  double scales = 0;
  for (const Moments& m : a.recorded().of)
    if (m.mean.defined()) scales += 0.5 * std::log(m.variance.to(at::kDouble).mean().item<double>() + 1e-12);
  return std::log(change) + scales;
}

}  // namespace

Result<Proxies> zero_cost_proxies(const Network& network, double batch_norm_epsilon, const Batch& batch,
                                  std::uint64_t seed) {
  NAS_TRY(fresh, Supernet::of(network, batch_norm_epsilon, {seed, "cpu"}));
  if (network.layers.front().out.height != batch.resolution || batch.size() < 2)
    return usage_error("proxies need at least 2 images of " +
                       std::to_string(network.layers.front().out.height) + " pixels, found " +
                       std::to_string(batch.size()) + " of " + std::to_string(batch.resolution));
  const WeightTable& weights = fresh.impl().weights;
  const TaskGuard guard;
  Proxies p;
  p.gradient_norm = gradient_norm(weights, network, batch);
  p.log_synflow = log_synflow(weights, network);
  Execution run(weights, network, {});
  run.forward(images_of(weights, batch, 0, batch.size()));
  p.naswot = naswot(run, network, static_cast<std::int64_t>(batch.size()));
  p.zen = zen(weights, network, batch, seed);
  for (const double v : {p.gradient_norm, p.log_synflow, p.naswot, p.zen})
    if (!std::isfinite(v)) return Error{"a zero-cost score of the network is not finite"};
  return p;
}

}  // namespace nas::supernet
