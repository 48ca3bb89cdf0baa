#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace nas {

// An exact non-negative whole number of any size, for counting search spaces.
class BigCount {
 public:
  BigCount(std::uint64_t value = 0);
  BigCount& operator+=(const BigCount& other);
  BigCount& operator*=(const BigCount& other);
  std::string to_string() const;
  // Good to 2^-60; infinite beyond about 10^4900.
  long double approximately() const;

 private:
  static constexpr std::uint64_t kBase = 1'000'000'000;
  std::vector<std::uint32_t> digits_;  // base 10^9, lowest first, no leading zeros
};

}  // namespace nas
