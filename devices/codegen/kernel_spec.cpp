#include "devices/codegen/kernel_spec.h"

#include <algorithm>
#include <cmath>

#include "space/integer_codes.h"

namespace nas::devices::codegen {
namespace {

bool has_weights(KernelKind kind) {
  return kind == KernelKind::conv || kind == KernelKind::depthwise || kind == KernelKind::fully_connected;
}

bool is_pool(KernelKind kind) { return kind == KernelKind::average_pool || kind == KernelKind::max_pool; }

Error bad(const std::string& what) { return usage_error("kernel: " + what); }

std::int64_t weights_per_channel(const KernelSpec& spec) {
  if (spec.kind == KernelKind::fully_connected) return spec.input.elements();
  const std::int64_t taps = std::int64_t{spec.kernel} * spec.kernel;
  return spec.kind == KernelKind::depthwise ? taps : taps * spec.input.channels;
}

// Weight `i` of output channel `c` in the layout of Int8Params::weights.
std::size_t weight_index(const KernelSpec& spec, std::int64_t c, std::int64_t i) {
  if (spec.kind == KernelKind::depthwise) return static_cast<std::size_t>(i * spec.input.channels + c);
  return static_cast<std::size_t>(c * weights_per_channel(spec) + i);
}

// Windows along one side; in ceil mode one more that starts inside the picture or its left padding (as
// PyTorch).
std::int32_t windows_along(std::int32_t size, std::int32_t kernel, const KernelSpec& spec, bool ceil) {
  const std::int32_t room = size + 2 * spec.padding - kernel;
  const std::int32_t floor = room / spec.stride + 1;
  const bool more = ceil && room % spec.stride != 0 && floor * spec.stride < size + spec.padding;
  return more ? floor + 1 : floor;
}

Result<void> check_window(const KernelSpec& spec) {
  if (spec.kernel < 1 && !(is_pool(spec.kind) && spec.kernel == 0)) return bad("kernel must be at least 1");
  if (spec.stride < 1) return bad("stride must be at least 1, found " + std::to_string(spec.stride));
  if (spec.padding < 0 || (spec.kernel > 0 && spec.padding >= spec.kernel))
    return bad("padding must be in [0, kernel), found " + std::to_string(spec.padding));
  if (spec.kind == KernelKind::average_pool && spec.padding != 0)
    return bad("average pooling takes no padding, found " + std::to_string(spec.padding));
  return {};
}

template <class Params>
Result<void> check_sizes(const KernelSpec& spec, const Params& params, const Shape& out) {
  const auto expected = has_weights(spec.kind) ? weights_per_channel(spec) * out.channels : 0;
  if (static_cast<std::int64_t>(params.weights.size()) != expected)
    return bad("needs " + std::to_string(expected) + " weights, found " +
               std::to_string(params.weights.size()));
  if (!params.bias.empty() && static_cast<std::int64_t>(params.bias.size()) != out.channels)
    return bad("needs " + std::to_string(out.channels) + " biases or none, found " +
               std::to_string(params.bias.size()));
  return {};
}

Result<void> check_bits(const KernelSpec& spec, const std::vector<std::int8_t>& weights) {
  if (spec.weight_bits != 8 && spec.weight_bits != 4 && spec.weight_bits != 2)
    return bad("there is no code for weights of " + std::to_string(spec.weight_bits) +
               " bits; there is for 8, 4 and 2");
  const std::int32_t most = largest_code(spec.weight_bits);
  for (const std::int8_t w : weights)
    if (w < -most || w > most)
      return bad("weights must be in [-" + std::to_string(most) + ", " + std::to_string(most) + "], found " +
                 std::to_string(w));
  return {};
}

Result<void> check_multipliers(const KernelSpec& spec, const Int8Params& params, const Shape& out) {
  std::int64_t expected = 0;
  if (has_weights(spec.kind)) expected = out.channels;
  if (spec.kind == KernelKind::add) expected = 3;
  if (spec.kind == KernelKind::scale_channels) expected = 1;
  if (static_cast<std::int64_t>(params.multipliers.size()) != expected)
    return bad("needs " + std::to_string(expected) + " multipliers, found " +
               std::to_string(params.multipliers.size()));
  for (const Multiplier& m : params.multipliers)
    if ((m.mantissa != 0 && m.mantissa < 1 << 30) || m.exponent < -31 || m.exponent > 30)
      return bad("multiplier must have a mantissa in [2^30, 2^31) and an exponent in [-31, 30], found " +
                 std::to_string(m.mantissa) + ", " + std::to_string(m.exponent));
  if (spec.kind == KernelKind::add)
    for (int i = 0; i < 2; ++i)
      if (params.multipliers[static_cast<std::size_t>(i)].exponent > 0)
        return bad("the input multipliers of an add must be below 1");
  return {};
}

Result<void> check_accumulators(const KernelSpec& spec, const Int8Params& params) {
  const std::vector<Interval> bounds = accumulator_bounds(spec, params);
  for (std::size_t c = 0; c < bounds.size(); ++c) {
    const int raise = std::max(params.multipliers[c].exponent, 0);
    const std::int64_t limit = (std::int64_t{1} << 30) >> raise;
    if (bounds[c].low <= -limit || bounds[c].high >= limit)
      return bad("channel " + std::to_string(c) + " can sum to [" + std::to_string(bounds[c].low) + ", " +
                 std::to_string(bounds[c].high) + "]" +
                 (raise > 0 ? ", scaled up by 2^" + std::to_string(raise) : "") +
                 ": beyond 2^30, what 32 bits hold safely");
  }
  return {};
}

}  // namespace

Result<Shape> output_shape(const KernelSpec& spec) {
  const Shape& in = spec.input;
  if (in.channels < 1 || in.height < 1 || in.width < 1 || in.elements() > std::int64_t{1} << 28)
    return bad("input shape must be positive and below 2^28 elements");
  NAS_CHECK(check_window(spec));
  if (spec.in_place && spec.kind != KernelKind::add && spec.kind != KernelKind::lookup &&
      spec.kind != KernelKind::scale_channels && !(spec.kind == KernelKind::depthwise && spec.stride == 1))
    return bad("only depthwise stride 1, add, scale_channels and lookup run in place");
  Shape out = in;
  if (spec.kind == KernelKind::fully_connected) out = {spec.out_channels, 1, 1};
  if (spec.kind == KernelKind::conv || spec.kind == KernelKind::depthwise || is_pool(spec.kind)) {
    const std::int32_t kh = spec.kernel == 0 ? in.height : spec.kernel;
    const std::int32_t kw = spec.kernel == 0 ? in.width : spec.kernel;
    if (in.height + 2 * spec.padding < kh || in.width + 2 * spec.padding < kw)
      return bad("the window is larger than the padded input");
    const bool ceil = spec.ceil_mode && is_pool(spec.kind);
    out.height = windows_along(in.height, kh, spec, ceil);
    out.width = windows_along(in.width, kw, spec, ceil);
    if (spec.kind == KernelKind::conv) out.channels = spec.out_channels;
  }
  if (spec.in_place && out != in) return bad("a kernel in place must keep the shape");
  if (out.channels < 1) return bad("out_channels must be at least 1, found " + std::to_string(out.channels));
  return out;
}

Result<void> check(const KernelSpec& spec, const Int8Params& params) {
  NAS_TRY(out, output_shape(spec));
  if (spec.precision != Precision::int8) return bad("int8 numbers were given for an fp32 kernel");
  NAS_CHECK(check_sizes(spec, params, out));
  NAS_CHECK(check_multipliers(spec, params, out));
  for (const std::int32_t zero : {params.input_zero, params.second_zero, params.output_zero})
    if (zero < -128 || zero > 127)
      return bad("zero point must be in [-128, 127], found " + std::to_string(zero));
  if (params.clamp_low < -128 || params.clamp_high > 127 || params.clamp_low > params.clamp_high)
    return bad("clamp must be an interval in [-128, 127]");
  NAS_CHECK(check_bits(spec, params.weights));
  if (spec.kind == KernelKind::lookup && !params.table) return bad("a lookup needs a table");
  return has_weights(spec.kind) ? check_accumulators(spec, params) : Result<void>{};
}

Result<void> check(const KernelSpec& spec, const FloatParams& params) {
  NAS_TRY(out, output_shape(spec));
  if (spec.precision != Precision::fp32) return bad("fp32 numbers were given for an int8 kernel");
  if (spec.activation == Activation::gelu)
    return bad("gelu is not among the activations of generated kernels");
  for (const float value : params.weights)
    if (!std::isfinite(value)) return bad("weights must be finite");
  for (const float value : params.bias)
    if (!std::isfinite(value)) return bad("biases must be finite");
  return check_sizes(spec, params, out);
}

std::int64_t packed_row_bytes(const KernelSpec& spec) {
  return (weights_per_channel(spec) * spec.weight_bits + 7) / 8;
}

double activate(Activation activation, double x) {
  const double gate = std::clamp(x / 6 + 0.5, 0.0, 1.0);
  switch (activation) {
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::relu6:
      return std::clamp(x, 0.0, 6.0);
    case Activation::hard_swish:
      return x * gate;
    case Activation::hard_sigmoid:
      return gate;
    case Activation::swish:
      return x / (1 + std::exp(-x));
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::none:
      break;
  }
  return x;
}

std::array<std::int8_t, 256> activation_table(Activation activation, double in_scale, std::int32_t in_zero,
                                              double out_scale, std::int32_t out_zero) {
  std::array<std::int8_t, 256> table{};
  for (int q = -128; q <= 127; ++q) {
    const double y = activate(activation, in_scale * (q - in_zero));
    const double level = std::clamp(std::round(y / out_scale) + out_zero, -128.0, 127.0);
    table[static_cast<std::size_t>(q + 128)] = static_cast<std::int8_t>(level);
  }
  return table;
}

std::vector<std::int64_t> folded_bias(const KernelSpec& spec, const Int8Params& params) {
  const std::int64_t per_channel = weights_per_channel(spec);
  const std::int64_t channels = static_cast<std::int64_t>(params.weights.size()) / per_channel;
  std::vector<std::int64_t> result(static_cast<std::size_t>(channels));
  for (std::int64_t c = 0; c < channels; ++c) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < per_channel; ++i) sum += params.weights[weight_index(spec, c, i)];
    const auto at = static_cast<std::size_t>(c);
    result[at] = (params.bias.empty() ? 0 : params.bias[at]) - params.input_zero * sum;
  }
  return result;
}

std::vector<Interval> accumulator_bounds(const KernelSpec& spec, const Int8Params& params) {
  const std::int64_t per_channel = weights_per_channel(spec);
  const std::vector<std::int64_t> bias = folded_bias(spec, params);
  std::vector<Interval> result;
  for (std::size_t c = 0; c < bias.size(); ++c) {
    Interval bounds{bias[c], bias[c]};
    for (std::int64_t i = 0; i < per_channel; ++i) {
      const std::int64_t w = params.weights[weight_index(spec, static_cast<std::int64_t>(c), i)];
      bounds.low += std::min(127 * w, -128 * w);
      bounds.high += std::max(127 * w, -128 * w);
    }
    result.push_back(bounds);
  }
  return result;
}

}  // namespace nas::devices::codegen
