#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "results/sqlite.h"
#include "space/base/result.h"

namespace nas::results {

// Raw samples as a small blob: format byte 1, count, then the difference of each sample from the one before
// it, all as LEB128 numbers (differences zigzag). Times of one kernel differ little: 2 to 3 bytes a sample.
Bytes8 pack_samples(std::span<const std::int64_t> samples);
Result<std::vector<std::int64_t>> unpack_samples(std::span<const std::uint8_t> bytes);

}  // namespace nas::results
