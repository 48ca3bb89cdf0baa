#pragma once
#include <string>
#include <vector>

#include "latency/table.h"

namespace nas::latency {

// What is known of a network before it runs as a whole.
struct SumFeatures {
  double sum = 0;      // of its kernels, by the table
  double kernels = 0;  // how many
};

// From the sum of a network's kernels to the time of the whole: the plain sum, a factor, a factor and a
// constant, or these and a cost per kernel, whichever predicts best left out (10-fold), with a
// split-conformal 90 % interval from the same left-out errors.
struct Calibration {
  std::string form = "sum";  // sum, factor, affine, affine+kernels
  double factor = 1, constant = 0, per_kernel = 0;
  double spread = 0;  // 90 % of networks lie within value / (1 + spread) .. value * (1 + spread)
  std::size_t networks = 0;
  struct Candidate {
    std::string form;
    double mape = 0;  // percent, left out
  };
  std::vector<Candidate> evidence;

  double operator()(const SumFeatures& f) const { return constant + factor * f.sum + per_kernel * f.kernels; }
};

// Fits to measured whole networks. Fails (usage) on fewer than 5, unequal sizes, or times not positive.
Result<Calibration> fit_calibration(std::span<const SumFeatures> sums, std::span<const double> measured);

// As JSON text and back; the reader checks every field.
std::string to_json(const Calibration& calibration);
Result<Calibration> parse_calibration(const std::string& text, const std::string& where);

}  // namespace nas::latency
