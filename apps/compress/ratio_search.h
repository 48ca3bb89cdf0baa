#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// Channels that stay, per group.
using ChannelCounts = std::vector<std::int32_t>;
using CountsTo = std::function<Result<double>(const ChannelCounts&)>;

struct RatioProblem {
  std::vector<ChannelCounts> choices;                 // per group, ascending
  CountsTo cost;                                      // grows with every group
  double limit = 0;                                   // of the cost
  CountsTo loss;                                      // to be least; expensive
  std::function<double(const ChannelCounts&)> guess;  // of the loss, up to a monotone map; cheap
  std::vector<ChannelCounts> starts;                  // solutions known beforehand, within the limit
};

// Pruning ratios by evolution on the limit itself (AMC's job). A child exchanges channels: one group of its
// parent grows, another pays for it; or it takes every group from one of two parents. Then groups shrink in
// random order until the limit holds and grow in that order until no group can. So every loss measured is one
// of a network that uses what it may cost. Of a few such children that were not seen before the one with the
// best guess is measured (where the parents have none left: one from anywhere on the limit). Parents are the
// best so far, at first the starts, as they are and grown.
struct RatioSearch {
  ChannelCounts kept;
  double loss = 0;
  std::vector<double> start_loss;  // of each of the starts as they are
  std::size_t evaluations = 0;     // losses measured; fewer than asked for where nothing new is found
};
Result<RatioSearch> search_ratios(const RatioProblem& problem, std::size_t evaluations, std::uint64_t seed);

}  // namespace nas::apps
