#include "devices/codegen/fixed_point.h"

#include <cmath>
#include <limits>
#include <string>

namespace nas::devices::codegen {
namespace {

std::int32_t rounding_doubling_high_multiply(std::int32_t a, std::int32_t b) {
  constexpr std::int32_t kLowest = std::numeric_limits<std::int32_t>::min();
  if (a == kLowest && b == kLowest) return std::numeric_limits<std::int32_t>::max();
  const std::int64_t product = std::int64_t{a} * b;
  const std::int64_t nudge = product >= 0 ? std::int64_t{1} << 30 : 1 - (std::int64_t{1} << 30);
  return static_cast<std::int32_t>((product + nudge) / (std::int64_t{1} << 31));
}

std::int32_t rounding_shift_right(std::int32_t value, int shift) {
  const std::int64_t mask = (std::int64_t{1} << shift) - 1;
  const std::int64_t rest = value & mask;
  const std::int64_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return static_cast<std::int32_t>((value >> shift) + (rest > threshold ? 1 : 0));
}

}  // namespace

Result<Multiplier> make_multiplier(double real) {
  if (!(real >= 0 && real < 0x1p30))
    return Error{"a multiplier must be in [0, 2^30), found " + std::to_string(real)};
  if (real == 0) return Multiplier{};
  int exponent = 0;
  const double fraction = std::frexp(real, &exponent);
  auto mantissa = static_cast<std::int64_t>(std::llround(fraction * 0x1p31));
  if (mantissa == std::int64_t{1} << 31) {
    mantissa /= 2;
    ++exponent;
  }
  if (exponent < -31) return Multiplier{};
  return Multiplier{static_cast<std::int32_t>(mantissa), exponent};
}

std::int32_t multiply(std::int32_t value, Multiplier multiplier, Rounding rounding) {
  const int s = multiplier.exponent;
  if (rounding == Rounding::single) {
    const std::int64_t product = std::int64_t{value} * multiplier.mantissa;
    return static_cast<std::int32_t>((product + (std::int64_t{1} << (30 - s))) >> (31 - s));
  }
  const auto raised = static_cast<std::int32_t>(static_cast<std::int64_t>(value) << (s > 0 ? s : 0));
  return rounding_shift_right(rounding_doubling_high_multiply(raised, multiplier.mantissa), s < 0 ? -s : 0);
}

}  // namespace nas::devices::codegen
