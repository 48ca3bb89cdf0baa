#include "results/clock.h"

#include <cstdio>
#include <ctime>

namespace nas::results {
namespace {

std::int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

std::string boot_id() {
  std::FILE* const file = std::fopen("/proc/sys/kernel/random/boot_id", "re");
  if (file == nullptr) return "unknown";
  char text[37] = {};
  const std::size_t n = std::fread(text, 1, 36, file);
  std::fclose(file);
  return {text, n};
}

}  // namespace

Clock system_clock() {
  return {[] { return read_clock(CLOCK_REALTIME); }, [] { return read_clock(CLOCK_BOOTTIME); }, boot_id()};
}

}  // namespace nas::results
