#pragma once
#include <optional>
#include <span>
#include <vector>

#include "latency/measure/statistics.h"

namespace nas::latency {

// A machine has speeds: alone on its core, beside another tenant's thread, hot. Between two of them kernels
// of different kinds do not slow down by the same factor (measured here: 1.2 for an addition, 1.45 for a
// dense convolution, 1.75 for a depthwise one), so that a reference kernel tells at which speed the machine
// runs but cannot convert one into the other. Hence: only visits at the session's undisturbed speed count,
// and the reference takes the small wander within it off them.

// Visits to the reference kernel: when, ascending, and what its run took.
struct ReferenceVisits {
  std::vector<double> times;
  std::vector<double> values;
};

// Two values of the reference within 10 % are of one speed.
inline constexpr double kSameSpeed = 0.1;

// The speed that a session's numbers are stated at.
struct Baseline {
  double value = 1;   // of the reference kernel's run
  double wander = 0;  // standard deviation of its level between tenths of the session, relative
};

// The undisturbed speed: around the lowest tenth of all visits, because other work on the device only ever
// slows it down. `earlier` are values of the same session before it was interrupted.
Baseline baseline_of(const ReferenceVisits& visits, std::span<const double> earlier = {});

// What the reference takes around each of `times`: the median of the three nearest visits.
std::vector<double> reference_at(std::span<const double> times, const ReferenceVisits& visits);

// Median of one kernel's visits at the baseline.
struct DriftFree {
  double value = 0;
  Range own;       // what the visits say, without what is common to a session's kernels
  Range interval;  // with it: the speed's wander, and how unlike kernels slow down
  bool has_interval = false;
  double drift = 1;                  // median factor that was divided out
  std::vector<double> values;        // of the visits that count, drift divided out
  std::vector<double> factors = {};  // of every visit
  std::vector<bool> counts = {};     // which visits count
};

// `references`: the reference's value at each visit. Where fewer than kFewestVisits were at the baseline's
// speed, the nearest ones count, and the interval says so.
inline constexpr std::size_t kFewestVisits = 6;
DriftFree drift_free(std::span<const double> medians, std::span<const double> references,
                     const Baseline& baseline, double confidence);

}  // namespace nas::latency
