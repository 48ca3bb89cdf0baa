#include "supernet/detail/optimizer.h"

#include <tbb/parallel_for.h>

#include <cmath>

namespace nas::supernet {
namespace {

struct Update {
  float rate, decay, momentum, clip;
  bool nesterov;
};

// Sutskever-style SGD as PyTorch defines it: v = momentum * v + g; w -= rate * (nesterov ? g + momentum * v :
// v).
void sgd(float* w, float* v, const float* g, std::int64_t n, Update u) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * u.clip + u.decay * w[i];
    v[i] = u.momentum * v[i] + grad;
    w[i] -= u.rate * (u.nesterov ? grad + u.momentum * v[i] : v[i]);
  }
}

struct AdamUpdate {
  float rate, decay, clip, beta1, beta2, correct1, correct2, epsilon;
};

void adamw(float* w, float* m, float* v, const float* g, std::int64_t n, AdamUpdate u) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * u.clip;
    m[i] = u.beta1 * m[i] + (1 - u.beta1) * grad;
    v[i] = u.beta2 * v[i] + (1 - u.beta2) * grad * grad;
    w[i] -= u.rate * (u.decay * w[i] + m[i] * u.correct1 / (std::sqrt(v[i] * u.correct2) + u.epsilon));
  }
}

}  // namespace

Optimizer::Optimizer(WeightTable& weights, OptimizerKind kind, double ema_decay)
    : weights_(weights), kind_(kind), ema_decay_(ema_decay), state_(kind == OptimizerKind::sgd ? 1 : 2) {
  for (const Parameter& p : weights.parameters()) {
    gradient_.push_back(at::zeros_like(p.value));
    for (auto& slot : state_) slot.push_back(at::zeros_like(p.value));
    if (ema_decay > 0) average_.push_back(p.value.clone());
  }
}

double Optimizer::clip_and_square(std::size_t index, double clip_value) {
  at::Tensor& sum = gradient_[index];
  if (clip_value > 0) sum.clamp_(-clip_value, clip_value);
  if (!sum.device().is_cpu()) return sum.square().sum(at::kDouble).item<double>();
  const float* g = sum.data_ptr<float>();
  double total = 0;
  for (std::int64_t i = 0; i < sum.numel(); ++i)
    total += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  return total;
}

void Optimizer::update(std::size_t i, const OptimizerOptions& o, double learning_rate, double clip) {
  Parameter& p = weights_.parameters()[i];
  const double decay = p.decay ? o.weight_decay : 0;
  const auto updates = static_cast<double>(updates_);
  const double correct1 = 1 / (1 - std::pow(o.beta1, updates)),
               correct2 = 1 / (1 - std::pow(o.beta2, updates));
  const auto f = [](double x) { return static_cast<float>(x); };
  if (p.value.device().is_cpu()) {
    float *w = p.value.data_ptr<float>(), *first = state_[0][i].data_ptr<float>();
    const float* g = gradient_[i].data_ptr<float>();
    if (kind_ == OptimizerKind::sgd)
      sgd(w, first, g, p.value.numel(), {f(learning_rate), f(decay), f(o.momentum), f(clip), o.nesterov});
    else
      adamw(w, first, state_[1][i].data_ptr<float>(), g, p.value.numel(),
            {f(learning_rate), f(decay), f(clip), f(o.beta1), f(o.beta2), f(correct1), f(correct2),
             f(o.epsilon)});
    if (!average_.empty()) {
      float* a = average_[i].data_ptr<float>();
      const float keep = f(ema_decay_);
      for (std::int64_t k = 0; k < p.value.numel(); ++k) a[k] = keep * a[k] + (1 - keep) * w[k];
    }
    return;
  }
  at::Tensor g = gradient_[i] * clip;
  if (kind_ == OptimizerKind::sgd) {
    g.add_(p.value, decay);
    state_[0][i].mul_(o.momentum).add_(g);
    p.value.sub_((o.nesterov ? g + state_[0][i] * o.momentum : state_[0][i]) * learning_rate);
  } else {
    state_[0][i].mul_(o.beta1).add_(g, 1 - o.beta1);
    state_[1][i].mul_(o.beta2).addcmul_(g, g, 1 - o.beta2);
    const at::Tensor move = state_[0][i] * correct1 / ((state_[1][i] * correct2).sqrt_() + o.epsilon);
    p.value.sub_((p.value * decay + move) * learning_rate);
  }
  if (!average_.empty()) average_[i].mul_(ema_decay_).add_(p.value, 1 - ema_decay_);
}

Result<Optimizer::StepReport> Optimizer::step(const StepGradients& gradients, const OptimizerOptions& options,
                                              double learning_rate, GradientExchange* exchange,
                                              double scale) {
  const std::size_t n = weights_.parameters().size();
  std::vector<double> squares(n);
  if (exchange) NAS_CHECK(exchange->finish(gradient_));
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
    const TaskGuard guard;
    if (!exchange) sum_parts(weights_, gradients, i, gradient_[i]);
    if (scale != 1) gradient_[i].mul_(scale);
    squares[i] = clip_and_square(i, options.clip_value);
  });
  double total = 0;
  for (const double s : squares) total += s;
  StepReport report;
  report.gradient_norm = std::sqrt(total);
  report.finite = std::isfinite(total);
  if (!report.finite) return report;
  const double clip = options.clip_norm > 0 && report.gradient_norm > options.clip_norm
                          ? options.clip_norm / report.gradient_norm
                          : 1;
  ++updates_;
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
    const TaskGuard guard;
    update(i, options, learning_rate, clip);
  });
  return report;
}

Result<void> Optimizer::average_over(Ranks& ranks) {
  std::vector<at::Tensor*> all;
  for (Parameter& p : weights_.parameters()) all.push_back(&p.value);
  for (auto& slot : state_)
    for (at::Tensor& t : slot) all.push_back(&t);
  for (at::Tensor& t : average_) all.push_back(&t);
  std::vector<float> values;
  for (const at::Tensor* t : all) {
    const at::Tensor here = t->cpu().contiguous();
    values.insert(values.end(), here.data_ptr<float>(), here.data_ptr<float>() + here.numel());
  }
  ranks.begin_sum(std::span<float>(values));
  NAS_CHECK(ranks.finish());
  float* at = values.data();
  for (at::Tensor* t : all) {
    t->copy_(at::from_blob(at, t->sizes(), at::kFloat).div_(ranks.world()));
    at += t->numel();
  }
  return {};
}

}  // namespace nas::supernet
