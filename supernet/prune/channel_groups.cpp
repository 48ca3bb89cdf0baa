#include "supernet/prune/channel_groups.h"

#include <algorithm>

namespace nas::supernet {
namespace {

bool is_dense(const Layer& l) {
  return (l.kind == LayerKind::conv && l.groups == 1) || l.kind == LayerKind::linear;
}

bool carries(const Layer& l) {
  switch (l.kind) {
    case LayerKind::conv:
      return is_depthwise(l);
    case LayerKind::batch_norm:
    case LayerKind::activation:
    case LayerKind::squeeze_excite:
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
    case LayerKind::global_pool:
      return true;
    default:
      return false;
  }
}

// Follows the producer's channels to their readers; false where something else ties them.
bool follow(const Network& network, ChannelGroup& group) {
  std::vector<bool> inside(network.layers.size(), false);
  inside[static_cast<std::size_t>(group.producer)] = true;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    const auto reads = [&](std::int32_t from) { return from >= 0 && inside[static_cast<std::size_t>(from)]; };
    if (!reads(l.inputs[0]) && !reads(l.inputs[1])) continue;
    if (reads(l.inputs[1])) return false;
    if (is_dense(l)) {
      group.consumers.push_back(static_cast<std::int32_t>(i));
    } else if (carries(l)) {
      inside[i] = true;
      group.carriers.push_back(static_cast<std::int32_t>(i));
    } else {
      return false;
    }
  }
  return !group.consumers.empty() && !inside.back();
}

}  // namespace

std::vector<ChannelGroup> channel_groups(const Network& network) {
  std::vector<ChannelGroup> groups;
  for (std::size_t i = 1; i < network.layers.size(); ++i) {
    if (!is_dense(network.layers[i])) continue;
    ChannelGroup group{static_cast<std::int32_t>(i), {}, {}, network.layers[i].out.channels};
    if (follow(network, group)) groups.push_back(std::move(group));
  }
  return groups;
}

std::string group_name(const Network& network, const ChannelGroup& group) {
  return layer_name(network.layers[static_cast<std::size_t>(group.producer)]);
}

Result<Network> narrowed(Network network, const std::vector<ChannelGroup>& groups,
                         const std::vector<std::int32_t>& kept) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::int32_t n = kept[g];
    if (n < 1)
      return usage_error("pruning: layer " + group_name(network, groups[g]) +
                         " must keep at least 1 of its " + std::to_string(groups[g].channels) +
                         " channels, found " + std::to_string(n));
    const auto layer = [&](std::int32_t i) -> Layer& { return network.layers[static_cast<std::size_t>(i)]; };
    layer(groups[g].producer).out.channels = n;
    for (const std::int32_t i : groups[g].carriers) {
      Layer& l = layer(i);
      l.in.channels = l.out.channels = n;
      if (l.kind == LayerKind::conv) l.groups = n;
    }
    for (const std::int32_t i : groups[g].consumers) layer(i).in.channels = n;
  }
  return network;
}

}  // namespace nas::supernet
