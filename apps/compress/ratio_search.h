#pragma once
#include <functional>
#include <string>
#include <vector>

#include "supernet/prune/sensitivity.h"

namespace nas::apps {

// A solution known beforehand.
struct RatioStart {
  std::string name;
  std::vector<std::int32_t> kept;  // per group
};

// Pruning ratios by the ageing evolution of `hwnas search` (AMC's job): a gene a group with the channel
// counts that `sensitivity` tried and those of the starts, the loss of the pruned network without training to
// be least, the cost below the limit. The first generation is the starts and their mutants; the best of all
// that was measured comes back. `evaluations`: losses measured; what breaks the limit is not.
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
                                  const std::vector<RatioStart>& starts, const LossOf& loss,
                                  std::size_t evaluations, std::uint64_t seed);

}  // namespace nas::apps
