#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "supernet/quantize/budget.h"
#include "supernet/trained_network.h"

namespace nas::supernet {

// Layers that two thinner ones can replace: 1x1 convolutions without groups and linear layers, by index.
std::vector<std::int32_t> factorable_layers(const Network& network);

// The largest rank at which two factors have fewer weights than the layer: below out * in / (out + in).
std::int32_t largest_useful_rank(const Layer& layer);

// The network with layers (index -> rank) in two: `rank` channels made without bias, batch norm or
// activation, under the layer's name with "op128" behind, and the layer itself on those. Fails (usage) on a
// layer that has no factors and on a rank below 1, naming the layer.
Result<Network> factored(const Network& network, const std::map<std::int32_t, std::int32_t>& ranks);

// The mean square of every input channel of the layers that can be factored, over the images.
Result<std::map<std::int32_t, std::vector<double>>> input_power(const TrainedNetwork& trained,
                                                                std::span<const std::vector<float>> images);

// The same with weights: the product that is nearest to the layer's weights W. With `power` (of
// input_power()) the columns count by the root mean square of the inputs they meet (the error that matters:
// of W x, inputs taken as independent); empty: plain SVD.
Result<TrainedNetwork> factor(const TrainedNetwork& trained,
                              const std::map<std::int32_t, std::int32_t>& ranks,
                              const std::map<std::int32_t, std::vector<double>>& power = {});

// A rank for every layer that can be factored, `share` of its full one, where that saves weights.
std::map<std::int32_t, std::int32_t> ranks_at(const Network& network, double share);

// Ranks with the least sum of output errors (relative_error on the images, each layer factored alone) at
// which the network costs at most `limit`; layers keep their full rank where that is better. Fails
// (infeasible) when the lowest ranks that are tried, a quarter of the full ones, do not reach it.
Result<std::map<std::int32_t, std::int32_t>> ranks_within(
    const TrainedNetwork& trained, const std::map<std::int32_t, std::vector<double>>& power,
    std::span<const std::vector<float>> images, const NetworkCost& cost, double limit);

// LRPET's projection (Guo et al. 2021): every layer's weights become the nearest of that rank, and their
// singular values are raised by one factor so that the sum of squares stays what it was (energy transfer).
// The network's shape stays; batch norm statistics must be taken anew by whoever trains on.
TrainedNetwork projected(TrainedNetwork trained, const std::map<std::int32_t, std::int32_t>& ranks);

}  // namespace nas::supernet
