#pragma once
#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace nas {

// A whole number of one unit. Unlike units do not mix: Macs(1) + Bytes(1) does not compile.
template <class Tag>
class Count {
 public:
  constexpr Count() = default;
  constexpr explicit Count(std::int64_t value) : value_(value) {}
  constexpr std::int64_t count() const { return value_; }

  constexpr Count& operator+=(Count other) {
    value_ += other.value_;
    return *this;
  }
  constexpr Count& operator-=(Count other) {
    value_ -= other.value_;
    return *this;
  }
  friend constexpr Count operator+(Count a, Count b) { return a += b; }
  friend constexpr Count operator-(Count a, Count b) { return a -= b; }
  friend constexpr Count operator*(Count a, std::int64_t times) { return Count(a.value_ * times); }
  // The ratio of two like quantities has no unit.
  friend constexpr double operator/(Count a, Count b) {
    return static_cast<double>(a.value_) / static_cast<double>(b.value_);
  }
  friend constexpr auto operator<=>(Count, Count) = default;

 private:
  std::int64_t value_ = 0;
};

using Macs = Count<struct MacsTag>;  // multiply-accumulates, convention of docs/cost.md
using Bytes = Count<struct BytesTag>;
using Params = Count<struct ParamsTag>;  // trainable scalars

using Millis = std::chrono::duration<double, std::milli>;

// "566171248 MACs", "320.0 KiB", "7664856 parameters", "1.25 ms".
std::string to_string(Macs value);
std::string to_string(Bytes value);
std::string to_string(Params value);
std::string to_string(Millis value);

}  // namespace nas
