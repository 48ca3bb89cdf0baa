#pragma once
#include <cstdint>
#include <vector>

#include "space/memory.h"

namespace nas {

struct OrderLimits {
  // Sets of executed steps kept per number of executed steps. While no level needs more the order is proven
  // best; beyond it the most promising ones are kept (a beam).
  std::size_t states = std::size_t{1} << 14;
};

struct MemoryOrder {
  std::vector<std::int32_t> steps;  // step indices of the program in execution order
  Bytes peak;
  bool exact = false;  // no order has a lower peak
};

// The execution order with the lowest peak. Steps that every other step precedes or follows cut the program
// into segments that are solved one by one; inside a segment a dynamic programme runs over the sets of
// executed steps (Liberis and Lane 2019 walk the same sets backwards). Ties keep the given order.
// Deterministic.
MemoryOrder best_order(const MemoryProgram& program, const OrderLimits& limits = {});

// The program with its steps in `order` (a permutation in which inputs precede their readers and the result
// stays last).
MemoryProgram reordered(const MemoryProgram& program, const std::vector<std::int32_t>& order);

}  // namespace nas
