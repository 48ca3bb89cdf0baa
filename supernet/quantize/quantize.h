#pragma once
#include <span>
#include <string>

#include "space/quantized_network.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {

// How the range of a tensor is chosen from what calibration images show.
enum class Calibration : std::uint8_t {
  min_max,     // everything seen
  percentile,  // 0.01 % cut off in all
  mse,         // the range with the least mean squared rounding and clipping error (histogram of 2048 bins)
};

struct QuantizeOptions {
  Calibration calibration = Calibration::mse;
};

// Post-training int8: weights symmetric per output channel, activations affine per tensor, biases int32
// (formulas: docs/export.md). `images`: calibration images, each H x W x C of the input, at least one.
// Deterministic for any thread count. Fails on no images, images of a wrong size, or values that are not
// finite.
Result<QuantizedNetwork> quantize(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                                  const QuantizeOptions& options = {});

// Real values to the grid, rounded half to even and clamped, and back.
std::int8_t to_grid(double value, const Quantization& grid);
double from_grid(std::int8_t q, const Quantization& grid);

}  // namespace nas::supernet
