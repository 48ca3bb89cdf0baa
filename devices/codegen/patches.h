#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/codegen/kernel_spec.h"
#include "space/quantized_network.h"

namespace nas::devices::codegen {

// The first operations of a network run patch by patch (MCUNetV2, Lin et al. 2021): the output of operation
// `operations` - 1 is made in windows of equal size, each from its own part of the picture; neighbouring
// windows' fields overlap and are computed twice. 0 operations: whole layers.
struct PatchStage {
  std::size_t operations = 0;
  std::int32_t grid = 1;  // windows a side
};

// What of a tensor one window of the stage's result needs along one side: from `stride` * start - `before`
// on, `length` positions; outside of the picture they hold the tensor's zero point.
struct PatchSpan {
  std::int32_t stride = 0, before = 0, length = 0;  // length 0: nothing
};

struct PatchTensor {
  PatchSpan rows, columns;
  bool padded_reader = false;  // a window reads it: what lies outside of the picture counts
};

struct PatchOp {
  KernelSpec spec;                             // its kernel, on windows without padding
  PatchTensor input;                           // of input 0 as the kernel takes it
  bool in_place = false;                       // wishes to run over its input; keeps the input's size
  bool crops[2] = {};                          // its inputs hold more than it takes: cropped where they lie
  std::int32_t out_rows = 0, out_columns = 0;  // what the kernel writes
};

// Shapes of everything in a window. Windows start at multiples of the size, the last ones at the end.
struct PatchGeometry {
  PatchStage stage;
  std::int32_t rows = 0, columns = 0;  // of a window of the stage's result
  std::vector<PatchTensor> tensors;    // 0: the picture, to `operations`
  std::vector<PatchOp> ops;
  std::int64_t macs = 0, plain_macs = 0;  // of the stage: all windows, and whole
};

// Numbers of operations that can be a stage: convolutions and elementwise operations whose inner tensors
// nothing behind reads.
std::vector<std::size_t> patch_stages(const Deployment& deployment);

// Fails on a stage that is none of patch_stages(), and on a grid outside [1, side of its result].
Result<PatchGeometry> patch_geometry(const Deployment& deployment, const PatchStage& stage);

struct PatchCandidate {
  PatchStage stage;
  std::int64_t extra_macs = 0;  // computed twice where windows overlap
};
// Every stage with `grid` windows a side (0: with any number from 2 on), those with the fewest extra MACs
// first.
std::vector<PatchCandidate> patch_candidates(const Deployment& deployment, std::int32_t grid);

// Bytes of a tensor in a window as it lies in the arena.
std::int64_t window_bytes(const PatchGeometry& geometry, const Deployment& deployment, std::size_t tensor);

// Where the tensors of a window lie; `picture` and `whole`: the network's input and the stage's result.
struct PatchPlaces {
  std::vector<std::int64_t> tensors, scratch;  // of every tensor of the window and of every operation
  std::int64_t picture = 0, whole = 0;
};

// C text of `static void net_patches(int8_t *a)`, the whole stage, with the helpers it calls. Kernels are
// called net_op0, net_op1, …
std::string patch_text(const QuantizedNetwork& network, const PatchGeometry& geometry,
                       const PatchPlaces& places);

}  // namespace nas::devices::codegen
