#include "devices/codegen/reference.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "devices/codegen/emit.h"

namespace nas::devices::codegen {
namespace {

// Calls visit(input index, weight index) for every tap of an output that lies inside the picture.
template <class Visit>
void for_each_tap(const KernelSpec& spec, const Shape& out, int oy, int ox, int oc, Visit visit) {
  const Shape& in = spec.input;
  const int kh = spec.kernel == 0 ? in.height : spec.kernel;
  const int kw = spec.kernel == 0 ? in.width : spec.kernel;
  const bool dense = spec.kind == KernelKind::conv;
  for (int ky = 0; ky < kh; ++ky)
    for (int kx = 0; kx < kw; ++kx) {
      const int y = oy * spec.stride - spec.padding + ky, x = ox * spec.stride - spec.padding + kx;
      if (y < 0 || x < 0 || y >= in.height || x >= in.width) continue;
      const std::size_t pixel = static_cast<std::size_t>(y) * in.width + x;
      const std::size_t tap = static_cast<std::size_t>(ky) * kw + kx;
      if (!dense) {
        visit(pixel * in.channels + oc, tap * out.channels + oc);
        continue;
      }
      for (int ic = 0; ic < in.channels; ++ic)
        visit(pixel * in.channels + ic, (static_cast<std::size_t>(oc) * kh * kw + tap) * in.channels + ic);
    }
}

// Calls compute(output index, oy, ox, oc) for every output element.
template <class Compute>
void for_each_output(const Shape& out, Compute compute) {
  std::size_t i = 0;
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      for (int c = 0; c < out.channels; ++c) compute(i++, y, x, c);
}

std::int8_t finish(const Int8Params& params, std::int32_t value) {
  const int clamped = std::clamp(value + params.output_zero, params.clamp_low, params.clamp_high);
  if (params.table) return (*params.table)[static_cast<std::size_t>(clamped + 128)];
  return static_cast<std::int8_t>(clamped);
}

// Ties: to an even number of steps from the zero point, as ONNX Runtime rounds; twice: away from zero, as
// TensorFlow Lite does.
std::int32_t rounded_mean(std::int32_t sum, std::int32_t n, std::int32_t zero, Rounding rounding) {
  if (rounding == Rounding::twice) return (sum > 0 ? sum + n / 2 : sum - n / 2) / n;
  return static_cast<std::int32_t>(std::nearbyint(static_cast<double>(sum - zero * n) / n)) + zero;
}

std::int8_t pool(const KernelSpec& spec, const Shape& out, const Int8Params& params, Rounding rounding,
                 std::span<const std::int8_t> input, int y, int x, int c) {
  std::int32_t sum = 0, n = 0;
  std::int32_t largest = std::numeric_limits<std::int8_t>::min();
  for_each_tap(spec, out, y, x, c, [&](std::size_t i, std::size_t) {
    sum += input[i];
    largest = std::max<std::int32_t>(largest, input[i]);
    ++n;
  });
  return static_cast<std::int8_t>(
      spec.kind == KernelKind::max_pool ? largest : rounded_mean(sum, n, params.input_zero, rounding));
}

}  // namespace

std::vector<std::int8_t> run_reference(const KernelSpec& given, const Int8Params& params,
                                       std::span<const std::int8_t> input,
                                       std::span<const std::int8_t> second, Rounding rounding) {
  const KernelSpec spec = as_convolution(given);
  const auto shape = output_shape(given);
  assert(shape);
  const Shape out = *shape;
  std::vector<std::int8_t> result(static_cast<std::size_t>(out.elements()));
  const auto& m = params.multipliers;
  for_each_output(out, [&](std::size_t i, int y, int x, int c) {
    const auto channel = static_cast<std::size_t>(c);
    switch (spec.kind) {
      case KernelKind::conv:
      case KernelKind::depthwise:
      case KernelKind::fully_connected: {
        std::int32_t sum = params.bias.empty() ? 0 : params.bias[channel];
        for_each_tap(spec, out, y, x, c, [&](std::size_t a, std::size_t w) {
          sum += (input[a] - params.input_zero) * params.weights[w];
        });
        result[i] = finish(params, multiply(sum, m[channel], rounding));
        break;
      }
      case KernelKind::add: {
        const std::int32_t left = multiply((input[i] - params.input_zero) * (1 << 20), m[0], rounding);
        const std::int32_t right = multiply((second[i] - params.second_zero) * (1 << 20), m[1], rounding);
        result[i] = finish(params, multiply(left + right, m[2], rounding));
        break;
      }
      case KernelKind::scale_channels: {
        const std::int32_t product = (input[i] - params.input_zero) * (second[channel] - params.second_zero);
        result[i] = finish(params, multiply(product, m[0], rounding));
        break;
      }
      case KernelKind::average_pool:
      case KernelKind::max_pool:
        result[i] = pool(spec, out, params, rounding, input, y, x, c);
        break;
      case KernelKind::lookup:
        result[i] = (*params.table)[static_cast<std::size_t>(input[i] + 128)];
        break;
    }
  });
  return result;
}

std::vector<float> run_reference(const KernelSpec& given, const FloatParams& params,
                                 std::span<const float> input, std::span<const float> second) {
  const KernelSpec spec = as_convolution(given);
  const auto shape = output_shape(given);
  assert(shape);
  const Shape out = *shape;
  std::vector<float> result(static_cast<std::size_t>(out.elements()));
  for_each_output(out, [&](std::size_t i, int y, int x, int c) {
    const auto channel = static_cast<std::size_t>(c);
    double sum = params.bias.empty() ? 0 : params.bias[channel];
    double largest = -std::numeric_limits<double>::infinity();
    int n = 0;
    switch (spec.kind) {
      case KernelKind::add:
        sum = double{input[i]} + second[i];
        break;
      case KernelKind::scale_channels:
        sum = double{input[i]} * second[channel];
        break;
      case KernelKind::lookup:
        sum = input[i];
        break;
      default:
        for_each_tap(spec, out, y, x, c, [&](std::size_t a, std::size_t w) {
          sum += params.weights.empty() ? input[a] : double{input[a]} * params.weights[w];
          largest = std::max<double>(largest, input[a]);
          ++n;
        });
    }
    if (spec.kind == KernelKind::average_pool) sum /= n;
    if (spec.kind == KernelKind::max_pool) sum = largest;
    result[i] = static_cast<float>(activate(spec.activation, sum));
  });
  return result;
}

}  // namespace nas::devices::codegen
