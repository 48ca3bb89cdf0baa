#pragma once
#include <array>
#include <string>
#include <vector>

#include "space/kernel.h"

namespace nas::latency {

// The kinds of kernels that cost differently per unit of work: "conv", "pointwise conv", "depthwise conv",
// "linear", or the layer's own kind ("add", "avg_pool"), and those with fewer than 8 bits ("pointwise conv,
// 4-bit weights"): they are unpacked first.
std::string kernel_kind(const Kernel& kernel);

// MACs, elements in and out, and 1: what costs are counted by.
std::array<double, 3> kernel_work(const Kernel& kernel);

// nn-Meter's features (picture, channels in and out, window, stride, operations, parameters), as logarithms,
// and beside them the output's picture, hidden width, MACs an element (what decides between arithmetic and
// memory), how many channel counts are multiples of 4 and 8, and fused steps.
std::vector<double> kernel_features(const Kernel& kernel);

}  // namespace nas::latency
