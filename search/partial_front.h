#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "search/pareto.h"

namespace nas::search {

// A non-dominated set of partial sums, ascending by the first number; each point remembers by a node how it
// was made. The working value of exact.h.
struct PartialFront {
  std::size_t dimension = 1;
  std::vector<double> values;
  std::vector<std::int32_t> nodes;

  std::size_t size() const { return nodes.size(); }
  std::span<const double> point(std::size_t i) const {
    return std::span(values).subspan(i * dimension, dimension);
  }
  void push(std::span<const double> point, std::int32_t node);
};

// One sum of a point of `a` and a point of `b`, by index.
struct Pair {
  std::uint32_t a, b;
};

// The non-dominated sums a_i + b_j that stay within `bound` (one per dimension), ascending by the first
// number. Two dimensions: a merge that jumps over dominated sums; more: all sums, sorted and pruned.
void add_fronts(const PartialFront& a, const PartialFront& b, std::span<const double> bound,
                std::vector<double>& values, std::vector<Pair>& pairs);

// Sorts and removes dominated points; of equal points the first pushed stays.
void prune(PartialFront& front);

}  // namespace nas::search
