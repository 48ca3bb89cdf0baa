#pragma once
#include <vector>

#include "space/deployment.h"
#include "supernet/trained_network.h"

namespace nas::supernet {

// Weights of one deployed operation in floating point, batch norm folded in. Orders as in QuantizedWeights.
struct FoldedWeights {
  std::vector<float> values;
  std::vector<float> bias;  // one per output channel
};

struct FoldedNetwork {
  Deployment deployment;
  std::vector<FoldedWeights> weights;  // per op, empty where it has none
};

// Fails where deploy() does, and on a network whose tensors do not fit its layers.
Result<FoldedNetwork> fold(const TrainedNetwork& trained);

// The way back: `trained`, of which `folded` was made, with the weights that `folded` has now. Batch norms
// are left with nothing but their shift, and a convolution that has neither batch norm nor bias gets a bias.
// fold() of the outcome is `folded` again, but for the last bit of a float.
TrainedNetwork unfold(TrainedNetwork trained, const FoldedNetwork& folded);

}  // namespace nas::supernet
