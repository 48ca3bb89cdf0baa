#pragma once
#include <cstdint>
#include <vector>

#include "space/base/units.h"
#include "space/network.h"

namespace nas {

// Precision where the genotype chose none: bits of weights and of activations (32 is float).
struct Precision {
  std::uint8_t weight_bits = 32;
  std::uint8_t activation_bits = 32;
};

// Convolutions, squeeze-excite, linear and attention products count c_in*c_out*k*k*h*w/groups each; batch
// norm, activations, pooling, adds and biases count none (once-for-all's convention).
Macs macs(const Layer& layer);
Macs macs(const Network& network);

// Trainable scalars: weights, biases, batch-norm and layer-norm scale and shift.
Params params(const Layer& layer);
Params params(const Network& network);

// Stored weights when deployed: batch norm folded into the convolution before it (one bias per channel),
// weights at their bits (rows padded to whole bytes per output channel), biases and scales of quantised
// layers 32 bit (one bias and one scale per output channel), float layers 32 bit throughout.
Bytes weight_bytes(const Layer& layer, Precision precision);
Bytes weight_bytes(const Network& network, Precision precision);

// What one pass over the network gives; all sums saturate at the largest 64-bit number.
struct Cost {
  Macs macs;
  Params params;
  Bytes weight_bytes;
};
Cost cost(const Network& network, Precision precision);

// The stored weights of layer `index` within its network: knows which batch norm is folded into what.
Bytes weight_bytes(const Network& network, std::size_t index, Precision precision);

// Bytes of the layer's output tensor.
Bytes output_bytes(const Layer& layer, Precision precision);

}  // namespace nas
