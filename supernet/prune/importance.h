#pragma once
#include <string_view>
#include <vector>

#include "supernet/prune/prune.h"

namespace nas::supernet {

// How much a channel matters; 0 exactly where it can go without changing the function (prune_channels() with
// statistics) or, for APoZ and the gradients, without changing it on the images that were looked at.
enum class Importance : std::uint8_t {
  l1,          // product of the L1 norms of the channel's filters on its way: producer, depthwise, consumers
  batch_norm,  // product of |scale| of its batch norms (Liu et al., ICCV 2017, for one)
  apoz,        // share of its values that are not zero (1 - APoZ, Hu et al. 2016)
  taylor,      // |d loss / d gate| of a gate on what its consumers read (Molchanov et al., ICLR 2017)
  second,      // half the second derivative for that gate (optimal brain damage), by Gauss-Newton
};
std::string_view to_string(Importance importance);
// Fails (usage) on a name that is none of theirs.
Result<Importance> importance_named(std::string_view name);

// Scores per group and channel. l1 and batch_norm need the network alone, apoz its statistics.
std::vector<std::vector<double>> weight_importance(const TrainedNetwork& trained,
                                                   const std::vector<ChannelGroup>& groups, Importance how);
std::vector<std::vector<double>> apoz_importance(const std::vector<ChannelStatistics>& statistics);

// Both scores that need gradients, of the folded network (fold(trained)) on labelled images. The second one
// takes the 16 most probable classes of each image. Needs LibTorch; the same for any thread count.
struct GradientScores {
  std::vector<std::vector<double>> taylor, second;  // per group and channel
};
Result<GradientScores> gradient_importance(const TrainedNetwork& trained,
                                           const std::vector<ChannelGroup>& groups,
                                           std::span<const std::vector<float>> images,
                                           std::span<const std::int64_t> labels);

}  // namespace nas::supernet
