#include "supernet/quantize/float_executor.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

std::size_t size(std::int32_t n) { return static_cast<std::size_t>(n); }

// Calls visit(tap, input pixel, output pixel) for every tap of every output pixel that lies inside the image.
template <class Visit>
void for_each_tap(const DeployedOp& op, std::int32_t kernel, Visit&& visit) {
  for (std::int32_t y = 0; y < op.out.height; ++y)
    for (std::int32_t x = 0; x < op.out.width; ++x)
      for (std::int32_t ky = 0; ky < kernel; ++ky)
        for (std::int32_t kx = 0; kx < kernel; ++kx) {
          const std::int32_t iy = y * op.stride + ky - op.padding, ix = x * op.stride + kx - op.padding;
          if (iy < 0 || ix < 0 || iy >= op.in.height || ix >= op.in.width) continue;
          visit(size(ky * kernel + kx), size(iy * op.in.width + ix), size(y * op.out.width + x));
        }
}

void start_with_bias(const DeployedOp& op, const Values& bias, Values& out) {
  const std::size_t channels = size(op.out.channels);
  for (std::size_t p = 0; p < out.size() / channels; ++p)
    std::copy(bias.begin(), bias.end(), out.begin() + static_cast<std::ptrdiff_t>(p * channels));
}

void conv(const DeployedOp& op, const Values& in, const Values& weights, Values& out) {
  const std::size_t ci = size(op.in.channels), co = size(op.out.channels);
  for_each_tap(op, op.kernel, [&](std::size_t tap, std::size_t from, std::size_t to) {
    float* sum = out.data() + to * co;
    for (std::size_t c = 0; c < ci; ++c) {
      const float value = in[from * ci + c];
      const float* w = weights.data() + (tap * ci + c) * co;
      for (std::size_t o = 0; o < co; ++o) sum[o] += value * w[o];
    }
  });
}

void depthwise(const DeployedOp& op, const Values& in, const Values& weights, Values& out) {
  const std::size_t channels = size(op.in.channels);
  for_each_tap(op, op.kernel, [&](std::size_t tap, std::size_t from, std::size_t to) {
    for (std::size_t c = 0; c < channels; ++c)
      out[to * channels + c] += in[from * channels + c] * weights[tap * channels + c];
  });
}

void fully_connected(const DeployedOp& op, const Values& in, const Values& weights, Values& out) {
  const std::size_t co = size(op.out.channels);
  for (std::size_t i = 0; i < in.size(); ++i)
    for (std::size_t o = 0; o < co; ++o) out[o] += in[i] * weights[i * co + o];
}

void pool(const DeployedOp& op, const Values& in, Values& out, bool average) {
  const std::size_t channels = size(op.in.channels);
  if (op.kernel == 0) {
    for (std::size_t i = 0; i < in.size(); ++i) out[i % channels] += in[i];
    for (float& v : out) v /= static_cast<float>(op.in.height * op.in.width);
    return;
  }
  std::fill(out.begin(), out.end(), average ? 0.0F : std::numeric_limits<float>::lowest());
  for_each_tap(op, op.kernel, [&](std::size_t, std::size_t from, std::size_t to) {
    for (std::size_t c = 0; c < channels; ++c) {
      float& v = out[to * channels + c];
      v = average ? v + in[from * channels + c] : std::max(v, in[from * channels + c]);
    }
  });
  if (average)
    for (float& v : out) v /= static_cast<float>(op.kernel * op.kernel);
}

void elementwise(const DeployedOp& op, const Values& in, const Values& second, Values& out) {
  const std::size_t channels = size(op.in.channels);
  for (std::size_t i = 0; i < in.size(); ++i)
    out[i] = op.kind == DeployedKind::add              ? in[i] + second[i]
             : op.kind == DeployedKind::scale_channels ? in[i] * second[i % channels]
                                                       : in[i];
}

}  // namespace

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0F);
    case Activation::relu6:
      return std::clamp(x, 0.0F, 6.0F);
    case Activation::hard_swish:
      return x * std::clamp(x + 3, 0.0F, 6.0F) / 6;
    case Activation::swish:
      return x / (1 + std::exp(-x));
    case Activation::hard_sigmoid:
      return std::clamp(x + 3, 0.0F, 6.0F) / 6;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5F * x * (1 + std::erf(x / std::sqrt(2.0F)));
  }
  return x;
}

FloatExecutor::FloatExecutor(const FoldedNetwork& folded) : folded_(folded) {
  for (std::size_t i = 0; i < folded_.weights.size(); ++i) {
    const DeployedOp& op = folded_.deployment.ops[i];
    const Values& from = folded_.weights[i].values;
    Values to = from;
    if (op.kind == DeployedKind::conv || op.kind == DeployedKind::fully_connected) {
      const std::size_t rows = size(op.out.channels), columns = from.size() / rows;
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
    }
    transposed_.push_back(std::move(to));
  }
}

std::vector<float> FloatExecutor::run(std::span<const float> image, const Observer& observe) const {
  const std::vector<DeployedOp>& ops = folded_.deployment.ops;
  std::vector<Values> tensors(ops.size() + 1);
  std::vector<std::size_t> last_use(tensors.size(), 0);
  for (std::size_t i = 0; i < ops.size(); ++i)
    for (const std::int32_t input : ops[i].inputs)
      if (input >= 0) last_use[size(input)] = i;
  tensors[0].assign(image.begin(), image.end());
  if (observe) observe(0, false, tensors[0]);
  static const Values kNothing;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const DeployedOp& op = ops[i];
    const Values& in = tensors[size(op.inputs[0])];
    const Values& second = op.inputs[1] >= 0 ? tensors[size(op.inputs[1])] : kNothing;
    Values& out = tensors[i + 1];
    out.assign(static_cast<std::size_t>(op.out.elements()), 0.0F);
    if (!folded_.weights[i].bias.empty()) start_with_bias(op, folded_.weights[i].bias, out);
    switch (op.kind) {
      case DeployedKind::conv:
        conv(op, in, transposed_[i], out);
        break;
      case DeployedKind::depthwise:
        depthwise(op, in, transposed_[i], out);
        break;
      case DeployedKind::fully_connected:
        fully_connected(op, in, transposed_[i], out);
        break;
      case DeployedKind::average_pool:
      case DeployedKind::max_pool:
        pool(op, in, out, op.kind == DeployedKind::average_pool);
        break;
      default:
        elementwise(op, in, second, out);
    }
    if (observe) observe(i + 1, true, out);
    if (op.activation != Activation::none)
      for (float& v : out) v = activate(op.activation, v);
    if (observe) observe(i + 1, false, out);
    for (const std::int32_t input : op.inputs)
      if (input >= 0 && last_use[size(input)] == i) Values().swap(tensors[size(input)]);
  }
  return std::move(tensors.back());
}

}  // namespace nas::supernet
