#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "latency/encode_columns.h"
#include "space/base/result.h"

namespace nas::latency {

// One rung of the ladder table -> linear -> trees -> MLP, with what it reached on rows it had not seen.
struct Rung {
  std::string name;
  double mape = 0;    // percent, on held-out rows of the training part
  double weight = 0;  // its share in the chosen mixture
};

struct LadderResult {
  std::vector<Rung> rungs;
  std::string model;              // "table 0.6 + trees 0.4"
  std::vector<double> predicted;  // of the queried rows
  std::vector<double> low;        // 90 % interval of each
  std::vector<double> high;
};

// Fits every rung on `train`, weighs them on rows they were not fitted on (`held_out`, or five folds of the
// training rows where those are few) and predicts `query`. Nothing of the queried rows' targets is read.
// The interval is conformal on truth / prediction, so it follows the size of the prediction: over the
// held-out rows and, where these are few, training rows predicted by fits without their fold.
Result<LadderResult> fit_ladder(const Encoded& data, std::span<const double> target,
                                std::span<const std::size_t> train, std::span<const std::size_t> held_out,
                                std::span<const std::size_t> query, std::uint64_t seed);

}  // namespace nas::latency
