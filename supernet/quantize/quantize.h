#pragma once
#include <span>
#include <string>

#include "space/quantized_network.h"
#include "supernet/quantize/folding.h"
#include "supernet/quantize/grid_search.h"

namespace nas::supernet {

struct QuantizeOptions {
  Calibration calibration = Calibration::automatic;
  // Tried, and kept where they bring the outputs for the calibration images nearer to the float network's.
  bool equalise = true;
  bool correct_bias = true;
  std::size_t search_images = 32;  // `automatic` measures with the first so many
};

// What was done, and how near the outputs for the calibration images came.
struct QuantizeReport {
  GridMethods methods;
  std::size_t equalised = 0;  // tensors; 0: equalisation was not kept
  bool bias_corrected = false;
  double error = 0;      // relative_error of the outputs
  FoldedNetwork folded;  // the float network that was rounded: equalised, biases corrected
};

// Post-training int8: weights symmetric per output channel, activations affine per tensor, biases int32
// (formulas: docs/export.md), each of the bits that the deployment says. `images`: calibration images, each H
// x W x C of the input, at least one. Deterministic for any thread count. Fails on no images, images of a
// wrong size, or values that are not finite.
Result<QuantizedNetwork> quantize(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                                  const QuantizeOptions& options = {}, QuantizeReport* report = nullptr);

// Integer forms have weights of 8, 4 or 2 bits and activations of 8 or 4; fails (usage) naming the operation
// that asks for others.
Result<void> check_bits(const Deployment& deployment);

// Model formats whose int8 tensors use all 256 values: fails (usage) on a result of fewer bits.
Result<void> check_eight_bit_results(const Deployment& deployment, const char* format);

// Integer weights of one operation and their real values. `scales`: per output channel, or empty for
// max|w| over the largest code, 127 for 8 bits.
QuantizedWeights quantize_weights(const DeployedOp& op, const FoldedWeights& from, double input_scale,
                                  const std::vector<double>& scales = {});
FoldedWeights real_values(const DeployedOp& op, const QuantizedWeights& weights, double input_scale);

// Grids and float weights as an integer network. Every grid must be there.
QuantizedNetwork assemble(const FoldedNetwork& folded, const Grids& grids);

}  // namespace nas::supernet
