#pragma once
#include <span>
#include <vector>

#include "supernet/quantize/simulation.h"

namespace nas::supernet {

// Bias correction (Nagel et al., ICCV 2019), measured: operation after operation, with all before it already
// rounded and corrected, the mean of every output channel over the images is brought back to what it is in
// the float network. `rounded` has the integer weights' real values and gets the new biases; `means` are
// Observation::means. Returns per op and channel what was added, empty where an op has no weights.
std::vector<std::vector<float>> correct_biases(FloatExecutor& rounded, const Grids& grids,
                                               const std::vector<std::vector<double>>& means,
                                               std::span<const std::vector<float>> images);

}  // namespace nas::supernet
