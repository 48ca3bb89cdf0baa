#pragma once
#include <vector>

#include "supernet/detail/weights.h"
#include "supernet/recipe.h"

namespace nas::supernet {

// Orders the inner channels of every block by importance, so that prefixes keep the channels that matter.
// Function preserving: producer, its batch norm, depthwise, squeeze-excite and consumer move together.
// `largest` is the network whose chains are sorted. `trained` are networks that were trained before: each
// width they used stays the same set of channels (sorting happens inside the groups between widths). Every
// tensor list in `companions` (optimiser state, moving average; one tensor a parameter) is permuted alike.
void sort_channels(WeightTable& weights, const Network& largest, const std::vector<Network>& trained,
                   Sorting criterion, const std::vector<std::vector<at::Tensor>*>& companions);

// The importance of every input channel of a consuming layer's weight [out, in, …], given the scale of the
// batch norm before it where there is one. l1: sum of |w|. batch_norm: |scale| times the Euclidean norm of w,
// the contribution of a normalised channel to the output's energy.
at::Tensor channel_importance(const at::Tensor& weight, const at::Tensor& scale, Sorting criterion);

}  // namespace nas::supernet
