#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"

namespace nas {

// Low rank: a 1x1 convolution or linear layer with weights [out, in] becomes two, [rank, in] and [out, rank].
// The first makes `rank` channels without bias, batch norm or activation, under the layer's name with "op128"
// behind; the second is the layer itself on those. Here is what that does to a network's shape; the weights
// are supernet/low_rank's.

using LayerRanks = std::map<std::int32_t, std::int32_t>;  // layer index -> rank

// Layers that two thinner ones can replace: 1x1 convolutions without groups and linear layers, by index.
std::vector<std::int32_t> factorable_layers(const Network& network);

// The largest rank at which two factors have fewer weights than the layer: below out * in / (out + in).
std::int32_t largest_useful_rank(const Layer& layer);

// `share` of the layer's full rank, at least 1. 0: the layer stays whole, because it has no factors or
// because these would not have fewer weights.
std::int32_t useful_rank(const Layer& layer, double share);
// That of every layer that has one.
LayerRanks ranks_at(const Network& network, double share);

// Appends the two factors of a layer whose inputs are among `layers`.
void append_factors(std::vector<Layer>& layers, Layer layer, std::int32_t rank);

// The network with these layers in two. Fails (usage) on a layer that has no factors and on a rank below 1,
// naming the layer.
Result<Network> factored(const Network& network, const LayerRanks& ranks);

// The reverse: every two factors one layer again, and the ranks they had.
struct Joined {
  Network network;
  LayerRanks ranks;
};
Joined joined(const Network& network);

}  // namespace nas
