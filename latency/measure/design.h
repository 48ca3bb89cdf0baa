#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "latency/measure/session.h"
#include "space/kernel.h"

namespace nas::latency {

// What a session tells about a set of kernels: measured, or interpolated within what the table's own
// left-out errors promise.
struct Coverage {
  std::size_t kernels = 0;   // of the set
  std::size_t measured = 0;  // among them
  std::size_t sure = 0;      // interpolated, 90 % interval within +-`sure` of the value
  std::size_t unsure = 0;    // interpolated, but wider
  std::size_t unknown = 0;   // outside of what was measured
};
Coverage coverage_of(std::span<const Kernel> kernels, const Session& session, double sure);

// At most `count` kernels to measure next: of those that the session neither holds nor predicts within
// +-`sure`, kernels outside of what was measured first. Among them come kinds of which little is known, each
// the farthest from what is measured, and then one by one the kernel whose measuring is expected to take most
// off the summed variance of the log times of all that are open (Gaussian processes, one a kind). Empty when
// nothing is unsure. Deterministic.
Result<std::vector<Kernel>> next_kernels(std::span<const Kernel> kernels, const Session& session,
                                         std::size_t count, double sure);

}  // namespace nas::latency
