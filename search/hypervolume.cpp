#include "search/hypervolume.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>

namespace nas::search {
namespace {

std::vector<std::size_t> order_by(const Points& points, std::size_t dimension) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return points[i][dimension]; });
  return order;
}

double area(const Points& points, std::span<const double> reference) {
  std::vector<std::size_t> order = order_by(points, 0);
  double sum = 0, ceiling = reference[1];
  for (const std::size_t i : order) {
    if (points[i][1] >= ceiling) continue;
    sum += (reference[0] - points[i][0]) * (ceiling - points[i][1]);
    ceiling = points[i][1];
  }
  return sum;
}

// The staircase of the first two dimensions while the third rises: x ascending, y descending.
class Staircase {
 public:
  Staircase(double x_end, double y_end) : x_end_(x_end), y_end_(y_end) {}

  // Adds a point and returns how much the covered area grows.
  double add(double x, double y) {
    auto right = steps_.upper_bound(x);
    double floor = right == steps_.begin() ? y_end_ : std::prev(right)->second;
    if (floor <= y) return 0;
    double grown = 0, from = x;
    while (right != steps_.end() && right->second >= y) {
      grown += (right->first - from) * (floor - y);
      from = right->first;
      floor = right->second;
      right = steps_.erase(right);
    }
    grown += ((right == steps_.end() ? x_end_ : right->first) - from) * (floor - y);
    steps_[x] = y;
    return grown;
  }

 private:
  double x_end_, y_end_;
  std::map<double, double> steps_;
};

double volume(const Points& points, std::span<const double> reference) {
  Staircase stairs(reference[0], reference[1]);
  double sum = 0, covered = 0, level = 0;
  for (const std::size_t i : order_by(points, 2)) {
    const auto p = points[i];
    sum += covered * (p[2] - level);
    level = p[2];
    covered += stairs.add(p[0], p[1]);
  }
  return sum + covered * (reference[2] - level);
}

double exact(const Points& points, std::span<const double> reference);

// WFG: the sum over the points, worst last dimension first, of the part that the later ones do not cover.
double wfg(const Points& points, std::span<const double> reference) {
  const std::size_t d = points.dimension;
  std::vector<std::size_t> order = order_by(points, d - 1);
  std::ranges::reverse(order);
  double sum = 0;
  std::vector<double> limited;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto p = points[order[k]];
    double inclusive = 1;
    for (std::size_t j = 0; j < d; ++j) inclusive *= reference[j] - p[j];
    limited.clear();
    // Later points are no higher in the last dimension, so limited there they all equal p: one dimension
    // less.
    for (std::size_t l = k + 1; l < order.size(); ++l)
      for (std::size_t j = 0; j + 1 < d; ++j) limited.push_back(std::max(points[order[l]][j], p[j]));
    const Points all{limited, d - 1};
    std::vector<double> kept;
    for (const std::size_t i : non_dominated(all)) kept.insert(kept.end(), all[i].begin(), all[i].end());
    const double covered = kept.empty() ? 0 : exact({kept, d - 1}, reference.first(d - 1));
    sum += inclusive - covered * (reference[d - 1] - p[d - 1]);
  }
  return sum;
}

double exact(const Points& points, std::span<const double> reference) {
  switch (points.dimension) {
    case 1:
      return reference[0] - std::ranges::min(points.data);
    case 2:
      return area(points, reference);
    case 3:
      return volume(points, reference);
    default:
      return wfg(points, reference);
  }
}

std::vector<double> inside(const Points& points, std::span<const double> reference, std::size_t skip) {
  std::vector<double> kept;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto p = points[i];
    bool below = i != skip;
    for (std::size_t j = 0; j < p.size(); ++j) below = below && p[j] < reference[j];
    if (below) kept.insert(kept.end(), p.begin(), p.end());
  }
  return kept;
}

double without(const Points& points, std::span<const double> reference, std::size_t skip) {
  const std::vector<double> kept = inside(points, reference, skip);
  const Points below{kept, points.dimension};
  std::vector<double> front;
  for (const std::size_t i : non_dominated(below))
    front.insert(front.end(), below[i].begin(), below[i].end());
  return front.empty() ? 0 : exact({front, points.dimension}, reference);
}

}  // namespace

double hypervolume(const Points& points, std::span<const double> reference) {
  return without(points, reference, SIZE_MAX);
}

std::vector<double> hypervolume_contributions(const Points& points, std::span<const double> reference) {
  const double all = hypervolume(points, reference);
  std::vector<double> lost(points.size());
  for (std::size_t i = 0; i < points.size(); ++i)
    lost[i] = std::max(0.0, all - without(points, reference, i));
  return lost;
}

}  // namespace nas::search
