#pragma once
#include <cstdint>
#include <vector>

#include "devices/codegen/patches.h"
#include "space/memory.h"

namespace nas::devices::codegen {

// What generated code keeps in memory at each step, for plan_arena().
struct Layout {
  MemoryProgram program;
  std::vector<std::int32_t> tensors;  // the step that makes a tensor; -1: it exists in windows only
  std::vector<std::int32_t> ops;      // the step of an operation
  std::vector<std::int32_t> windows;  // the step that makes a window's tensor; empty without patches
};

// `scratch`: bytes that every operation needs while it runs. With `patches` the picture and the whole result
// of the stage stay beside the tensors of one window.
Layout layout_of(const Deployment& deployment, const std::vector<std::int64_t>& scratch,
                 const PatchGeometry* patches);

}  // namespace nas::devices::codegen
