#include "search/pareto.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

namespace nas::search {

bool pareto_dominates(std::span<const double> a, std::span<const double> b) {
  bool better = false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
    better |= a[i] < b[i];
  }
  return better;
}

bool weakly_dominates(std::span<const double> a, std::span<const double> b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] > b[i]) return false;
  return true;
}

std::vector<std::vector<std::size_t>> sort_fronts(
    std::size_t n, const std::function<bool(std::size_t, std::size_t)>& dominates) {
  std::vector<std::vector<std::size_t>> beats(n);
  std::vector<std::size_t> beaten_by(n, 0);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j) {
      if (dominates(i, j))
        beats[i].push_back(j), ++beaten_by[j];
      else if (dominates(j, i))
        beats[j].push_back(i), ++beaten_by[i];
    }
  std::vector<std::vector<std::size_t>> fronts;
  std::vector<std::size_t> current;
  for (std::size_t i = 0; i < n; ++i)
    if (beaten_by[i] == 0) current.push_back(i);
  while (!current.empty()) {
    std::vector<std::size_t> next;
    for (const std::size_t i : current)
      for (const std::size_t j : beats[i])
        if (--beaten_by[j] == 0) next.push_back(j);
    std::ranges::sort(next);
    fronts.push_back(std::move(current));
    current = std::move(next);
  }
  return fronts;
}

std::vector<double> crowding_distance(const Points& points) {
  const std::size_t n = points.size();
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  std::vector<double> distance(n, 0.0);
  std::vector<std::size_t> order(n);
  for (std::size_t d = 0; d < points.dimension && n > 0; ++d) {
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return points[i][d]; });
    const double range = points[order.back()][d] - points[order.front()][d];
    distance[order.front()] = distance[order.back()] = kInfinite;
    for (std::size_t i = 1; i + 1 < n && range > 0; ++i)
      distance[order[i]] += (points[order[i + 1]][d] - points[order[i - 1]][d]) / range;
  }
  return distance;
}

namespace {

// Whether earlier points, none of which is larger in its first number, hold one that is nowhere larger than a
// point. In two and three dimensions by what has the smallest last number so far (Kung, Luccio, Preparata
// 1975).
class Covered {
 public:
  explicit Covered(const Points& points) : points_(points) {}

  // Remembers the point if none covers it.
  bool or_add(std::size_t i) {
    if (points_.dimension <= 2) {
      if (!front_.empty() && weakly_dominates(points_[front_.back()], points_[i])) return true;
    } else if (points_.dimension == 3) {
      if (under_stair(points_[i][1], points_[i][2])) return true;
    } else if (std::ranges::any_of(front_,
                                   [&](std::size_t f) { return weakly_dominates(points_[f], points_[i]); })) {
      return true;
    }
    front_.push_back(i);
    return false;
  }
  std::vector<std::size_t>& front() { return front_; }

 private:
  bool under_stair(double y, double z) {
    auto after = stair_.upper_bound(y);
    if (after != stair_.begin() && std::prev(after)->second <= z) return true;
    while (after != stair_.end() && after->second >= z) after = stair_.erase(after);
    stair_[y] = z;
    return false;
  }

  const Points& points_;
  std::vector<std::size_t> front_;
  std::map<double, double> stair_;  // second number -> third, which falls as the second grows
};

}  // namespace

std::vector<std::size_t> non_dominated(const Points& points) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return std::ranges::lexicographical_compare(points[a], points[b]);
  });
  Covered covered(points);
  for (const std::size_t i : order) covered.or_add(i);
  std::ranges::sort(covered.front());
  return std::move(covered.front());
}

std::size_t knee_point(const Points& points) {
  const std::size_t d = points.dimension;
  std::vector<double> low(d, std::numeric_limits<double>::infinity()), high(d, -low[0]);
  for (std::size_t i = 0; i < points.size(); ++i)
    for (std::size_t k = 0; k < d; ++k) {
      low[k] = std::min(low[k], points[i][k]);
      high[k] = std::max(high[k], points[i][k]);
    }
  // Scaled, the plane through the extremes is sum = const: the knee has the smallest sum.
  std::size_t best = 0;
  double best_sum = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < points.size(); ++i) {
    double sum = 0;
    for (std::size_t k = 0; k < d; ++k)
      sum += high[k] > low[k] ? (points[i][k] - low[k]) / (high[k] - low[k]) : 0;
    if (sum < best_sum) best = i, best_sum = sum;
  }
  return best;
}

}  // namespace nas::search
