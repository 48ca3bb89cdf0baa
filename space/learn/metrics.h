#pragma once
#include <cstddef>
#include <span>

#include "space/base/result.h"

namespace nas::learn {

// How far predictions are from the truth. Relative errors are |p - t| / |t|; percentages are in percent.
struct Metrics {
  std::size_t n = 0;
  double rmse = 0;     // in the target's unit
  double mae = 0;      // likewise
  double mape = 0;     // mean absolute percentage error
  double rmspe = 0;    // root mean squared percentage error
  double within5 = 0;  // percent of rows with a relative error of at most 5 %
  double within10 = 0;
  double spearman = 0;  // 0 where one side is constant
  double kendall = 0;   // tau-b, likewise
};

// Fails on no rows, unequal sizes, non-finite numbers, or a true value of 0 (relative error undefined).
Result<Metrics> evaluate(std::span<const double> truth, std::span<const double> predicted);

// Pearson's correlation; 0 where one side is constant.
double pearson(std::span<const double> a, std::span<const double> b);
// Pearson's correlation of ranks, ties at their mean rank.
double spearman(std::span<const double> a, std::span<const double> b);
// Kendall's tau-b in O(n log n) (Knight, JASA 61, 1966).
double kendall(std::span<const double> a, std::span<const double> b);
// Share of rows, in percent, whose truth lies in [low, high].
double coverage(std::span<const double> truth, std::span<const double> low, std::span<const double> high);
// Mean absolute percentage error.
double mape(std::span<const double> truth, std::span<const double> predicted);
// Median (the mean of the two middle values for an even count); 0 for none.
double median(std::span<const double> values);
// The value below which `share` of the values lie, linear between order statistics; 0 for none.
double quantile(std::span<const double> values, double share);
// Correlation of each value with the one before it: above 0 where residuals drift in measurement order.
double lag1_correlation(std::span<const double> values);

}  // namespace nas::learn
