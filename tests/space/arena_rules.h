#pragma once
#include <gtest/gtest.h>

#include <vector>

#include "space/arena.h"

namespace nas {

// Offsets are checked pair by pair against the rules as memory.h words them.
inline void expect_sound(const MemoryProgram& program, const ArenaPlan& plan) {
  struct Piece {
    ArenaBlock block;
    std::int32_t step;
    bool scratch;
  };
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const auto step = static_cast<std::int32_t>(i);
    ASSERT_EQ(plan.tensors[i].size, program.steps[i].output);
    ASSERT_EQ(plan.scratch[i].size, program.steps[i].scratch);
    if (plan.tensors[i].size > 0) pieces.push_back({plan.tensors[i], step, false});
    if (plan.scratch[i].size > 0) pieces.push_back({plan.scratch[i], step, true});
  }
  for (const Piece& a : pieces) {
    ASSERT_GE(a.block.offset, 0);
    ASSERT_LE(a.block.offset + a.block.size, plan.size.count());
    for (const Piece& b : pieces) {
      if (&a == &b || a.block.life.last < b.block.life.first || b.block.life.last < a.block.life.first)
        continue;
      const bool apart =
          a.block.offset + a.block.size <= b.block.offset || b.block.offset + b.block.size <= a.block.offset;
      if (apart) continue;
      const bool a_is_input = a.block.life.last == b.block.life.first && a.step < b.step;
      const Piece &in = a_is_input ? a : b, &out = a_is_input ? b : a;
      ASSERT_FALSE(in.scratch || out.scratch);
      ASSERT_EQ(in.block.life.last, out.block.life.first);
      const MemoryStep& s = program.steps[static_cast<std::size_t>(out.step)];
      bool allowed = false;
      for (std::size_t k = 0; k < 2; ++k)
        if (s.inputs[k] == in.step && s.shared[k] > 0)
          allowed |= s.lead[k] == kAnywhere ||
                     (s.lead[k] == kSameStart && in.block.offset == out.block.offset) ||
                     (s.lead[k] >= 0 && in.block.offset - out.block.offset >= s.lead[k]) ||
                     (s.lead[k] >= 0 && out.block.offset - in.block.offset >= s.lag);
      ASSERT_TRUE(allowed) << "steps " << in.step << " and " << out.step;
    }
  }
}

}  // namespace nas
