#include "space/rounding.h"

#include <algorithm>
#include <cmath>

namespace nas {

std::int32_t make_divisible(double value, std::int32_t divisor) {
  const auto nearest = static_cast<std::int32_t>(value + divisor / 2.0) / divisor * divisor;
  const std::int32_t rounded = std::max(divisor, nearest);
  return rounded < 0.9 * value ? rounded + divisor : rounded;
}

std::int32_t expanded_channels(std::int32_t channels, double ratio) {
  return make_divisible(std::nearbyint(channels * ratio));
}

std::int32_t squeezed_channels(std::int32_t channels) {
  const std::int32_t quarter = channels / 4;  // whole channels, as the references divide
  return make_divisible(quarter);
}

}  // namespace nas
