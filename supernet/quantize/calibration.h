#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "space/quantized_network.h"

namespace nas::supernet {

// How the range of a tensor is chosen from what calibration images show.
enum class Calibration : std::uint8_t {
  min_max,     // everything seen
  percentile,  // 0.01 % cut off in all
  mse,         // the range with the least mean squared rounding and clipping error
  kl,         // the range whose int8 distribution has the least Kullback-Leibler divergence from the true one
  automatic,  // per tensor the one of these with the least error of the network's output
};
constexpr std::size_t kRangeMethods = 4;  // those before `automatic`

std::string_view to_string(Calibration calibration);
Calibration calibration_named(std::string_view name);  // `automatic` for a name that is none of theirs

struct Range {
  double low = 0;
  double high = 0;
};

// Values of one place in a network: extremes first, then counts between them in equal bins.
struct Histogram {
  static constexpr std::size_t kBins = 2048;

  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  std::vector<std::uint64_t> counts;  // kBins, or empty
  std::uint64_t zeros = 0;            // counted values that are exactly zero

  void add_range(std::span<const float> values);  // one that is not a number makes both extremes so
  void add_counts(std::span<const float> values);
  double width() const { return (static_cast<double>(high) - low) / kBins; }  // of a bin
  double centre(std::size_t bin) const { return low + width() * (static_cast<double>(bin) + 0.5); }
};

// `how` is not `automatic`. All but min_max need counts. `bits`: of the grid.
Range choose_range(const Histogram& seen, Calibration how, std::int32_t bits = 8);

// The grid of so many bits that covers a range and zero; its scale is a float's value.
Quantization grid_of(Range range, std::int32_t bits = 8);

// Real values to the grid, rounded half to even and clamped, and back.
std::int8_t to_grid(double value, const Quantization& grid);
double from_grid(std::int8_t q, const Quantization& grid);

}  // namespace nas::supernet
