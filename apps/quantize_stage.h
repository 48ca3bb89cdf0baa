#pragma once
#include <functional>
#include <string>

#include "apps/train_job.h"
#include "supernet/quantize/codebook.h"
#include "supernet/quantize/quantize.h"
#include "supernet/trained_network.h"

namespace nas::apps {

// How an extracted network becomes an int8 one; options of `export` and `quantize-report`.
struct QuantizeStage {
  std::string calibration = "auto";  // auto, min_max, percentile, mse or kl
  std::int64_t calibration_images = 128;
  bool equalise = true, correct_bias = true;
  double finetune = 0;  // epochs of the float network before it is quantised
  double qat = 0;       // epochs of quantisation-aware training
};

struct Quantized {
  // The float network that the int8 one stands for; after quantisation-aware training the very values of its
  // integers.
  supernet::FoldedNetwork folded;
  QuantizedNetwork network;
  supernet::QuantizeReport report;
  std::int64_t steps = 0;  // of quantisation-aware training
};

// Shown while training: what is done, steps done and in all.
using StageProgress = std::function<void(const std::string& what, std::int64_t step, std::int64_t steps)>;
StageProgress shown_progress(bool quiet);  // on stderr, a line a stage

// Trains the network further on the run's training images at its own resolution, by the recipe "fine-tune"
// stretched to `epochs`; statistics are recalibrated. Needs LibTorch.
Result<supernet::TrainedNetwork> finetuned(const TrainConfig& config, const supernet::TrainedNetwork& start,
                                           double epochs, const StageProgress& progress);

// Calibration images evenly from the recalibration split, then quantize() and, where asked for,
// train_quantized().
Result<Quantized> quantized(const TrainConfig& config, const TrainJob& job,
                            const supernet::TrainedNetwork& trained, const QuantizeStage& stage,
                            const StageProgress& progress);

// Ternary weights whose scales are trained for the stage's `finetune` epochs (train_ternary()); `steps` gets
// how many that were.
Result<supernet::CodedNetwork> ternary_trained(const TrainConfig& config, const TrainJob& job,
                                               const supernet::TrainedNetwork& trained,
                                               const QuantizeStage& stage, const StageProgress& progress,
                                               std::int64_t& steps);

}  // namespace nas::apps
