#pragma once
#include "search/peak.h"
#include "space/memory.h"

namespace nas::search {

// The bytes alive in every block of a network, whose largest is its peak memory. A block is a place; what
// lies outside the blocks (stem, head) is one by its role.
PeakParts memory_parts(const SearchSpace& space, const MemoryOptions& options);

}  // namespace nas::search
