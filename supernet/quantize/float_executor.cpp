#include "supernet/quantize/float_executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
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

// Eight floats at once, in registers where the processor has such; a compiler's own vectors of plain loops
// were measured at a quarter of the speed.
constexpr std::size_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

// Rows of a matrix times packed weights, kRows rows and kColumns outputs at once so that sums stay in
// registers.
constexpr std::size_t kRows = 6, kColumns = 2 * kLanes;

template <std::size_t rows>
void multiply_block(const float* in, std::size_t inner, const float* weights, const float* bias, float* out,
                    std::size_t outputs, std::size_t wanted) {
  Lanes sum[rows][2];
  float line[kColumns];
  for (std::size_t k = 0; k < kColumns; ++k) line[k] = k < wanted ? bias[k] : 0.0F;
  for (std::size_t r = 0; r < rows; ++r) std::memcpy(sum[r], line, sizeof line);
  for (std::size_t c = 0; c < inner; ++c) {
    Lanes w[2];
    std::memcpy(w, weights + c * kColumns, sizeof w);
    for (std::size_t r = 0; r < rows; ++r) {
      const float x = in[r * inner + c];
      sum[r][0] += x * w[0];
      sum[r][1] += x * w[1];
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(line, sum[r], sizeof line);
    std::copy_n(line, wanted, out + r * outputs);
  }
}

// out[rows][outputs] = in[rows][inner] * weights + bias; weights in blocks of kColumns outputs: pack().
void multiply(const float* in, std::size_t rows, std::size_t inner, const Values& weights, const Values& bias,
              Values& out) {
  const std::size_t outputs = bias.size();
  for (std::size_t o = 0; o < outputs; o += kColumns) {
    const float* block = weights.data() + o * inner;
    const std::size_t wanted = std::min(kColumns, outputs - o);
    std::size_t r = 0;
    for (; r + kRows <= rows; r += kRows)
      multiply_block<kRows>(in + r * inner, inner, block, bias.data() + o, out.data() + r * outputs + o,
                            outputs, wanted);
    for (; r < rows; ++r)
      multiply_block<1>(in + r * inner, inner, block, bias.data() + o, out.data() + r * outputs + o, outputs,
                        wanted);
  }
}

// [outputs][inner] to [block of kColumns outputs][inner][output], filled up with zeros.
Values pack(const Values& weights, std::size_t outputs) {
  const std::size_t inner = weights.size() / outputs;
  Values packed((outputs + kColumns - 1) / kColumns * kColumns * inner);
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t c = 0; c < inner; ++c)
      packed[(o / kColumns * inner + c) * kColumns + o % kColumns] = weights[o * inner + c];
  return packed;
}

void conv(const DeployedOp& op, const Values& in, const Values& weights, const Values& bias, Values& out) {
  const std::size_t ci = size(op.in.channels), inner = size(op.kernel * op.kernel) * ci;
  const std::size_t pixels = size(op.out.height * op.out.width);
  if (op.kernel == 1 && op.stride == 1 && op.padding == 0)
    return multiply(in.data(), pixels, ci, weights, bias, out);
  Values windows(pixels * inner);  // what every output pixel sees, zeros outside the image
  for_each_tap(op, op.kernel, [&](std::size_t tap, std::size_t from, std::size_t to) {
    std::copy_n(in.data() + from * ci, ci, windows.data() + to * inner + tap * ci);
  });
  multiply(windows.data(), pixels, inner, weights, bias, out);
}

// The taps of one output pixel that lie inside the image: where they read and which weights they take.
struct Taps {
  std::size_t count = 0;
  std::vector<std::size_t> from, weight;
};

void find_taps(const DeployedOp& op, std::int32_t y, std::int32_t x, Taps& taps) {
  taps.count = 0;
  for (std::int32_t ky = 0; ky < op.kernel; ++ky)
    for (std::int32_t kx = 0; kx < op.kernel; ++kx) {
      const std::int32_t iy = y * op.stride + ky - op.padding, ix = x * op.stride + kx - op.padding;
      if (iy < 0 || ix < 0 || iy >= op.in.height || ix >= op.in.width) continue;
      taps.from[taps.count] = size((iy * op.in.width + ix) * op.in.channels);
      taps.weight[taps.count++] = size((ky * op.kernel + kx) * op.in.channels);
    }
}

