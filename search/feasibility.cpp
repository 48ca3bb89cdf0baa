#include "search/feasibility.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "search/exact.h"
#include "search/text.h"

namespace nas::search {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// One side of one limit as "cost <= limit".
struct Side {
  std::string metric;
  Additive cost;  // sign included
  double limit;
  double sign;
};

Error unreachable(const std::string& metric, double reached, double asked, const std::string& condition,
                  bool exact = true) {
  return {metric + ": the tightest reachable" + (exact ? "" : " (bound)") + condition + " is " +
              number(reached) + "; the limit asks " + number(asked) + "; violated by " +
              number(std::abs(reached - asked)),
          "", ErrorKind::infeasible};
}

// Both limits of a metric as the judge merges them.
std::pair<double, double> limits_of(const Judge& judge, const std::string& metric) {
  double min = -kInfinite, max = kInfinite;
  for (const Constraint& c : judge.problem().constraints) {
    if (c.metric != metric) continue;
    if (c.min) min = std::max(min, *c.min);
    if (c.max) max = std::min(max, *c.max);
  }
  return {min, max};
}

Result<void> check_alone(const Reach& reach, double min, double max) {
  if (reach.min > max) return unreachable(reach.metric, reach.min, max, "", reach.exact);
  if (reach.max < min) return unreachable(reach.metric, reach.max, min, "", reach.exact);
  return {};
}

// The genotype with the least sum of relative costs within the peaks' limits: often it keeps all limits and
// saves the exact question.
Result<Genotype> balanced(const SearchSpace& space, const std::vector<Side>& sides,
                          const std::vector<PeakLimit>& peaks) {
  std::vector<Term> terms;
  double constant = 0;
  for (const Side& side : sides) {
    const double scale = side.limit == 0 ? 1 : 1 / std::abs(side.limit);
    const Additive part = side.cost.scaled(scale);
    constant += part.constant();
    terms.insert(terms.end(), part.terms().begin(), part.terms().end());
  }
  NAS_TRY(sum, Additive::make(space, constant, std::move(terms)));
  NAS_TRY(front, exact_front(space, {&sum, 1}, {{}, peaks}));
  return front.genotype(0);
}

bool keeps_all(const std::vector<Side>& sides, const Genotype& g) {
  return std::ranges::all_of(sides, [&](const Side& side) { return side.cost(g) <= side.limit; });
}

// An upper limit on a peak.
struct PeakSide {
  std::string metric;
  PeakLimit limit;
};

// Adds limit after limit to `kept`, and to the words of the condition under which later ones are asked.
// A genotype within all of them.
Result<Genotype> peaks_together(const SearchSpace& space, const std::vector<PeakSide>& sides,
                                std::vector<PeakLimit>& kept, std::string& condition) {
  Genotype last = space.smallest();
  for (const PeakSide& side : sides) {
    NAS_TRY(lowest, lowest_peak(space, side.limit.peak, kept));
    const double reached = side.limit.peak(lowest);
    if (reached > side.limit.max)
      return unreachable(side.metric, reached, side.limit.max, condition, side.limit.peak.exact());
    kept.push_back(side.limit);
    condition += (condition.empty() ? " with " : " and ") + side.metric + " <= " + number(side.limit.max);
    last = std::move(lowest);
  }
  return last;
}

// A genotype within all sides, or the error that says which limit the others leave out of reach.
Result<Genotype> together(const SearchSpace& space, const std::vector<Side>& sides,
                          const std::vector<PeakSide>& peaks) {
  ExactOptions options;
  std::string condition;
  NAS_TRY(easy, peaks_together(space, peaks, options.peaks, condition));
  if (sides.empty()) return easy;
  NAS_TRY(sum, balanced(space, sides, options.peaks));
  if (keeps_all(sides, sum)) return sum;
  const bool exact = std::ranges::all_of(peaks, [](const PeakSide& p) { return p.limit.peak.exact(); });
  std::vector<Additive> costs;
  // Adds limit after limit; the first that cannot join the others is named.
  for (std::size_t n = 0; n < sides.size(); ++n) {
    costs.push_back(sides[n].cost);
    options.limits.assign(n + 1, kInfinite);
    for (std::size_t i = 0; i < n; ++i) options.limits[i] = sides[i].limit;
    NAS_TRY(front, exact_front(space, costs, options));
    std::size_t best = 0;
    for (std::size_t i = 1; i < front.size(); ++i)
      if (front.values(i)[n] < front.values(best)[n]) best = i;
    const Genotype g = front.genotype(best);
    const double reached = sides[n].sign * sides[n].cost(g), asked = sides[n].sign * sides[n].limit;
    if (sides[n].cost(g) > sides[n].limit)
      return unreachable(sides[n].metric, reached, asked, condition, exact);
    if (n + 1 == sides.size()) return g;
    condition += (condition.empty() ? " with " : " and ") + sides[n].metric +
                 (sides[n].sign > 0 ? " <= " : " >= ") + number(asked);
  }
  return easy;
}

// A bound has no largest value that would be proven: what is missing may need any amount.
Result<Reach> reach_of(const SearchSpace& space, const KnownPeak& known) {
  NAS_TRY(lowest, lowest_peak(space, known.peak));
  double most = 0;
  for (const Term& term : known.peak.terms()) most = std::max(most, std::ranges::max(term.table));
  return Reach{known.metric, known.peak(lowest), known.peak.exact() ? most : kInfinite, known.peak.exact()};
}

}  // namespace

