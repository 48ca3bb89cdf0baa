#pragma once
#include <cstdint>

#include "space/base/result.h"

namespace nas::devices::codegen {

// A positive real number as mantissa * 2^(exponent - 31), mantissa in [2^30, 2^31) or 0.
struct Multiplier {
  std::int32_t mantissa = 0;
  std::int32_t exponent = 0;
  friend bool operator==(const Multiplier&, const Multiplier&) = default;
};

// How a product is brought back to integers.
// single: (x*m + 2^(30-s)) >> (31-s) in 64 bits; ONNX Runtime agrees to about 1e-6.
// twice: gemmlowp's rounding doubling high multiply, then a rounding shift, half away from zero; TFLite 2.2
// and TFLite Micro agree bit for bit.
enum class Rounding { single, twice };

// Nearest multiplier of a real number in [0, 2^30). Fails on anything else, NaN included.
Result<Multiplier> make_multiplier(double real);

// round(value * multiplier) as the rounding says. The product must fit: |value| * 2^max(exponent, 0) < 2^31.
std::int32_t multiply(std::int32_t value, Multiplier multiplier, Rounding rounding);

}  // namespace nas::devices::codegen
