#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "devices/codegen/fixed_point.h"
#include "space/quantized_network.h"

namespace nas::devices::codegen {

// What TensorFlow Lite 2.2's int8 kernels give for every input of an activation, in the order q + 128: hard
// swish in 16-bit fixed point, swish as its logistic table times the input. Empty for activations that
// it computes by a clamp, or not at all.
std::optional<std::array<std::int8_t, 256>> tflite_activation_table(Activation activation,
                                                                    const Quantization& in,
                                                                    const Quantization& out);

}  // namespace nas::devices::codegen
