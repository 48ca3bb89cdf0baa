#include "search/partial_front.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <queue>

namespace nas::search {
namespace {

// One row of the sum table: a_i with the b_j not yet visited. Rows leave the heap by ascending first number.
struct Head {
  double x, y;
  std::uint32_t i, j;
};
struct Later {
  bool operator()(const Head& p, const Head& q) const {
    if (p.x != q.x) return p.x > q.x;
    if (p.y != q.y) return p.y > q.y;
    return p.i > q.i;
  }
};

void add_planar(const PartialFront& a, const PartialFront& b, std::span<const double> bound, bool swapped,
                std::vector<double>& values, std::vector<Pair>& pairs) {
  std::vector<Head> heap;
  const auto head = [&](std::uint32_t i, std::uint32_t j) {
    return Head{a.values[2 * i] + b.values[2 * j], a.values[2 * i + 1] + b.values[2 * j + 1], i, j};
  };
  for (std::uint32_t i = 0; i < a.size(); ++i) heap.push_back(head(i, 0));
  std::ranges::make_heap(heap, Later());
  double best = std::numeric_limits<double>::infinity();
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, Later());
    const Head top = heap.back();
    heap.pop_back();
    if (top.x > bound[0]) break;
    if (top.y < best) {
      best = top.y;
      if (top.y <= bound[1]) {
        values.insert(values.end(), {top.x, top.y});
        pairs.push_back(swapped ? Pair{top.j, top.i} : Pair{top.i, top.j});
      }
    }
    // Only a b_j low enough to beat `best` can still matter in this row; the second numbers fall with j.
    const double ya = a.values[2 * top.i + 1];
    std::uint32_t low = top.j + 1, high = static_cast<std::uint32_t>(b.size());
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (ya + b.values[2 * middle + 1] < best)
        high = middle;
      else
        low = middle + 1;
    }
    if (low == b.size()) continue;
    heap.push_back(head(top.i, low));
    std::ranges::push_heap(heap, Later());
  }
}

void add_all(const PartialFront& a, const PartialFront& b, std::span<const double> bound,
             std::vector<double>& values, std::vector<Pair>& pairs) {
  const std::size_t d = a.dimension;
  std::vector<double> sums;
  std::vector<Pair> made;
  std::vector<double> sum(d);
  for (std::uint32_t i = 0; i < a.size(); ++i)
    for (std::uint32_t j = 0; j < b.size(); ++j) {
      bool within = true;
      for (std::size_t k = 0; k < d; ++k) {
        sum[k] = a.values[i * d + k] + b.values[j * d + k];
        within = within && sum[k] <= bound[k];
      }
      if (!within) continue;
      sums.insert(sums.end(), sum.begin(), sum.end());
      made.push_back({i, j});
    }
  const Points points{sums, d};
  std::vector<std::size_t> kept = non_dominated(points);
  std::ranges::stable_sort(kept, [&](std::size_t p, std::size_t q) {
    return std::ranges::lexicographical_compare(points[p], points[q]);
  });
  for (const std::size_t p : kept) {
    values.insert(values.end(), points[p].begin(), points[p].end());
    pairs.push_back(made[p]);
  }
}

}  // namespace

void PartialFront::push(std::span<const double> p, std::int32_t node) {
  values.insert(values.end(), p.begin(), p.end());
  nodes.push_back(node);
}

void add_fronts(const PartialFront& a, const PartialFront& b, std::span<const double> bound,
                std::vector<double>& values, std::vector<Pair>& pairs) {
  values.clear();
  pairs.clear();
  if (a.size() == 0 || b.size() == 0) return;
  if (a.dimension != 2) return add_all(a, b, bound, values, pairs);
  // The smaller front makes the heap.
  if (a.size() <= b.size())
    add_planar(a, b, bound, false, values, pairs);
  else
    add_planar(b, a, bound, true, values, pairs);
}

void prune(PartialFront& front) {
  const Points points{front.values, front.dimension};
  std::vector<std::size_t> kept = non_dominated(points);
  std::ranges::stable_sort(kept, [&](std::size_t p, std::size_t q) {
    return std::ranges::lexicographical_compare(points[p], points[q]);
  });
  PartialFront sorted{front.dimension, {}, {}};
  for (const std::size_t p : kept) sorted.push(points[p], front.nodes[p]);
  front = std::move(sorted);
}

}  // namespace nas::search
