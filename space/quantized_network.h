#pragma once
#include <cstdint>
#include <vector>

#include "space/deployment.h"
#include "space/integer_codes.h"

namespace nas {

// Affine quantisation of a tensor: real = scale * (q - zero), q in [low(), high()]: [-128, 127] for 8 bits,
// [-8, 7] for 4.
struct Quantization {
  double scale = 1;
  std::int32_t zero = 0;
  std::int32_t bits = 8;

  std::int32_t low() const { return -(1 << (bits - 1)); }
  std::int32_t high() const { return largest_code(bits); }
};

// Integer weights of one operation. Order: conv OHWI, depthwise HWC, fully_connected OI, values in
// [-127, 127], or what DeployedOp::weight_bits leave of it.
struct QuantizedWeights {
  std::vector<std::int8_t> values;
  std::vector<double> scales;      // per output channel
  std::vector<std::int32_t> bias;  // scale: input scale * weight scale of the channel
};

// An int8 network: what every integer exporter writes and every integer runtime must compute.
struct QuantizedNetwork {
  Deployment deployment;
  std::vector<Quantization> tensors;      // per tensor of the deployment: input, then every op's output
  std::vector<Quantization> before;       // per op: of its result before an activation that needs a table
  std::vector<QuantizedWeights> weights;  // per op, empty where it has none
};

// Activations that a clamp of the output grid expresses: none, relu, relu6. Others go through a table.
bool needs_table(Activation activation);

}  // namespace nas
