#pragma once
#include <functional>
#include <string>
#include <vector>

#include "supernet/prune/sensitivity.h"

namespace nas::apps {

// Pruning ratios by the strategies of `hwnas search` (AMC's job): a gene a group with the channel counts that
// `sensitivity` tried, the loss of the pruned network as it is, without training, to be least, the cost below
// the limit. `starts`: solutions known beforehand; the best of all that was measured comes back.
struct RatioSearch {
  std::vector<std::int32_t> kept;  // per group
  double loss = 0;
  std::vector<double> start_loss;  // of each of the starts
  std::size_t evaluations = 0;
};
using LossOf = std::function<Result<double>(const std::vector<std::int32_t>& kept)>;
Result<RatioSearch> search_ratios(const Network& network, const std::vector<supernet::ChannelGroup>& groups,
                                  const supernet::PruneSensitivity& sensitivity,
                                  const supernet::NetworkCost& cost, double limit,
                                  const std::vector<std::vector<std::int32_t>>& starts, const LossOf& loss,
                                  std::size_t evaluations, std::uint64_t seed);

}  // namespace nas::apps
