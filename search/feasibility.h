#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/additive.h"
#include "search/peak.h"
#include "search/strategy.h"

namespace nas::search {

// A metric that is known for every genotype without asking the evaluator, as a sum of terms.
struct KnownCost {
  std::string metric;
  Additive cost;
};

// The same as the largest of several terms (peak memory); a lower bound where it is not exact.
struct KnownPeak {
  std::string metric;
  Peak peak;
};

// A metric that is neither, but whose values provably lie in [lower, upper].
struct BoundedCost {
  std::string metric;
  double lower = 0;
  double upper = 0;
};

// What a metric can reach over the whole space.
struct Reach {
  std::string metric;
  double min = 0;
  double max = 0;
  bool exact = true;  // false: proven bounds, perhaps not reached
};

struct Feasibility {
  std::vector<Reach> reach;
  // Null when no limit is on a known cost or peak.
  std::shared_ptr<const Screen> screen;
};

// Whether the limits can be met, before anything is evaluated. Limits on known costs and upper limits on
// known peaks are decided exactly, one by one and together (a peak that is only a bound: where that
// suffices); limits on bounded costs where the bounds suffice; other limits are left to the search. Fails
// (infeasible) with "latency_ms: the tightest reachable is X; the limit asks Y; violated by Z".
Result<Feasibility> check_feasible(const SearchSpace& space, const Judge& judge,
                                   std::span<const KnownCost> known, std::span<const KnownPeak> peaks = {},
                                   std::span<const BoundedCost> bounded = {});

// The same where every network is listed and `evaluator` reads its numbers: limits are decided exactly by
// looking at all of them. The reach of every metric; fails (infeasible) as check_feasible does.
Result<std::vector<Reach>> check_listed(const Judge& judge, const Evaluator& evaluator,
                                        const Listing& listing);

}  // namespace nas::search
