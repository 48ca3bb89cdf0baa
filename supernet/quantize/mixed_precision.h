#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "supernet/quantize/budget.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {

// How far the network's output moves (relative_error on the images) when the weights of one layer alone are
// rounded to so many bits, everything else in floating point.
struct BitSensitivity {
  std::vector<std::int32_t> layers;        // those with integer weights, in order
  std::vector<std::int32_t> bits;          // tried, largest first
  std::vector<std::vector<double>> error;  // per layer and bits
};
BitSensitivity bit_sensitivity(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                               std::vector<std::int32_t> bits = {8, 4, 2});

// A limit on what a network costs; `what` and `unit` are for messages.
struct CostLimit {
  std::string what, unit;
  NetworkCost cost;
  double limit;
};

// The network with every weighted layer at the bits that make the sum of the errors least while the whole
// network holds the limits (one or more). What a layer's bits cost is taken alone, then the whole is costed.
// One limit: a knapsack (least_error), exact where costs add up. Several: the first one so, the others by one
// Lagrange multiplier on their excess, which finds what lies on the convex hull. Fails (infeasible) with the
// least that a limit's cost can be, and as the costs do, naming the layer and bits that they do not know.
Result<Network> mixed_precision(Network network, const BitSensitivity& sensitivity,
                                std::span<const CostLimit> limits);

// The bits of every layer with integer weights, or of the layers named ("stage2.block1.expand", a stage's or
// block's prefix such as "stage2"). Fails (usage) on bits that no engine has a kernel for and on a name that
// no layer has.
Result<Network> with_weight_bits(Network network, std::int32_t bits, const std::string& name = {});
Result<Network> with_activation_bits(Network network, std::int32_t bits);

}  // namespace nas::supernet
