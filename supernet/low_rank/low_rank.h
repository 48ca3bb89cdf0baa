#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "space/low_rank.h"
#include "supernet/quantize/budget.h"
#include "supernet/trained_network.h"

namespace nas::supernet {

// The mean square of every input channel of the layers that can be factored, over the images.
Result<std::map<std::int32_t, std::vector<double>>> input_power(const TrainedNetwork& trained,
                                                                std::span<const std::vector<float>> images);

// The same with weights: the product that is nearest to the layer's weights W. With `power` (of
// input_power()) the columns count by the root mean square of the inputs they meet (the error that matters:
// of W x, inputs taken as independent); empty: plain SVD.
Result<TrainedNetwork> factor(const TrainedNetwork& trained, const LayerRanks& ranks,
                              const std::map<std::int32_t, std::vector<double>>& power = {});

// Ranks with the least sum of output errors (relative_error on the images, each layer factored alone) at
// which the network costs at most `limit`; layers keep their full rank where that is better. Fails
// (infeasible) when the lowest ranks that are tried, a quarter of the full ones, do not reach it.
Result<LayerRanks> ranks_within(const TrainedNetwork& trained,
                                const std::map<std::int32_t, std::vector<double>>& power,
                                std::span<const std::vector<float>> images, const NetworkCost& cost,
                                double limit);

// LRPET's projection (Guo et al. 2021): every layer's weights become the nearest of that rank, and their
// singular values are raised by one factor so that the sum of squares stays what it was (energy transfer).
// The network's shape stays; batch norm statistics must be taken anew by whoever trains on.
TrainedNetwork projected(TrainedNetwork trained, const LayerRanks& ranks);

}  // namespace nas::supernet