Result<Feasibility> check_feasible(const SearchSpace& space, const Judge& judge,
                                   std::span<const KnownCost> known, std::span<const KnownPeak> peaks,
                                   std::span<const BoundedCost> bounded) {
  Feasibility out;
  std::vector<Side> sides;
  std::vector<Screen::Limit> limits;
  for (const KnownCost& k : known) {
    NAS_TRY(reachable, range(space, k.cost));
    out.reach.push_back({k.metric, reachable.min, reachable.max, true});
    const auto [min, max] = limits_of(judge, k.metric);
    NAS_CHECK(check_alone(out.reach.back(), min, max));
    if (std::isfinite(max)) sides.push_back({k.metric, k.cost, max, 1});
    if (std::isfinite(min)) sides.push_back({k.metric, k.cost.scaled(-1), -min, -1});
    if (std::isfinite(min) || std::isfinite(max)) limits.push_back({k.cost, min, max});
  }
  for (const BoundedCost& b : bounded) {
    out.reach.push_back({b.metric, b.lower, b.upper, false});
    const auto [min, max] = limits_of(judge, b.metric);
    NAS_CHECK(check_alone(out.reach.back(), min, max));
  }
  std::vector<PeakSide> peak_sides;
  std::vector<PeakLimit> peak_limits;
  for (const KnownPeak& k : peaks) {
    NAS_TRY(reachable, reach_of(space, k));
    out.reach.push_back(reachable);
    const auto [min, max] = limits_of(judge, k.metric);
    NAS_CHECK(check_alone(reachable, min, max));
    if (!std::isfinite(max)) continue;
    peak_limits.push_back({k.peak, max});
    peak_sides.push_back({k.metric, peak_limits.back()});
  }
  if (sides.empty() && peak_sides.empty()) return out;
  NAS_TRY(tightest, together(space, sides, peak_sides));
  out.screen = std::make_shared<const Screen>(std::move(limits), std::move(tightest), std::move(peak_limits));
  return out;
}

Result<std::vector<Reach>> check_listed(const Judge& judge, const Evaluator& evaluator,
                                        const Listing& listing) {
  std::vector<Genotype> networks;
  for (std::size_t i = 0; i < listing.size(); ++i) networks.push_back(listing[i]);
  Scores scores;
  scores.reset(networks.size(), evaluator.metrics.size());
  guarded(evaluator).score(networks, 1, scores);
  std::vector<Reach> reach;
  std::vector<std::size_t> left;  // rows that keep the limits so far
  for (std::size_t i = 0; i < networks.size(); ++i)
    if (!scores.failed(i)) left.push_back(i);
  for (std::size_t m = 0; m < evaluator.metrics.size(); ++m) {
    Reach r{evaluator.metrics[m].name, kInfinite, -kInfinite, true};
    for (const std::size_t i : left)
      r.min = std::min(r.min, scores.row(i)[m]), r.max = std::max(r.max, scores.row(i)[m]);
    reach.push_back(r);
  }
  std::string condition;
  for (std::size_t m = 0; m < reach.size(); ++m) {
    const auto [min, max] = limits_of(judge, reach[m].metric);
    if (!std::isfinite(min) && !std::isfinite(max)) continue;
    const auto over = [&, low = min, high = max](std::size_t i) {
      return excess(scores.row(i)[m], low, high);
    };
    const auto tightest = std::ranges::min_element(left, {}, over);
    if (tightest == left.end()) continue;  // nothing could be scored
    const double reached = scores.row(*tightest)[m];
    if (over(*tightest) > 0)
      return unreachable(reach[m].metric, reached, reached > max ? max : min, condition);
    std::erase_if(left, [&](std::size_t i) { return over(i) > 0; });
    condition += (condition.empty() ? " with " : " and ") + reach[m].metric + " within its limits";
  }
  return reach;
}

}  // namespace nas::search
