#pragma once
#include <cstdint>
#include <functional>

#include "supernet/batch.h"
#include "supernet/quantize/quantize.h"

namespace nas::supernet {

struct QuantizeAwareOptions {
  double epochs = 1;
  std::int64_t steps = 0;       // instead of epochs when positive
  double learning_rate = 0.03;  // of AdamW at the start, cosine to zero; in steps of the int8 grids
  double label_weight = 1;      // of the labels' cross entropy
  double teacher_weight = 1;    // of the float network's answers
  double label_smoothing = 0.1;
  int shards = 4;  // parts of a batch that run in parallel; the outcome depends on it, never on threads
  // Called after each step; false stops with an error.
  std::function<bool(std::int64_t step, std::int64_t steps, double loss)> on_step;
};

// Quantisation-aware fine-tuning: the network is trained as its integer code computes it, gradients pass
// straight through the roundings, weights, biases and the steps of all grids are learned (LSQ). `start` is
// the int8 network that quantize() made of `folded` (QuantizeReport::folded), whose float form also teaches.
// Same batches, same bytes for any thread count. Fails on batches of another resolution and when the loss is
// not finite.
Result<QuantizedNetwork> train_quantized(const FoldedNetwork& folded, const QuantizedNetwork& start,
                                         const BatchStream& batches,
                                         const QuantizeAwareOptions& options = {});

}  // namespace nas::supernet
