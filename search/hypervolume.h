#pragma once
#include <span>
#include <vector>

#include "search/pareto.h"

namespace nas::search {

// The exact volume dominated by the points and bounded by `reference` (all numbers minimised); points that
// are not below the reference everywhere add nothing. One dimension: a length. Two: a sweep, O(n log n).
// Three: a sweep over the third with a staircase, O(n log n) plus removals. More: WFG (While, Bradstreet,
// Barone 2012).
double hypervolume(const Points& points, std::span<const double> reference);

// What the hypervolume would lose without each point.
std::vector<double> hypervolume_contributions(const Points& points, std::span<const double> reference);

}  // namespace nas::search
