#pragma once
#include <span>
#include <string>

namespace nas::apps {

// A series as one line of at most `width` block characters, lowest to highest of the series; means of
// neighbours where there are more numbers. A constant series is a line of middle blocks; no numbers: empty.
std::string sparkline(std::span<const double> values, std::size_t width = 40);

}  // namespace nas::apps
