#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "supernet/quantize/folding.h"

// A folded network in double precision, straight from the definitions: what float32 runtimes are held
// against.
namespace nas::testing_support {

using Doubles = std::vector<double>;

inline double activated(Activation activation, double x) {
  const auto gate = [](double v) { return std::clamp(v + 3, 0.0, 6.0) / 6; };
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::relu6:
      return std::clamp(x, 0.0, 6.0);
    case Activation::hard_swish:
      return x * gate(x);
    case Activation::swish:
      return x / (1 + std::exp(-x));
    case Activation::hard_sigmoid:
      return gate(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  }
  return x;
}

// One value of an operation with a window; a fully connected layer sees all of its input.
inline double windowed(const DeployedOp& op, const Doubles& in, const std::vector<float>& weights,
                       double bias, int oy, int ox, int oc) {
  const bool all = op.kernel == 0 || op.kind == DeployedKind::fully_connected;
  const int kh = all ? op.in.height : op.kernel, kw = all ? op.in.width : op.kernel;
  const bool dense = op.kind == DeployedKind::conv || op.kind == DeployedKind::fully_connected;
  double sum = bias, largest = -std::numeric_limits<double>::infinity();
  for (int ky = 0; ky < kh; ++ky)
    for (int kx = 0; kx < kw; ++kx) {
      const int y = all ? ky : oy * op.stride + ky - op.padding,
                x = all ? kx : ox * op.stride + kx - op.padding;
      if (y < 0 || x < 0 || y >= op.in.height || x >= op.in.width) continue;
      const auto pixel =
          static_cast<std::size_t>(y * op.in.width + x) * static_cast<std::size_t>(op.in.channels);
      const auto tap = static_cast<std::size_t>(ky * kw + kx);
      const auto channels = static_cast<std::size_t>(op.in.channels), c = static_cast<std::size_t>(oc);
      if (dense) {
        const auto window = static_cast<std::size_t>(kh * kw);
        for (std::size_t i = 0; i < channels; ++i)
          sum += in[pixel + i] * double{weights[(c * window + tap) * channels + i]};
      } else if (op.kind == DeployedKind::depthwise) {
        sum += in[pixel + c] * double{weights[tap * channels + c]};
      } else {
        sum += in[pixel + c];
        largest = std::max(largest, in[pixel + c]);
      }
    }
  if (op.kind == DeployedKind::max_pool) return largest;
  return op.kind == DeployedKind::average_pool ? sum / (kh * kw) : sum;
}

// Operation n from the values of all tensors before it.
inline Doubles op_in_double(const supernet::FoldedNetwork& network, std::size_t n,
                            const std::vector<Doubles>& tensors) {
  const DeployedOp& op = network.deployment.ops[n];
  const auto input = [&](std::size_t k) -> const Doubles& {
    return tensors[static_cast<std::size_t>(op.inputs[k])];
  };
  const supernet::FoldedWeights& w = network.weights[n];
  Doubles out;
  for (int y = 0; y < op.out.height; ++y)
    for (int x = 0; x < op.out.width; ++x)
      for (int c = 0; c < op.out.channels; ++c) {
        const std::size_t i = out.size();
        const auto channel = static_cast<std::size_t>(c);
        double v = 0;
        if (op.kind == DeployedKind::add)
          v = input(0)[i] + input(1)[i];
        else if (op.kind == DeployedKind::scale_channels)
          v = input(0)[i] * input(1)[channel];
        else if (op.kind == DeployedKind::activation)
          v = input(0)[i];
        else
          v = windowed(op, input(0), w.values, w.bias.empty() ? 0 : double{w.bias[channel]}, y, x, c);
        out.push_back(activated(op.activation, v));
      }
  return out;
}

inline Doubles run_in_double(const supernet::FoldedNetwork& network, const std::vector<float>& image) {
  std::vector<Doubles> tensors{{image.begin(), image.end()}};
  for (std::size_t n = 0; n < network.deployment.ops.size(); ++n)
    tensors.push_back(op_in_double(network, n, tensors));
  return std::move(tensors.back());
}

// The largest error of any operation from the inputs that a runtime itself had, relative to the largest value
// of its result. `tensors`: all of the runtime, the image first.
inline double worst_operation(const supernet::FoldedNetwork& network, const std::vector<Doubles>& tensors) {
  double worst = 0;
  for (std::size_t n = 0; n + 1 < tensors.size(); ++n) {
    const Doubles exact = op_in_double(network, n, tensors);
    double largest = 0, off = exact.size() == tensors[n + 1].size() ? 0 : 1e9;
    for (std::size_t i = 0; i < exact.size() && i < tensors[n + 1].size(); ++i) {
      largest = std::max(largest, std::abs(exact[i]));
      off = std::max(off, std::abs(exact[i] - tensors[n + 1][i]));
    }
    if (off > 0) worst = std::max(worst, off / largest);
  }
  return worst;
}

}  // namespace nas::testing_support
