#include "space/base/units.h"

#include <array>
#include <cstdio>

namespace nas {
namespace {

std::string with_unit(double value, const char* unit) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.4g %s", value, unit);
  return text.data();
}

}  // namespace

std::string to_string(Macs value) { return std::to_string(value.count()) + " MACs"; }
std::string to_string(Params value) { return std::to_string(value.count()) + " parameters"; }
std::string to_string(Millis value) { return with_unit(value.count(), "ms"); }

std::string to_string(Bytes value) {
  const auto bytes = static_cast<double>(value.count());
  if (value.count() < 1024) return std::to_string(value.count()) + " B";
  if (value.count() < 1024 * 1024) return with_unit(bytes / 1024, "KiB");
  return with_unit(bytes / (1024 * 1024), "MiB");
}

}  // namespace nas
