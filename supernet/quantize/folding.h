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

}  // namespace nas::supernet
