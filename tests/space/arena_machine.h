#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/arena.h"
#include "space/memory.h"
#include "space/network.h"
#include "tests/space/arena_tokens.h"

// An independent check of memory models and plans: networks run inside an array of cells, one per byte, at
// the offsets of a plan. Values are tokens (one 32-bit number for an element of 8 bits) that depend on every
// element a layer reads, so that a byte overwritten too early, or a buffer too small, shows as a wrong value.
namespace nas::oracle {

// The part of a layer's output that a patch computes; the whole network: everything.
struct Part {
  std::int32_t top = 0;
  std::int32_t left = 0;
  Shape whole;
};

std::vector<Part> whole_parts(const Network& network);

struct Run {
  std::string problem;    // empty: every step's output was right when it was written
  std::int64_t peak = 0;  // most cells that held a live tensor or scratch during one step
  Tokens result;
};

// Which way windows walk over rows.
enum class Walk : std::uint8_t { as_planned, up, down };

// Runs `network` (a patch's: shapes and `parts` of the patch) as `program` lists the steps, in the arena of
// `plan`. `expected` is the reference of the whole network. A last step of size 0 writes outside the arena.
Run run(const Network& network, const std::vector<Part>& parts, const MemoryOptions& options,
        const MemoryProgram& program, const ArenaPlan& plan, const std::vector<Tokens>& expected,
        Walk walk = Walk::as_planned);

}  // namespace nas::oracle
