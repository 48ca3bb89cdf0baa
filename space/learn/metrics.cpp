#include "space/learn/metrics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace nas::learn {
namespace {

std::vector<double> ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  std::vector<double> out(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) out[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
    begin = end;
  }
  return out;
}

// Pairs of equal neighbours' runs: sum of t (t - 1) / 2.
template <class Equal>
std::int64_t tied_pairs(std::size_t n, Equal equal) {
  std::int64_t pairs = 0;
  std::int64_t run = 1;
  for (std::size_t i = 1; i <= n; ++i) {
    if (i < n && equal(i - 1, i)) {
      ++run;
    } else {
      pairs += run * (run - 1) / 2;
      run = 1;
    }
  }
  return pairs;
}

// Sorts `values` and returns how many pairs stood in the wrong order.
std::int64_t count_swaps(std::span<double> values, std::span<double> buffer) {
  if (values.size() < 2) return 0;
  const std::size_t half = values.size() / 2;
  std::int64_t swaps = count_swaps(values.first(half), buffer.first(half)) +
                       count_swaps(values.subspan(half), buffer.subspan(half));
  std::size_t i = 0;
  std::size_t j = half;
  for (double& to : buffer) {
    if (j == values.size() || (i < half && values[i] <= values[j])) {
      to = values[i++];
    } else {
      swaps += static_cast<std::int64_t>(half - i);
      to = values[j++];
    }
  }
  std::copy(buffer.begin(), buffer.end(), values.begin());
  return swaps;
}

}  // namespace

double pearson(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  if (a.empty()) return 0;
  const double n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double spearman(std::span<const double> a, std::span<const double> b) { return pearson(ranks(a), ranks(b)); }

double kendall(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  const std::size_t n = a.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t i, std::size_t j) { return a[i] < a[j] || (a[i] == a[j] && b[i] < b[j]); });
  const auto same_a = [&](std::size_t i, std::size_t j) { return a[order[i]] == a[order[j]]; };
  const auto same_b = [&](std::size_t i, std::size_t j) { return b[order[i]] == b[order[j]]; };
  const std::int64_t ties_a = tied_pairs(n, same_a);
  const std::int64_t ties_ab =
      tied_pairs(n, [&](std::size_t i, std::size_t j) { return same_a(i, j) && same_b(i, j); });
  std::vector<double> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = b[order[i]];
  std::vector<double> buffer(n);
  const std::int64_t swaps = count_swaps(values, buffer);
  const std::int64_t ties_b =
      tied_pairs(n, [&](std::size_t i, std::size_t j) { return values[i] == values[j]; });
  const auto count = static_cast<std::int64_t>(n);
  const std::int64_t pairs = count * (count - 1) / 2;
  const double scale =
      std::sqrt(static_cast<double>(pairs - ties_a)) * std::sqrt(static_cast<double>(pairs - ties_b));
  return scale > 0 ? static_cast<double>(pairs - ties_a - ties_b + ties_ab - 2 * swaps) / scale : 0;
}

double coverage(std::span<const double> truth, std::span<const double> low, std::span<const double> high) {
  assert(truth.size() == low.size() && truth.size() == high.size());
  std::size_t inside = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) inside += low[i] <= truth[i] && truth[i] <= high[i] ? 1 : 0;
  return truth.empty() ? 0 : 100.0 * static_cast<double>(inside) / static_cast<double>(truth.size());
}

double mape(std::span<const double> truth, std::span<const double> predicted) {
  double sum = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    sum += std::abs(predicted[i] - truth[i]) / std::abs(truth[i]);
  return truth.empty() ? 0 : 100 * sum / static_cast<double>(truth.size());
}

double quantile(std::span<const double> values, double share) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double median(std::span<const double> values) { return quantile(values, 0.5); }

double lag1_correlation(std::span<const double> values) {
  if (values.size() < 3) return 0;
  return pearson(values.first(values.size() - 1), values.subspan(1));
}

Result<Metrics> evaluate(std::span<const double> truth, std::span<const double> predicted) {
  if (truth.empty()) return usage_error("metrics need at least one row");
  if (truth.size() != predicted.size()) return usage_error("metrics need one prediction per true value");
  Metrics m;
  m.n = truth.size();
  const double n = static_cast<double>(m.n);
  for (std::size_t i = 0; i < m.n; ++i) {
    if (!std::isfinite(truth[i]) || !std::isfinite(predicted[i]))
      return usage_error("metrics need finite numbers");
    if (truth[i] == 0) return usage_error("a true value of 0 has no relative error");
    const double error = predicted[i] - truth[i];
    const double relative = std::abs(error) / std::abs(truth[i]);
    m.rmse += error * error / n;
    m.mae += std::abs(error) / n;
    m.mape += 100 * relative / n;
    m.rmspe += relative * relative / n;
    m.within5 += relative <= 0.05 ? 100 / n : 0;
    m.within10 += relative <= 0.10 ? 100 / n : 0;
  }
  m.rmse = std::sqrt(m.rmse);
  m.rmspe = 100 * std::sqrt(m.rmspe);
  m.spearman = spearman(truth, predicted);
  m.kendall = kendall(truth, predicted);
  return m;
}

}  // namespace nas::learn
