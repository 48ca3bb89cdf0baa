#pragma once
#include <optional>
#include <span>

#include "search/feasibility.h"
#include "search/history.h"

namespace nas::search {

// How far a run's best is from what is possible, in the first objective's own unit.
struct Certificate {
  double optimum = 0;     // exact, within the limits
  double found = 0;       // the best of the run, by the same model
  bool stand_in = false;  // the model only stands in for the metric
  double gap() const;     // 0 or more
};

// The exact optimum of the first objective under the limits, against the run's best by the same model: the
// metric itself where it is known, else its stand-in. Nothing where there is no model, a limit is on a metric
// that is not known, or nothing feasible was found.
Result<std::optional<Certificate>> certify(const SearchSpace& space, const History& history,
                                           std::span<const KnownCost> known,
                                           std::span<const KnownCost> stand_ins,
                                           std::span<const KnownPeak> peaks = {});

}  // namespace nas::search
