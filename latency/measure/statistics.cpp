#include "latency/measure/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "space/base/rng.h"

namespace nas::latency {
namespace {

std::vector<double> sorted_copy(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  return sorted;
}

// P(B <= k) of a fair binomial of n trials, summed from the logarithms of its terms.
double fair_binomial_cdf(std::size_t n, std::size_t k) {
  double sum = 0;
  for (std::size_t i = 0; i <= k; ++i) {
    const double d = static_cast<double>(n), x = static_cast<double>(i);
    sum += std::exp(std::lgamma(d + 1) - std::lgamma(x + 1) - std::lgamma(d - x + 1) - d * std::log(2.0));
  }
  return sum;
}

}  // namespace

double sorted_quantile(std::span<const double> sorted, double p) {
  assert(!sorted.empty() && p >= 0 && p <= 1);
  const double place = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (sorted[below + 1] - sorted[below]) * (place - static_cast<double>(below));
}

double median_of(std::span<const double> values) { return sorted_quantile(sorted_copy(values), 0.5); }

std::optional<Range> median_interval(std::span<const double> values, double confidence) {
  const std::size_t n = values.size();
  std::optional<std::size_t> cut;  // values left out at each end
  for (std::size_t k = 0; 2 * (k + 1) <= n; ++k)
    if (1 - 2 * fair_binomial_cdf(n, k) >= confidence) cut = k;
  if (!cut) return {};
  const std::vector<double> sorted = sorted_copy(values);
  return Range{sorted[*cut], sorted[n - 1 - *cut]};
}

Summary summarise(std::span<const double> values) {
  const std::vector<double> sorted = sorted_copy(values);
  const double n = static_cast<double>(sorted.size());
  Summary s;
  s.count = sorted.size();
  s.median = sorted_quantile(sorted, 0.5);
  s.min = sorted.front();
  s.p05 = sorted_quantile(sorted, 0.05);
  s.p90 = sorted_quantile(sorted, 0.9);
  s.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / n;
  std::vector<double> distances;
  double squares = 0;
  for (const double x : sorted) {
    squares += (x - s.mean) * (x - s.mean);
    distances.push_back(std::abs(x - s.median));
  }
  if (sorted.size() > 1) s.deviation = std::sqrt(squares / (n - 1));
  const double robust = 1.4826 * median_of(distances);
  s.outliers = static_cast<std::size_t>(std::ranges::count_if(
      sorted, [&](double x) { return x - s.median > 5 * std::max(robust, 1e-12 * s.median); }));
  return s;
}

Range bootstrap_interval(std::span<const std::vector<double>> groups, double confidence, int replicates,
                         std::uint64_t seed, double (*statistic)(std::span<const std::vector<double>>)) {
  std::vector<double> results;
  std::vector<std::vector<double>> drawn(groups.begin(), groups.end());
  for (int r = 0; r < replicates; ++r) {
    Rng rng(seed, "bootstrap", static_cast<std::uint64_t>(r));
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (double& value : drawn[g]) value = groups[g][rng.below(groups[g].size())];
    results.push_back(statistic(drawn));
  }
  std::ranges::sort(results);
  const double tail = (1 - confidence) / 2;
  return {sorted_quantile(results, tail), sorted_quantile(results, 1 - tail)};
}

}  // namespace nas::latency
