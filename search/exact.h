#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "search/additive.h"
#include "search/pareto.h"
#include "search/peak.h"
#include "space/base/result.h"

namespace nas::search {

// At most `max` of a cost that is the largest of its terms: each of them must keep the limit.
struct PeakLimit {
  Peak peak;
  double max = 0;
};

struct ExactOptions {
  // Nothing above these is wanted; one per cost, or none. Prunes by bound (branch and bound), stays exact.
  std::vector<double> limits = {};
  std::vector<PeakLimit> peaks = {};
  // A table or front larger than this ends with an error instead of eating all memory.
  std::size_t max_points = std::size_t{1} << 26;
};

// The true front of costs that are sums of terms: every value vector that some genotype reaches and none
// dominates, with one genotype each. All costs are minimised.
class ExactFront {
 public:
  std::size_t size() const { return values_.size() / dimension_; }
  std::size_t dimension() const { return dimension_; }
  Points points() const { return {values_, dimension_}; }
  // Ascending by the first cost, then the others.
  std::span<const double> values(std::size_t i) const { return points()[i]; }
  // A genotype with those values, canonical.
  Genotype genotype(std::size_t i) const;

 private:
  friend class Elimination;
  // One choice made or two partial genotypes joined; shared by many points.
  struct Node {
    std::int32_t gene;  // -1: a join
    std::uint32_t choice;
    std::int32_t a, b;  // -1: nothing
  };
  std::size_t genes_ = 0;
  std::size_t dimension_ = 1;
  std::vector<double> values_;
  std::vector<std::int32_t> node_;
  std::vector<Node> nodes_;
};

// Eliminates one gene after the other (Bertele and Brioschi 1972, "Nonserial dynamic programming"), carrying
// fronts of partial sums instead of single numbers. Cost: the tables over genes that act together, times the
// fronts. Fails (failure) when they outgrow max_points; infeasible when no genotype is within the limits.
Result<ExactFront> exact_front(const SearchSpace& space, std::span<const Additive> costs,
                               const ExactOptions& options = {});

// The least that `peak` can be within `peaks`, and a network that has it.
Result<Genotype> lowest_peak(const SearchSpace& space, const Peak& peak, std::vector<PeakLimit> peaks = {});

}  // namespace nas::search
