#pragma once
#include <cstddef>
#include <vector>

#include "supernet/quantize/folding.h"

namespace nas::supernet {

// Cross-layer equalisation (Nagel et al., ICCV 2019), for activations with one scale a tensor and weights
// with one scale an output channel. Where a weighted operation without activation or with relu feeds exactly
// one other weighted operation, channel c of the tensor between is divided by s_c and the second operation's
// weights of that channel are multiplied by it, which leaves the network's function as it is. In front of a
// depthwise operation, whose weights have a scale of their own for every channel, s_c makes all channels
// reach equally far; in front of a dense one it balances the tensor's channels with the weights: s_c =
// sqrt((a_c / max a) / (w_c / max w)). `largest`: per tensor and channel the largest absolute value seen
// (Observation::largest). Returns the number of tensors that were changed.
std::size_t equalise(FoldedNetwork& folded, const std::vector<std::vector<float>>& largest);

}  // namespace nas::supernet
