#pragma once
#include <array>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"

namespace nas {

// Which layer may run inside the kernel of the layer before it, as an engine does it. Data, one per engine.
struct FusionRules {
  bool batch_norm = true;  // into a convolution or linear
  bool activation = true;  // into conv, linear or add
  bool add = false;        // a residual add into the convolution that produces its later operand
};

// What a device executes as one unit: an anchor layer plus what is fused into it. `signature` is the table
// key: equal signatures, equal work.
struct Kernel {
  Layer anchor;                              // the layer that gives the kernel its name and shapes
  Activation activation = Activation::none;  // fused after it
  bool batch_norm = false;                   // folded
  bool add = false;                          // a residual is added before the activation
  std::array<std::uint8_t, 2> input_bits{
      0, 0};                         // of the anchor's inputs (a fused add's: second); 0: deployment's
  std::vector<std::int32_t> layers;  // indices in the network, anchor first
};

// "conv k3 s2 p1 g1 3x96x96->16x48x48 bn relu6 w8a8"; every number that changes the work is in it. Words in
// order: kind, window (k s p g), hidden width (m), heads (n), shapes, keys' shape (kv), the anchor's own
// function (f:sigmoid), bias, bn, add, fused activation, bits of weights and output, bits of inputs (i4 or
// i4,8).
std::string signature(const Kernel& kernel);
Result<Kernel> parse_signature(const std::string& text);

// The kernel alone as a network: an input, the anchor (an add takes the input twice), what is fused into it;
// a linear layer over positions as a 1x1 convolution. Fails (usage) on a kernel with a fused residual.
Result<Network> network_of(const Kernel& kernel);

// The kernels of a network in execution order. Layers that cost nothing (zero, input) vanish.
std::vector<Kernel> kernels(const Network& network, const FusionRules& rules);

}  // namespace nas
