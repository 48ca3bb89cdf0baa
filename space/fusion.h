#pragma once
#include <cstdint>
#include <vector>

#include "space/kernel.h"
#include "space/network.h"

namespace nas {

// Which layer executes which, for one network under one engine's rules. Reusable: fuse() keeps the memory.
struct Fusion {
  // For every layer the anchor that executes it: itself, or an earlier layer it is fused into.
  std::vector<std::int32_t> anchor;
  // For every anchor, the residual (a layer index) that a fused add brings in; -1 elsewhere.
  std::vector<std::int32_t> residual;
  std::vector<std::int32_t> readers;  // how many layers read each layer's output
  std::vector<std::uint8_t> phase;    // of an anchor: how far its epilogue has come
};

// A layer is fused into the kernel that ends in its input when nothing else reads that input and the kernel's
// epilogue has room: batch norm, then add, then activation. Linear in the number of layers.
void fuse(const Network& network, const FusionRules& rules, Fusion& fusion);

}  // namespace nas
