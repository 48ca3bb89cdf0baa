#pragma once
#include <array>
#include <string>
#include <vector>

#include "supernet/data/store.h"

namespace nas::data {

enum class Split : std::uint8_t {
  train,
  recalibration,  // batch-norm statistics of a sub-network are taken here
  validation,     // the search scores sub-networks here
  test,           // read once, at the end
};
inline constexpr std::array<Split, 4> kSplits = {Split::train, Split::recalibration, Split::validation,
                                                 Split::test};
std::string to_string(Split split);

// Shares of each class, in 0..0.9, their sum at most 0.9; the rest trains.
struct SplitOptions {
  std::uint64_t seed = 1;
  double recalibration = 0.04;
  double validation = 0.1;
  double test = 0.15;
};

// Four disjoint lists of picture numbers, each in rising order.
struct Splits {
  std::array<std::vector<std::uint32_t>, 4> indices;
  std::string fingerprint;  // of the pictures' contents and their places, stored with every result
  const std::vector<std::uint32_t>& operator[](Split split) const {
    return indices[static_cast<std::size_t>(split)];
  }
};

// Splits every class by a key of (seed, content), so that the outcome depends neither on file names nor on
// order, and equal pictures of a class stay together. Given parts are respected: test/ is the test set; val/
// is the validation set, or the test set where there is no test/; only what is missing is taken out of the
// training pictures. Fails when a class has too few pictures to appear in train, validation and test.
Result<Splits> split_store(const Store& store, const SplitOptions& options = {});

// Equal pictures in different splits, or with different labels.
struct Duplicate {
  std::uint32_t first;
  std::uint32_t second;
};
std::vector<Duplicate> find_duplicates(const Store& store, const Splits& splits);

// Mean and standard deviation of each channel in 0..1, over the given pictures; exact sums, so the same for
// any thread count. `indices` is not empty.
struct ChannelStatistics {
  std::array<double, 3> mean;
  std::array<double, 3> deviation;
};
ChannelStatistics channel_statistics(const Store& store, const std::vector<std::uint32_t>& indices);

}  // namespace nas::data