void depthwise(const DeployedOp& op, const Values& in, const Values& weights, const Values& bias,
               Values& out) {
  const std::size_t channels = size(op.in.channels), window = size(op.kernel * op.kernel);
  Taps taps{0, std::vector<std::size_t>(window), std::vector<std::size_t>(window)};
  float* to = out.data();
  for (std::int32_t y = 0; y < op.out.height; ++y)
    for (std::int32_t x = 0; x < op.out.width; ++x, to += channels) {
      find_taps(op, y, x, taps);
      std::size_t c = 0;
      for (; c + kLanes <= channels; c += kLanes) {
        Lanes sum, value, weight;
        std::memcpy(&sum, bias.data() + c, sizeof sum);
        for (std::size_t t = 0; t < taps.count; ++t) {
          std::memcpy(&value, in.data() + taps.from[t] + c, sizeof value);
          std::memcpy(&weight, weights.data() + taps.weight[t] + c, sizeof weight);
          sum += value * weight;
        }
        std::memcpy(to + c, &sum, sizeof sum);
      }
      for (; c < channels; ++c) {
        to[c] = bias[c];
        for (std::size_t t = 0; t < taps.count; ++t)
          to[c] += in[taps.from[t] + c] * weights[taps.weight[t] + c];
      }
    }
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

void activate(Activation activation, std::vector<float>& values) {
  const auto each = [&](auto f) {
    for (float& v : values) v = f(v);
  };
  const auto gate = [](float x) { return std::min(std::max(x + 3, 0.0F), 6.0F) / 6; };
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return each([](float x) { return std::max(x, 0.0F); });
    case Activation::relu6:
      return each([](float x) { return std::min(std::max(x, 0.0F), 6.0F); });
    case Activation::hard_swish:
      return each([&](float x) { return x * gate(x); });
    case Activation::swish:
      return each([](float x) { return x / (1 + std::exp(-x)); });
    case Activation::hard_sigmoid:
      return each(gate);
    case Activation::sigmoid:
      return each([](float x) { return 1 / (1 + std::exp(-x)); });
    case Activation::gelu:
      return each([](float x) { return 0.5F * x * (1 + std::erf(x / std::sqrt(2.0F))); });
  }
}

FloatExecutor::FloatExecutor(const FoldedNetwork& folded) : folded_(folded), packed_(folded.weights.size()) {
  for (std::size_t i = 0; i < folded_.weights.size(); ++i) pack_weights(i);
}

void FloatExecutor::pack_weights(std::size_t i) {
  const DeployedOp& op = folded_.deployment.ops[i];
  const bool dense = op.kind == DeployedKind::conv || op.kind == DeployedKind::fully_connected;
  packed_[i] = dense ? pack(folded_.weights[i].values, size(op.out.channels)) : folded_.weights[i].values;
}

void FloatExecutor::set_weights(std::size_t i, FoldedWeights weights) {
  folded_.weights[i] = std::move(weights);
  pack_weights(i);
}

void FloatExecutor::before_activation(std::size_t i, const Values& in, const Values& second,
                                      Values& out) const {
  const DeployedOp& op = folded_.deployment.ops[i];
  const Values& bias = folded_.weights[i].bias;
  out.assign(static_cast<std::size_t>(op.out.elements()), 0.0F);
  switch (op.kind) {
    case DeployedKind::conv:
      return conv(op, in, packed_[i], bias, out);
    case DeployedKind::depthwise:
      return depthwise(op, in, packed_[i], bias, out);
    case DeployedKind::fully_connected:
      return multiply(in.data(), 1, in.size(), packed_[i], bias, out);
    case DeployedKind::average_pool:
    case DeployedKind::max_pool:
      return pool(op, in, out, op.kind == DeployedKind::average_pool);
    default:
      return elementwise(op, in, second, out);
  }
}

std::vector<float> FloatExecutor::run(std::span<const float> image, const Observer& observe) const {
  const std::vector<DeployedOp>& ops = folded_.deployment.ops;
  std::vector<Values> tensors(ops.size() + 1);
  const std::vector<std::size_t> last_use = last_uses(folded_.deployment);
  tensors[0].assign(image.begin(), image.end());
  if (observe) observe(0, false, tensors[0]);
  static const Values kNothing;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const DeployedOp& op = ops[i];
    Values& out = tensors[i + 1];
    before_activation(i, tensors[size(op.inputs[0])],
                      op.inputs[1] >= 0 ? tensors[size(op.inputs[1])] : kNothing, out);
    if (observe) observe(i + 1, true, out);
    activate(op.activation, out);
    if (observe) observe(i + 1, false, out);
    for (const std::int32_t input : op.inputs)
      if (input >= 0 && last_use[size(input)] == i) Values().swap(tensors[size(input)]);
  }
  return std::move(tensors.back());
}

std::vector<std::size_t> last_uses(const Deployment& deployment) {
  std::vector<std::size_t> last(deployment.ops.size() + 1, deployment.ops.size());
  for (std::size_t i = deployment.ops.size(); i-- > 0;)
    for (const std::int32_t input : deployment.ops[i].inputs)
      if (input >= 0 && last[size(input)] == deployment.ops.size()) last[size(input)] = i;
  return last;
}

}  // namespace nas::supernet
