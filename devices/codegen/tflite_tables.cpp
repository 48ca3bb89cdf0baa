#include "devices/codegen/tflite_tables.h"

#include <algorithm>
#include <cmath>

namespace nas::devices::codegen {
namespace {

using Table = std::array<std::int8_t, 256>;

std::int8_t clamped(std::int32_t q) { return static_cast<std::int8_t>(std::clamp(q, -128, 127)); }

std::int16_t saturated(std::int32_t v) { return static_cast<std::int16_t>(std::clamp(v, -32768, 32767)); }

// Product of two numbers in 1.15, doubled and rounded half away from zero.
std::int16_t rounding_high(std::int16_t a, std::int16_t b) {
  const std::int32_t product = std::int32_t{a} * b;
  return saturated((product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

std::int32_t rounding_shift(std::int32_t x, int by) {
  const std::int32_t mask = (1 << by) - 1, rest = x & mask;
  return (x >> by) + (rest > (mask >> 1) + (x < 0 ? 1 : 0) ? 1 : 0);
}

struct Half {
  std::int16_t mantissa = 0;
  int exponent = 0;
};
std::optional<Half> half_multiplier(float real) {
  const auto m = make_multiplier(real);
  if (!m) return std::nullopt;
  const std::int32_t rounded =
      m->mantissa >= (1 << 30) - 1 + (1 << 30) - (1 << 15) ? 32767 : (m->mantissa + (1 << 15)) >> 16;
  return Half{saturated(rounded), m->exponent};
}

std::optional<Table> hard_swish(const Quantization& in, const Quantization& out) {
  const float fine = (1.0F / 128.0F) * static_cast<float>(in.scale);
  const auto to_output = half_multiplier(fine / static_cast<float>(out.scale));
  const auto to_gate = half_multiplier(fine / (3.0F / 32768.0F));
  if (!to_output || !to_gate || to_output->exponent > 0) return std::nullopt;
  Table table{};
  for (int q = -128; q <= 127; ++q) {
    const auto fine_input = static_cast<std::int16_t>((q - in.zero) * 128);
    const std::int16_t scaled = rounding_high(fine_input, to_output->mantissa);
    std::int16_t gate = fine_input;
    if (to_gate->exponent > 0) gate = saturated(gate * (1 << (to_gate->exponent - 1)));
    gate = rounding_high(gate, to_gate->mantissa);
    if (to_gate->exponent > 0) gate = saturated(gate * 2);
    if (to_gate->exponent < 0) gate = static_cast<std::int16_t>(rounding_shift(gate, -to_gate->exponent));
    gate = static_cast<std::int16_t>((gate + (1 << 15)) >> 1);
    const auto product = static_cast<std::int16_t>(std::int32_t{gate} * scaled / (1 << 15));
    table[static_cast<std::size_t>(q + 128)] =
        clamped(rounding_shift(product, -to_output->exponent) + out.zero);
  }
  return table;
}

std::optional<Table> swish(const Quantization& in, const Quantization& out) {
  const auto multiplier =
      make_multiplier(static_cast<float>(in.scale) * (1.0F / 256) / static_cast<float>(out.scale));
  if (!multiplier) return std::nullopt;
  Table table{};
  for (int q = -128; q <= 127; ++q) {
    const float x = static_cast<float>(in.scale) * static_cast<float>(q - in.zero);
    const float gate = std::round(1.0F / (1.0F + std::exp(-x)) * 256.0F) - 128.0F;
    const std::int32_t product = (q - in.zero) * (clamped(static_cast<std::int32_t>(gate)) + 128);
    table[static_cast<std::size_t>(q + 128)] =
        clamped(multiply(product, *multiplier, Rounding::twice) + out.zero);
  }
  return table;
}

}  // namespace

std::optional<Table> tflite_activation_table(Activation activation, const Quantization& in,
                                             const Quantization& out) {
  if (activation == Activation::hard_swish) return hard_swish(in, out);
  if (activation == Activation::swish) return swish(in, out);
  return std::nullopt;
}

}  // namespace nas::devices::codegen
