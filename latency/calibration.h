#pragma once
#include <optional>
#include <string>
#include <vector>

#include "latency/table.h"
#include "space/learn/mlp.h"
#include "space/learn/trees.h"

namespace nas::latency {

// What is known of a network before it runs as a whole.
struct SumFeatures {
  double sum = 0;                  // of its kernels, by the table
  double kernels = 0;              // how many
  std::vector<double> shape = {};  // what trees and networks see beside them; as long in all of one fit
};

// `shape`: the shares of the sum that pointwise, depthwise and other convolutions, linear layers and the rest
// have, and the logarithms of MACs and of elements moved a kernel.
SumFeatures sum_features(const Network& network, const TableEstimate& estimate);

// From the sum of a network's kernels to the time of the whole, up a ladder: the plain sum (the table),
// linear forms (a factor, a factor and a constant, these and a cost per kernel), boosted trees, and a small
// ensemble of networks; trees and networks correct what the factor leaves. The one that predicts best left
// out (10-fold; a richer one must be better by a twentieth), with a split-conformal 90 % interval from the
// same left-out errors.
struct Calibration {
  std::string form = "sum";  // sum, factor, affine, affine+kernels, trees, mlp
  double factor = 1, constant = 0, per_kernel = 0;
  std::optional<learn::Trees> trees = {};  // of log(time / (factor x sum))
  std::optional<learn::Mlp> mlp = {};      // likewise
  double spread = 0;  // 90 % of networks lie within value / (1 + spread) .. value * (1 + spread)
  std::size_t networks = 0;
  struct Candidate {
    std::string form;
    double mape = 0;  // percent, left out
  };
  std::vector<Candidate> evidence = {};

  double operator()(const SumFeatures& f) const;
};

// Fits to measured whole networks. Fails (usage) on fewer than 5, unequal sizes, or times not positive. Trees
// and networks are tried from 20 networks on, where shapes are given.
Result<Calibration> fit_calibration(std::span<const SumFeatures> sums, std::span<const double> measured);

// As a model file (space/learn/model_file.h: versioned, checksummed) and back; the reader checks every field.
std::string save_calibration(const Calibration& calibration);
Result<Calibration> load_calibration(const std::string& text, const std::string& where);

}  // namespace nas::latency
