#include "supernet/quantize/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nas::supernet {
namespace {

constexpr std::size_t kBins = Histogram::kBins;
constexpr std::array<std::string_view, 5> kNames{"min_max", "percentile", "mse", "kl", "auto"};
constexpr double kTail = 1e-4;  // percentile: share of values outside the range

Range by_percentile(const Histogram& seen) {
  std::uint64_t total = 0;
  for (const std::uint64_t n : seen.counts) total += n;
  const auto cut = static_cast<std::uint64_t>(static_cast<double>(total) * kTail / 2);
  std::size_t low = 0, high = kBins;
  for (std::uint64_t n = 0; low < kBins && (n += seen.counts[low]) <= cut;) ++low;
  for (std::uint64_t n = 0; high > low + 1 && (n += seen.counts[high - 1]) <= cut;) --high;
  return {seen.low + seen.width() * static_cast<double>(low),
          seen.low + seen.width() * static_cast<double>(high)};
}

double lowest(const Quantization& grid) { return from_grid(static_cast<std::int8_t>(grid.low()), grid); }
double highest(const Quantization& grid) { return from_grid(static_cast<std::int8_t>(grid.high()), grid); }

// Inside the range values lie anywhere between two steps: step^2 / 12 each, but zero is exact; outside it is
// the distance from the end that counts. Counting distances to the grid bin by bin would be wrong where bins
// are as wide as steps.
double squared_error(const Histogram& seen, Range range, std::int32_t bits) {
  const Quantization grid = grid_of(range, bits);
  const double low = lowest(grid), high = highest(grid), w = seen.width();
  double error = 0, inside = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    const auto n = static_cast<double>(seen.counts[b]);
    const double value = seen.centre(b), off = value < low ? low - value : value - high;
    if (value >= low && value <= high)
      inside += n;
    else
      error += n * (off * off + w * w / 12);
  }
  return error + std::max(0.0, inside - static_cast<double>(seen.zeros)) * grid.scale * grid.scale / 12;
}

// Kullback-Leibler divergence of the values' distribution P from what is left of it on the grid, Q: the mass
// of the values that share a grid point spreads evenly over the bins among them that hold any, and a clipped
// value is taken for one at the end of the range. Mass that P has beyond the range costs as in TensorRT's
// method (Migacz 2017): it is added to the outermost bins of P but not to those that Q is made of.
double divergence(const Histogram& seen, Range range, std::int32_t bits) {
  const Quantization grid = grid_of(range, bits);
  const double low = lowest(grid) - grid.scale / 2, high = highest(grid) + grid.scale / 2;
  std::size_t first = kBins, last = 0;
  std::array<double, 256> mass{}, bins{};
  double below = 0, above = 0, inside = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    const auto n = static_cast<double>(seen.counts[b]);
    const double value = seen.centre(b);
    if (value < low || value > high) {
      (value < low ? below : above) += n;
      continue;
    }
    first = std::min(first, b);
    last = b;
    if (n == 0) continue;
    const auto level = static_cast<std::size_t>(to_grid(value, grid) + 128);
    mass[level] += n;
    bins[level] += 1;
    inside += n;
  }
  if (inside == 0) return std::numeric_limits<double>::infinity();
  const double total = inside + below + above;
  double sum = 0;
  for (std::size_t b = first; b <= last; ++b) {
    const auto level = static_cast<std::size_t>(to_grid(seen.centre(b), grid) + 128);
    const auto n = static_cast<double>(seen.counts[b]);
    const double p = (n + (b == first ? below : 0) + (b == last ? above : 0)) / total;
    if (p == 0) continue;
    // An outermost bin that only clipped values fill has no mass in Q; one value's worth keeps it finite.
    const double q = std::max(n > 0 ? mass[level] / bins[level] : 0.0, 1.0) / inside;
    sum += p * std::log(p / q);
  }
  return sum;
}

// Shrinks the two ends while the cost falls.
template <class Cost>
Range least(const Histogram& seen, std::int32_t bits, Cost cost) {
  Range best{seen.low, seen.high};
  double best_cost = cost(seen, best, bits);
  constexpr std::array<double, 12> kShrink{1, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1};
  for (const double s : kShrink)
    for (const double t : kShrink) {
      if ((seen.low >= 0 && s < 1) || (seen.high <= 0 && t < 1)) continue;  // zero is covered anyway
      const Range tried{seen.low * s, seen.high * t};
      if (const double found = cost(seen, tried, bits); found < best_cost) {
        best_cost = found;
        best = tried;
      }
    }
  return best;
}

}  // namespace

std::string_view to_string(Calibration calibration) { return kNames[static_cast<std::size_t>(calibration)]; }

Calibration calibration_named(std::string_view name) {
  for (std::size_t m = 0; m < kRangeMethods; ++m)
    if (kNames[m] == name) return static_cast<Calibration>(m);
  return Calibration::automatic;
}

void Histogram::add_range(std::span<const float> values) {
  for (const float v : values) {
    low = std::min(low, v);
    high = std::max(high, v);
    if (std::isnan(v)) low = high = v;
  }
}

void Histogram::add_counts(std::span<const float> values) {
  counts.resize(kBins);
  const double w = width();
  for (const float v : values) {
    const double bin = w > 0 ? (v - low) / w : 0;
    zeros += v == 0 ? 1 : 0;
    ++counts[std::min(static_cast<std::size_t>(bin), kBins - 1)];
  }
}

Range choose_range(const Histogram& seen, Calibration how, std::int32_t bits) {
  switch (how) {
    case Calibration::percentile:
      return by_percentile(seen);
    case Calibration::mse:
      return least(seen, bits, squared_error);
    case Calibration::kl:
      return least(seen, bits, divergence);
    default:
      return {seen.low, seen.high};
  }
}

Quantization grid_of(Range range, std::int32_t bits) {
  const double low = std::min(0.0, range.low), high = std::max(0.0, range.high);
  Quantization grid{1.0 / 255, 0, bits};
  if (high - low < 1e-12) return grid;
  const double first = grid.low(), last = grid.high();
  // The scale is a float wherever it is stored; rounding it first keeps all forms on one grid.
  grid.scale = static_cast<float>((high - low) / (last - first));
  grid.zero = static_cast<std::int32_t>(std::clamp(std::round(first - low / grid.scale), first, last));
  return grid;
}

std::int8_t to_grid(double value, const Quantization& grid) {
  return static_cast<std::int8_t>(
      std::clamp<double>(std::rint(value / grid.scale) + grid.zero, grid.low(), grid.high()));
}

double from_grid(std::int8_t q, const Quantization& grid) { return grid.scale * (q - grid.zero); }

}  // namespace nas::supernet
