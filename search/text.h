#pragma once
#include <string>
#include <vector>

namespace nas::search {

// Shortest decimal that a person reads well: 6 significant digits.
std::string number(double value);
// "a, b, c"
std::string join(const std::vector<std::string>& words);

}  // namespace nas::search
