#pragma once
#include <cstdint>
#include <vector>

#include "space/base/units.h"
#include "space/memory.h"

namespace nas {

// What lies where: one block per tensor (and one per scratch), with the steps during which it must stay.
struct ArenaBlock {
  std::int64_t offset = 0;  // bytes from the arena's start, a multiple of the alignment
  std::int64_t size = 0;
  Lifetime life;
};

struct ArenaPlan {
  std::vector<ArenaBlock> tensors;  // of step i's output; size 0: never stored
  std::vector<ArenaBlock> scratch;  // of step i; size 0: none
  Bytes size;                       // bytes to reserve
  Bytes bound;                      // the liveness peak: no plan can be smaller
};

struct ArenaLimits {
  int tries = 400;  // placements tried after the fixed orderings; stops early at the bound
};

// Places every block so that two blocks alive at the same step overlap only where the step between them
// allows it (MemoryStep::shared). Several orderings, lowest fit, then a bounded search that moves the blocks
// that make the arena high to the front. Offsets are multiples of options.alignment as sizes are.
// Deterministic.
ArenaPlan plan_arena(const MemoryProgram& program, const ArenaLimits& limits = {});

}  // namespace nas
