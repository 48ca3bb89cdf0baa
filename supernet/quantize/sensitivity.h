#pragma once
#include <span>
#include <vector>

#include "supernet/quantize/quantize.h"

namespace nas::supernet {

// How much the rounding of one operation (its weights and the tensor it writes) costs, as relative errors of
// the network's output (relative_error).
struct Sensitivity {
  double alone = 0;    // only this operation is rounded
  double without = 0;  // all but this one are
};

// Per operation, with the integer network's own grids and weights. `folded`: the float network it was made of
// (QuantizeReport::folded).
std::vector<Sensitivity> sensitivity(const FoldedNetwork& folded, const QuantizedNetwork& quantized,
                                     std::span<const std::vector<float>> images);

// A relative error as a signal-to-noise ratio in decibels; 200 for none.
double decibels(double relative_error);

}  // namespace nas::supernet
