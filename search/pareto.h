#pragma once
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace nas::search {

// Points of d numbers to minimise, one after the other: the flat form that all functions here take.
struct Points {
  std::span<const double> data;
  std::size_t dimension = 1;
  std::size_t size() const { return data.size() / dimension; }
  std::span<const double> operator[](std::size_t i) const { return data.subspan(i * dimension, dimension); }
};

// Nowhere worse and somewhere better; all numbers are minimised.
bool pareto_dominates(std::span<const double> a, std::span<const double> b);
// Nowhere worse.
bool weakly_dominates(std::span<const double> a, std::span<const double> b);

// Non-dominated sorting (Deb et al. 2002): the indices 0…n-1 in fronts, best first, ascending inside each.
// `dominates` is a strict partial order. O(n^2) comparisons.
std::vector<std::vector<std::size_t>> sort_fronts(
    std::size_t n, const std::function<bool(std::size_t, std::size_t)>& dominates);

// Crowding distance (Deb et al. 2002) of every point of one front; infinite at the ends of each dimension.
std::vector<double> crowding_distance(const Points& points);

// The indices of the points that no other dominates, ascending; of equal points the first.
std::vector<std::size_t> non_dominated(const Points& points);

// The point farthest below the hyperplane through the extreme points, all dimensions scaled to [0, 1]
// (Branke et al. 2004); with one or two points the first. `points` is a front, not empty.
std::size_t knee_point(const Points& points);

}  // namespace nas::search
