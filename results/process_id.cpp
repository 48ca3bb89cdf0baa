#include "results/process_id.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>

#include "results/clock.h"

namespace nas::results {
namespace {

// Boot and pid namespace of this process.
std::string surroundings() {
  std::array<char, 64> link{};
  const ssize_t n = ::readlink("/proc/self/ns/pid", link.data(), link.size());
  return system_clock().boot + "/" + std::string(link.data(), n > 0 ? static_cast<std::size_t>(n) : 0) + "/";
}

}  // namespace

std::string process_name(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat((std::istreambuf_iterator<char>(file)), {});
  // The program's name may hold blanks and brackets; after its last ")" come state (field 3) … start time
  // (22).
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos || at + 2 >= stat.size() || stat[at + 2] == 'Z' || stat[at + 2] == 'X')
    return {};
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return {};
  return surroundings() + stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

std::optional<bool> process_exists(std::int64_t pid, const std::string& name) {
  if (!name.starts_with(surroundings())) return std::nullopt;
  return process_name(pid) == name;
}

}  // namespace nas::results
