#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nas::learn {

// Row indices of the three parts, each in the split's own random order.
struct Split {
  std::vector<std::size_t> train;
  std::vector<std::size_t> validation;
  std::vector<std::size_t> test;
};

constexpr std::uint64_t kReferenceSplitSeed = 2024;

// The split of the shared latency files, the same in any language: row i has the key
// splitmix64(seed * 1000003 + i); rows sorted by (key, i); the first floor(train * n) train, the next
// floor(0.1 n) validate, the rest test.
Split split_rows(std::size_t rows, double train = 0.7, std::uint64_t seed = kReferenceSplitSeed);

// Fold of each of `rows` rows, 0 to folds - 1, sizes equal to within one, drawn from (seed, "folds").
std::vector<std::size_t> fold_of_rows(std::size_t rows, std::size_t folds, std::uint64_t seed);

}  // namespace nas::learn
