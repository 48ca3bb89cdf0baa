#include "space/learn/mlp_trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "space/base/rng.h"
#include "space/learn/gemm.h"

namespace nas::learn {
namespace {

// First and second moment of one array of parameters, and Adam's update.
struct Adam {
  std::vector<float> first;
  std::vector<float> second;

  void update(std::vector<float>& values, const std::vector<float>& gradient, double rate, double decay,
              int t) {
    if (first.empty()) {
      first.assign(values.size(), 0.0F);
      second.assign(values.size(), 0.0F);
    }
    const double correction1 = 1 - std::pow(0.9, t);
    const double correction2 = 1 - std::pow(0.999, t);
    const auto scale = static_cast<float>(rate / correction1);
    const auto root = static_cast<float>(1 / std::sqrt(correction2));
    const auto keep = static_cast<float>(1 - rate * decay);
    for (std::size_t i = 0; i < values.size(); ++i) {
      first[i] = 0.9F * first[i] + 0.1F * gradient[i];
      second[i] = 0.999F * second[i] + 0.001F * gradient[i] * gradient[i];
      values[i] = values[i] * keep - scale * first[i] / (std::sqrt(second[i]) * root + 1e-8F);
    }
  }
};

float loss_slope(Loss loss, float error) {
  switch (loss) {
    case Loss::squared:
      return error;
    case Loss::huber:
      return std::clamp(error, -1.0F, 1.0F);
    case Loss::absolute:
      return error > 0 ? 1.0F : error < 0 ? -1.0F : 0.0F;
  }
  return error;
}

}  // namespace

void dense_forward(const float* x, std::size_t rows, std::size_t in, std::size_t width, const float* weight,
                   const float* bias, bool relu, float* out) {
  gemm(rows, width, in, {x, static_cast<std::ptrdiff_t>(in), 1},
       {weight, static_cast<std::ptrdiff_t>(width), 1}, out, width);
  for (std::size_t i = 0; i < rows; ++i) {
    float* row = out + i * width;
    for (std::size_t j = 0; j < width; ++j) {
      const float value = row[j] + bias[j];
      row[j] = relu ? std::max(0.0F, value) : value;
    }
  }
}

// Buffers of one training run, reused from step to step.
struct MlpTrainer::Work {
  std::vector<std::vector<float>> activations;  // [0] is the batch's input
  std::vector<float> gradient;                  // of the layer's output
  std::vector<float> next_gradient;
  std::vector<float> weight_gradient;
  std::vector<float> bias_gradient;
  std::vector<Adam> weight_state;
  std::vector<Adam> bias_state;
  int t = 0;
};

MlpTrainer::MlpTrainer(const Mlp& mlp, const Matrix& x, std::span<const double> y,
                       std::span<const double> weights, const MlpOptions& options)
    : rows_(x.rows),
      inputs_(x.columns),
      x_(x.values.size()),
      y_(x.rows),
      weight_(x.rows, 1.0F),
      options_(options) {
  for (std::size_t i = 0; i < rows_; ++i) {
    for (std::size_t j = 0; j < inputs_; ++j) {
      x_[i * inputs_ + j] = (static_cast<float>(x(i, j)) - mlp.input_mean_[j]) * mlp.input_scale_[j];
    }
    y_[i] = static_cast<float>((y[i] - mlp.target_mean_) / mlp.target_scale_);
  }
  if (weights.empty()) return;
  const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(rows_);
  for (std::size_t i = 0; i < rows_; ++i) weight_[i] = static_cast<float>(weights[i] / mean);
}

Mlp::Network MlpTrainer::train(std::uint64_t member) const {
  Mlp::Network network;
  std::size_t in = inputs_;
  std::vector<std::size_t> widths = options_.hidden;
  widths.push_back(1);
  for (std::size_t l = 0; l < widths.size(); ++l) {
    Mlp::Layer layer{in, widths[l], std::vector<float>(in * widths[l]), std::vector<float>(widths[l])};
    Rng rng(options_.seed, "mlp-init", member, l);
    const double deviation =
        std::sqrt((l + 1 < widths.size() ? 2.0 : 1.0) / static_cast<double>(in));  // He 2015
    for (float& w : layer.weight) w = static_cast<float>(rng.normal() * deviation);
    in = layer.out;
    network.push_back(std::move(layer));
  }
  Work work;
  work.activations.resize(network.size() + 1);
  work.weight_state.resize(network.size());
  work.bias_state.resize(network.size());
  std::vector<std::size_t> order(rows_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t batch = std::clamp<std::size_t>(options_.batch, 1, rows_);
  const double steps = static_cast<double>(options_.epochs) *
                       std::ceil(static_cast<double>(rows_) / static_cast<double>(batch));
  for (int epoch = 0; epoch < options_.epochs; ++epoch) {
    Rng(options_.seed, "mlp-order", member, static_cast<std::uint64_t>(epoch)).shuffle(std::span(order));
    for (std::size_t begin = 0; begin < rows_; begin += batch) {
      const double rate = 0.5 * options_.learning_rate * (1 + std::cos(std::numbers::pi * work.t / steps));
      step(network, work, std::span(order).subspan(begin, std::min(batch, rows_ - begin)), rate);
    }
  }
  return network;
}

// Fills work.gradient with d(loss)/d(output) of the batch.
void MlpTrainer::backward_loss(Work& work, std::span<const std::size_t> rows) const {
  const auto scale = 1.0F / static_cast<float>(rows.size());
  work.gradient.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float error = work.activations.back()[i] - y_[rows[i]];
    work.gradient[i] = loss_slope(options_.loss, error) * weight_[rows[i]] * scale;
  }
}

void MlpTrainer::step(Mlp::Network& network, Work& work, std::span<const std::size_t> rows,
                      double rate) const {
  const std::size_t count = rows.size();
  ++work.t;
  work.activations[0].resize(count * inputs_);
  for (std::size_t i = 0; i < count; ++i) {
    std::copy_n(x_.data() + rows[i] * inputs_, inputs_, work.activations[0].data() + i * inputs_);
  }
  for (std::size_t l = 0; l < network.size(); ++l) {
    const Mlp::Layer& layer = network[l];
    work.activations[l + 1].resize(count * layer.out);
    dense_forward(work.activations[l].data(), count, layer.in, layer.out, layer.weight.data(),
                  layer.bias.data(), l + 1 < network.size(), work.activations[l + 1].data());
  }
  backward_loss(work, rows);
  for (std::size_t l = network.size(); l-- > 0;) {
    Mlp::Layer& layer = network[l];
    const auto in = static_cast<std::ptrdiff_t>(layer.in);
    const auto out = static_cast<std::ptrdiff_t>(layer.out);
    work.weight_gradient.resize(layer.weight.size());
    gemm(layer.in, layer.out, count, {work.activations[l].data(), 1, in}, {work.gradient.data(), out, 1},
         work.weight_gradient.data(), layer.out);
    work.bias_gradient.assign(layer.out, 0.0F);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < layer.out; ++j) work.bias_gradient[j] += work.gradient[i * layer.out + j];
    }
    if (l > 0) {
      work.next_gradient.resize(count * layer.in);
      gemm(count, layer.in, layer.out, {work.gradient.data(), out, 1}, {layer.weight.data(), 1, out},
           work.next_gradient.data(), layer.in);
      for (std::size_t i = 0; i < work.next_gradient.size(); ++i) {
        if (work.activations[l][i] <= 0) work.next_gradient[i] = 0;
      }
    }
    work.weight_state[l].update(layer.weight, work.weight_gradient, rate, options_.weight_decay, work.t);
    work.bias_state[l].update(layer.bias, work.bias_gradient, rate, 0, work.t);
    std::swap(work.gradient, work.next_gradient);
  }
}

}  // namespace nas::learn
