#pragma once
#include <span>
#include <vector>

#include "supernet/ranks.h"
#include "supernet/supernet.h"

namespace nas::supernet {

// How often a network is right, on which images; top-1 with its 95 % Wilson interval.
struct Score {
  double top1 = 0, top5 = 0;
  double loss = 0;  // mean cross entropy
  std::int64_t images = 0;
  double top1_low = 0, top1_high = 0;
};

// The Wilson score interval of `successes` out of `trials` at z standard deviations.
std::pair<double, double> wilson_interval(std::int64_t successes, std::int64_t trials, double z = 1.959964);

// Scores sub-networks with inherited weights: batch-norm statistics of each are taken anew on the
// recalibration batches (pooled over batches by the law of total variance; each batch normalises with its
// own), then frozen for the scoring batches. Nothing is written to the supernet. Batches are built once and
// shared by all candidates of a resolution; the result does not depend on what is evaluated together or on
// threads. Ranks, where given, share the batches: all must call it alike, and all get the scores.
Result<std::vector<Score>> evaluate(const Supernet& supernet, std::span<const Network> networks,
                                    const BatchList& recalibration, const BatchList& scoring,
                                    Ranks* ranks = nullptr);

// The sub-network as a network of its own: sliced and transformed weights, recalibrated statistics.
Result<TrainedNetwork> extract(const Supernet& supernet, const Network& network,
                               const BatchList& recalibration, const Provenance& provenance);

// Scores a stand-alone network with its own statistics.
Result<Score> evaluate(const TrainedNetwork& trained, const BatchList& scoring);
// Its logits, row after row.
Result<std::vector<float>> logits(const TrainedNetwork& trained, std::span<const float> pixels);

}  // namespace nas::supernet
