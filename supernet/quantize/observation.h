#pragma once
#include <span>
#include <vector>

#include "space/base/result.h"
#include "supernet/quantize/calibration.h"
#include "supernet/quantize/float_executor.h"

namespace nas::supernet {

// What calibration images show of a network in floating point.
struct Observation {
  std::vector<Histogram> tensors;           // per tensor of the deployment
  std::vector<Histogram> before;            // per op: its result before the activation
  std::vector<std::vector<double>> means;   // per op and channel: mean of its result before the activation
  std::vector<std::vector<float>> largest;  // per tensor and channel: largest absolute value
};

// Deterministic for any thread count. Fails on no images, images of a wrong size and values that are not
// finite.
Result<Observation> observe(const FloatExecutor& executor, std::span<const std::vector<float>> images);

}  // namespace nas::supernet
