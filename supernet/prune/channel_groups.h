#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"

namespace nas::supernet {

// Channels of a network that can go without touching anything else: one dense layer makes them, layers that
// treat every channel by itself carry them (batch norm, activation, depthwise convolution, squeeze-excite,
// pooling), and only dense layers read them. Middle channels of inverted residuals, inner ones of residual
// blocks and of plain chains are such; channels that an addition, a concatenation or the network's result
// ties to others are not.
struct ChannelGroup {
  std::int32_t producer = 0;            // index of the dense layer
  std::vector<std::int32_t> carriers;   // in order of execution
  std::vector<std::int32_t> consumers;  // dense layers whose input channels these are
  std::int32_t channels = 0;
};

// All of a network, in order of their producers. Dense: convolutions without groups and linear layers.
std::vector<ChannelGroup> channel_groups(const Network& network);

// The group's producer by name, "stage2.block1.expand".
std::string group_name(const Network& network, const ChannelGroup& group);

// Which channels stay, ascending, per group.
using KeptChannels = std::vector<std::vector<std::int32_t>>;

// The network with fewer channels in each group; `kept` counts are all that matters here. Fails (usage)
// naming the layer when a group would have none.
Result<Network> narrowed(Network network, const std::vector<ChannelGroup>& groups,
                         const std::vector<std::int32_t>& kept);

}  // namespace nas::supernet
