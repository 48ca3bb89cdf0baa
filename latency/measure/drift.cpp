#include "latency/measure/drift.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nas::latency {
namespace {

constexpr double kLowest = 0.1;
constexpr std::size_t kTenths = 10;
constexpr std::size_t kEnoughForALevel = 3;
// Standard deviation between kernels of the logarithm of their slow-down, for a reference that slows down by
// a factor of e; from kernels of six kinds at two speeds of one machine.
constexpr double kUnlike = 0.3;
// The level wanders slowly: between sessions by more than between the tenths of one. Two sessions in a row
// differed by 5 % in level, with 1.1 and 1.5 % between their tenths.
constexpr double kBetweenSessions = 2;
constexpr double kTwoSided = 1.96;

double deviation_of(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1));
}

bool same_speed(double value, double baseline) { return std::abs(std::log(value / baseline)) <= kSameSpeed; }

double wander_of(const ReferenceVisits& visits, double baseline) {
  std::vector<std::vector<double>> tenths(kTenths);
  if (visits.times.empty()) return 0;
  const double begin = visits.times.front(), span = visits.times.back() - begin;
  if (!(span > 0)) return 0;
  for (std::size_t i = 0; i < visits.times.size(); ++i) {
    if (!same_speed(visits.values[i], baseline)) continue;
    const double place = static_cast<double>(kTenths) * (visits.times[i] - begin) / span;
    tenths[std::min(kTenths - 1, static_cast<std::size_t>(place))].push_back(
        std::log(visits.values[i] / baseline));
  }
  std::vector<double> levels;
  for (const std::vector<double>& tenth : tenths)
    if (tenth.size() >= kEnoughForALevel) levels.push_back(median_of(tenth));
  return deviation_of(levels);
}

// Distance of each end from `value`, as a logarithm, joined with an independent error.
Range widened(const Range& own, double value, double error) {
  return {value * std::exp(-std::hypot(std::log(value / own.low), error)),
          value * std::exp(std::hypot(std::log(own.high / value), error))};
}

}  // namespace

Baseline baseline_of(const ReferenceVisits& visits, std::span<const double> earlier) {
  std::vector<double> all(visits.values);
  all.insert(all.end(), earlier.begin(), earlier.end());
  if (all.empty()) return {};
  std::ranges::sort(all);
  // One of the visits, not a place between two: the visits around it are never none.
  const double low = all[static_cast<std::size_t>(kLowest * static_cast<double>(all.size() - 1))];
  std::erase_if(all, [low](double value) { return !same_speed(value, low); });
  const double value = median_of(all);
  return {value, wander_of(visits, value)};
}

std::vector<double> reference_at(std::span<const double> times, const ReferenceVisits& visits) {
  std::vector<double> found;
  const std::vector<double>& when = visits.times;
  const std::ptrdiff_t count = std::ssize(when), width = std::min<std::ptrdiff_t>(3, count);
  for (const double time : times) {
    const auto after = std::ranges::lower_bound(when, time) - when.begin();
    std::ptrdiff_t from = after - 1;
    if (after > 0 && after < count) {
      // Two neighbours for sure; the third is the nearer of the next ones.
      const auto distance = [&](std::ptrdiff_t i) {
        return i < 0 || i >= count ? INFINITY : std::abs(when[static_cast<std::size_t>(i)] - time);
      };
      if (distance(after - 2) < distance(after + 1)) from = after - 2;
    }
    from = std::clamp<std::ptrdiff_t>(from, 0, count - width);
    found.push_back(median_of(
        std::span(visits.values).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(width))));
  }
  return found;
}

DriftFree drift_free(std::span<const double> medians, std::span<const double> references,
                     const Baseline& baseline, double confidence) {
  DriftFree result;
  std::vector<double> distances;
  for (const double reference : references) {
    result.factors.push_back(reference / baseline.value);
    distances.push_back(std::abs(std::log(result.factors.back())));
  }
  std::vector<double> sorted = distances;
  std::ranges::sort(sorted);
  const double limit = std::max(kSameSpeed, sorted[std::min(kFewestVisits, sorted.size()) - 1]);
  std::vector<double> factors, errors;
  for (std::size_t i = 0; i < medians.size(); ++i) {
    result.counts.push_back(distances[i] <= limit);
    if (!result.counts.back()) continue;
    result.values.push_back(medians[i] / result.factors[i]);
    factors.push_back(result.factors[i]);
    errors.push_back(distances[i]);
  }
  result.value = median_of(result.values);
  result.drift = median_of(factors);
  if (const auto interval = median_interval(result.values, confidence)) {
    result.own = *interval;
    result.has_interval = true;
  } else {
    const auto [low, high] = std::ranges::minmax(result.values);
    result.own = {low, high};
  }
  const double common =
      kTwoSided * std::hypot(kBetweenSessions * baseline.wander, kUnlike * median_of(errors));
  result.interval = widened(result.own, result.value, common);
  return result;
}

}  // namespace nas::latency
