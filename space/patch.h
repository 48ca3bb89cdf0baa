#pragma once
#include <cstdint>
#include <vector>

#include "space/base/result.h"
#include "space/base/units.h"
#include "space/memory.h"
#include "space/network.h"

namespace nas {

// Patch-based execution of the first layers (MCUNetV2, Lin et al. 2021): the output of layer `split` is made
// in grid x grid patches, each from its own receptive field; neighbouring fields overlap and are computed
// twice.
struct PatchPlan {
  std::int32_t split = 0;  // index of the last layer computed in patches
  std::int32_t grid = 1;   // patches per side; 1: whole layers
};

struct PatchOptions {
  MemoryOptions memory;
  // The patch's part of the image is fetched from outside (camera, flash). false: with memory.count_input the
  // whole image stays in the arena until the last patch is done.
  bool stream_input = true;
};

struct PatchCost {
  PatchPlan plan;
  Bytes peak;        // max of the two below
  Bytes patch_peak;  // largest patch alone + the whole buffer of the split's output
  Bytes rest_peak;   // the layers behind the split
  Macs macs;         // with the overlaps
  Macs plain_macs;   // of the network executed whole
};

// Layers at which a patch stage may end: everything before is made of windows and elementwise layers, and
// nothing behind reads any of it but the split's output.
std::vector<std::int32_t> patch_splits(const Network& network);

// Fails when the plan's split is not among patch_splits() or the grid is not in [1, side of the split's
// output].
Result<PatchCost> patch_cost(const Network& network, const PatchPlan& plan, const PatchOptions& options);

// The network of one patch: the layers up to the split with the shapes of the patch's receptive fields,
// clipped at the borders. `row`, `column` < grid. For reports and tests.
Network patch_network(const Network& network, const PatchPlan& plan, std::int32_t row, std::int32_t column);

// What the runtime does for one patch: its last step writes straight into the whole output of the split, a
// buffer of its own, and so takes no memory here.
MemoryProgram patch_program(const Network& patch, const MemoryOptions& options);

// The split with the lowest peak for a grid of patches; among equals the fewest MACs, then the earliest.
Result<PatchCost> lowest_patch_plan(const Network& network, std::int32_t grid, const PatchOptions& options);

struct PatchSearch {
  std::int32_t max_grid = 8;
  PatchOptions options;
};

// Fewest extra MACs under `ram`; among equals the lowest peak, then the earliest split and smallest grid.
// Whole execution (grid 1) competes too. Infeasible: the error names the lowest peak that any plan reaches.
Result<PatchCost> best_patch_plan(const Network& network, Bytes ram, const PatchSearch& search);

}  // namespace nas
