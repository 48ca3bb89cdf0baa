#pragma once
#include <span>
#include <vector>

#include "supernet/prune/prune.h"
#include "supernet/quantize/budget.h"

namespace nas::supernet {

// The ratios that are tried for every group.
inline constexpr double kPruneRatios[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8};

// How far the network's output moves (relative_error on the images) when one group alone is pruned to a
// ratio, its best channels by `scores` kept and means compensated.
struct PruneSensitivity {
  std::vector<std::vector<std::int32_t>> kept;  // per group and ratio: channels that stay
  std::vector<std::vector<double>> error;       // likewise
};
Result<PruneSensitivity> prune_sensitivity(const TrainedNetwork& trained,
                                           const std::vector<ChannelGroup>& groups,
                                           const std::vector<std::vector<double>>& scores,
                                           const std::vector<ChannelStatistics>& statistics,
                                           std::span<const std::vector<float>> images, std::int32_t multiple);

// Channels that stay per group so that the summed errors are least and the whole network costs at most
// `limit`. A group's saving is taken alone and the whole is then costed; where groups overlap the limit is
// tightened until the whole holds it. Fails (infeasible) with what the narrowest network costs.
Result<std::vector<std::int32_t>> kept_within(const Network& network, const std::vector<ChannelGroup>& groups,
                                              const PruneSensitivity& sensitivity, const NetworkCost& cost,
                                              double limit);

}  // namespace nas::supernet
