#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace nas::results {

// Two clocks, both in milliseconds, replaceable in tests. What a person reads comes from the wall clock,
// which may jump; what decides (leases, pauses before a retry, durations) counts on a clock that only goes
// forward and is the same for all processes of one machine since it was started.
struct Clock {
  std::function<std::int64_t()> wall;    // since 1970-01-01 UTC
  std::function<std::int64_t()> steady;  // since the machine started
  std::string boot;                      // names this start of the machine
};

Clock system_clock();

}  // namespace nas::results
