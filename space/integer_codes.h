#pragma once
#include <cstdint>

namespace nas {

// The largest integer weight of so many bits, symmetric about 0: 127, 7, 1 for 8, 4, 2.
constexpr std::int32_t largest_code(std::int32_t bits) { return (1 << (bits - 1)) - 1; }

}  // namespace nas
