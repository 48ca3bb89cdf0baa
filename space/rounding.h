#pragma once
#include <cstdint>

namespace nas {

// Channel counts as the field rounds them: the nearest multiple of `divisor`, at least `divisor`, never more
// than 10 % below `value` (MobileNet reference code; once-for-all make_divisible).
std::int32_t make_divisible(double value, std::int32_t divisor = 8);

// Hidden width of an inverted bottleneck: make_divisible of channels * ratio rounded half to even.
std::int32_t expanded_channels(std::int32_t channels, double ratio);

// Reduced width of a squeeze-excite: make_divisible(channels / 4), integer division first.
std::int32_t squeezed_channels(std::int32_t channels);

}  // namespace nas
