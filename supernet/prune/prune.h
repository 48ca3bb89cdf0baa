#pragma once
#include <span>
#include <vector>

#include "supernet/prune/channel_groups.h"
#include "supernet/trained_network.h"

namespace nas::supernet {

// What the images show of the channels of a group where its consumers read them.
struct ChannelStatistics {
  std::vector<double> mean;      // per channel
  std::vector<double> non_zero;  // per channel: share of values that are not exactly 0
  std::vector<double> squeezed;  // mean where the group's squeeze-excite reads them; empty without one
};

// Per group, over all images and positions (H x W x C, as FloatExecutor takes them). Fails where fold() does.
Result<std::vector<ChannelStatistics>> channel_statistics(const TrainedNetwork& trained,
                                                          const std::vector<ChannelGroup>& groups,
                                                          std::span<const std::vector<float>> images);

// The network without the channels that are not kept: sliced weights, and what a consumer loses of a
// channel's mean goes into its bias or batch norm, so that a channel that is constant goes without a trace
// (except where a consumer's window hangs over the border, the padding of a depthwise convolution made it
// less constant, or a squeeze-excite scales it by what it sees in the image). `statistics`: of
// channel_statistics(); empty: nothing is compensated. Fails (usage) naming the layer on a group without
// channels; the provenance's note tells what was done.
Result<TrainedNetwork> prune_channels(const TrainedNetwork& trained, const std::vector<ChannelGroup>& groups,
                                      const KeptChannels& kept,
                                      const std::vector<ChannelStatistics>& statistics);

// The `count` channels with the highest scores, ascending; equal scores: the lower index stays.
std::vector<std::int32_t> best_channels(const std::vector<double>& scores, std::int32_t count);

// Channels that stay at a ratio in [0, 1), to the nearest; of groups of 16 and more the nearest multiple of
// `multiple` where that leaves any. May be 0, which narrowed() refuses with the layer's name.
std::int32_t kept_at(std::int32_t channels, double ratio, std::int32_t multiple);

}  // namespace nas::supernet
