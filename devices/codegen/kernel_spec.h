#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/codegen/fixed_point.h"
#include "space/base/result.h"
#include "space/network.h"

namespace nas::devices::codegen {

enum class KernelKind : std::uint8_t {
  conv,             // dense k x k, zero padding on all sides
  depthwise,        // one filter per channel
  fully_connected,  // over all H*W*C inputs in NHWC order
  add,              // two inputs of equal shape
  scale_channels,   // the squeeze-excite multiply: input times a second input of shape [C, 1, 1]
  average_pool,     // k x k, no padding; global pooling is kernel_height x kernel_width = H x W
  max_pool,         // k x k, padding never wins
  lookup,           // an elementwise function, by table (int8) or by formula (fp32)
};

enum class Precision : std::uint8_t { int8, fp32 };

// One kernel of a network at batch 1, tensors in NHWC order.
struct KernelSpec {
  KernelKind kind = KernelKind::conv;
  Precision precision = Precision::int8;
  Shape input;
  std::int32_t out_channels = 0;  // conv and fully_connected only
  std::int32_t kernel = 1;        // pools: both sides; 0 means the whole picture
  std::int32_t stride = 1;
  std::int32_t padding = 0;
  Activation activation = Activation::none;  // fp32: applied to the result; int8: in the clamp and the table
  bool in_place = false;                     // output lies where the (first) input lies
  // int8 kernels with weights: 8, 4 or 2; below 8 the weights lie packed and are unpacked in the kernel.
  std::int32_t weight_bits = 8;
  bool ceil_mode = false;  // pools: a last window may reach beyond the picture; averages count what is inside
};

// The output's shape; an Error names the field that makes the kernel impossible.
Result<Shape> output_shape(const KernelSpec& spec);

// Numbers of an int8 kernel, affine quantisation r = S (q - Z). Every field unused by a kind stays empty.
struct Int8Params {
  std::vector<std::int8_t> weights;     // conv OHWI, depthwise HWC, fully_connected OI; of `weight_bits` bits
                                        // without the lowest: [-127, 127], [-7, 7], [-1, 1]
  std::vector<std::int32_t> bias;       // one per output channel, scale S_x * S_w; empty: zeros
  std::vector<Multiplier> multipliers;  // conv, depthwise, fc: one per output channel, S_x S_w / S_y;
                                        // add: {S_1 / t, S_2 / t, t / (2^20 S_y)}, t = 2 max(S_1, S_2);
                                        // scale_channels: {S_1 S_2 / S_y}
  std::int32_t input_zero = 0;
  std::int32_t second_zero = 0;  // add and scale_channels: of the second input
  std::int32_t output_zero = 0;
  std::int32_t clamp_low = -128;
  std::int32_t clamp_high = 127;
  // Applied after the clamp, index q + 128: an activation that a clamp cannot do, or the whole of a lookup.
  std::optional<std::array<std::int8_t, 256>> table;
};

struct FloatParams {
  std::vector<float> weights;  // as Int8Params::weights
  std::vector<float> bias;
};

// Sizes, zero points, clamps, ranges of weights, and that no accumulator can leave 32 bits.
Result<void> check(const KernelSpec& spec, const Int8Params& params);
Result<void> check(const KernelSpec& spec, const FloatParams& params);

// Quantised table of an activation from the grid (in_scale, in_zero) to (out_scale, out_zero), computed in
// double precision and rounded half away from zero.
std::array<std::int8_t, 256> activation_table(Activation activation, double in_scale, std::int32_t in_zero,
                                              double out_scale, std::int32_t out_zero);

// Bytes of one output channel's weights, packed.
std::int64_t packed_row_bytes(const KernelSpec& spec);

// The activation itself: none, relu, relu6, hard_swish, swish, hard_sigmoid, sigmoid.
double activate(Activation activation, double x);

// Bias of every output channel with the input's zero point folded in: b - Z_x * sum(w). Valid because padding
// is written as Z_x.
std::vector<std::int64_t> folded_bias(const KernelSpec& spec, const Int8Params& params);

// Smallest and largest value that the accumulator of a channel can take over all inputs.
struct Interval {
  std::int64_t low = 0;
  std::int64_t high = 0;
};
std::vector<Interval> accumulator_bounds(const KernelSpec& spec, const Int8Params& params);

}  // namespace nas::devices::codegen
