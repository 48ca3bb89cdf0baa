#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/evaluator.h"
#include "search/feasibility.h"
#include "search/listing.h"

namespace nas::search {

// Where hypervolumes of a problem are measured from, and why: one entry per objective.
struct Reference {
  std::vector<double> losses;
  std::vector<std::string> why;  // "macs_m 731 (worst reachable)"
};

// A reference point that depends on the problem only, so that the hypervolumes of all its runs compare. Per
// objective, 10 % beyond the worst of: what the objective declares; what is reachable, where that is known
// exactly; what the networks that every run shares have (the listing's, else 64 of a designed sample, scored
// by `probe`). A limit on the metric itself replaces what is worse. Empty when nothing can be scored: runs
// then choose their own.
Reference problem_reference(const SearchSpace& space, const Judge& judge, std::span<const Reach> reach,
                            const Evaluator& probe, const std::shared_ptr<const Listing>& listing);

}  // namespace nas::search
