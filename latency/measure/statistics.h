#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nas::latency {

// Quantile of sorted values, linear between order statistics (Hyndman and Fan's type 7). Needs one value.
double sorted_quantile(std::span<const double> sorted, double p);
double median_of(std::span<const double> values);

struct Range {
  double low = 0;
  double high = 0;
};

// Confidence interval of the median from order statistics: the narrowest symmetric pair [x_(k), x_(n+1-k)]
// whose exact binomial coverage reaches `confidence`. Assumes independent values, no distribution. Empty
// below the smallest sample that can reach it (6 values for 95 %).
std::optional<Range> median_interval(std::span<const double> values, double confidence);

struct Summary {
  std::size_t count = 0;
  double median = 0, mean = 0, deviation = 0;  // deviation: sample standard deviation, 0 for one value
  double min = 0, p05 = 0, p90 = 0;
  std::size_t outliers = 0;  // further than 5 robust deviations (1.4826 MAD) above the median
};
// Needs one value.
Summary summarise(std::span<const double> values);

// Percentile bootstrap interval of a statistic over independent groups: each replicate draws a group's values
// with replacement. Deterministic for a seed.
Range bootstrap_interval(std::span<const std::vector<double>> groups, double confidence, int replicates,
                         std::uint64_t seed, double (*statistic)(std::span<const std::vector<double>>));

}  // namespace nas::latency
