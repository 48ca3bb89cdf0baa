#pragma once
#include <string>

#include "supernet/quantize/folding.h"

namespace nas::supernet {

// Weights for a deployment that nobody has trained, to measure it: values of the size that keeps activations
// moderate, the same for the same name.
FoldedNetwork drawn_network(Deployment deployment, const std::string& name);

}  // namespace nas::supernet
