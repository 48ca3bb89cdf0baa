#pragma once
#include <string>
#include <vector>

#include "devices/codegen/generate.h"
#include "devices/codegen/kernel_spec.h"
#include "devices/codegen/text.h"

namespace nas::devices::codegen {

// What the emitters below need of one checked kernel.
struct Int8Job {
  std::string name;
  KernelSpec spec;  // fully_connected has become a 1x1 conv of one pixel
  Shape out;
  Int8Params params;
  CodegenOptions options;
};

struct FloatJob {
  std::string name;
  KernelSpec spec;
  Shape out;
  FloatParams params;
  CodegenOptions options;
};

// Dense layers as convolutions: a fully connected layer becomes a 1x1 conv of a picture of one pixel.
KernelSpec as_convolution(KernelSpec spec);

// $NAME$ $H$ $W$ $C$ $OH$ $OW$ $OC$ $KERNEL$ $STRIDE$ $PAD$ and sizes made of them.
Variables shape_variables(const std::string& name, const KernelSpec& spec, const Shape& out);
// $ZX$ $ZY$ $LOW$ $HIGH$.
void add_int8_variables(Variables& variables, const Int8Params& params);

// The part of a kernel for one target: arrays, helpers and the function. The DSP emitters give an empty text
// when the numbers are outside what they can do; the portable text serves then.
std::string conv_portable(const Int8Job& job);
std::string conv_dsp(const Int8Job& job);
std::string conv_neon(const Int8Job& job);
std::string depthwise_portable(const Int8Job& job);
std::string depthwise_dsp(const Int8Job& job);
std::string depthwise_neon(const Int8Job& job);
// These hold their own #if where targets differ.
std::string add_kernel(const Int8Job& job);
std::string scale_channels_kernel(const Int8Job& job);
std::string pool_kernel(const Int8Job& job);
std::string lookup_kernel(const Int8Job& job);
std::string conv_float(const FloatJob& job);
std::string depthwise_float(const FloatJob& job);
std::string elementwise_float(const FloatJob& job);
std::string pool_float(const FloatJob& job);

std::size_t float_conv_scratch(const KernelSpec& spec, const Shape& out, const CodegenOptions& options);
std::size_t dsp_conv_scratch(const KernelSpec& spec, const Shape& out, std::size_t limit);
std::size_t dsp_depthwise_scratch(const KernelSpec& spec, const Shape& out, const CodegenOptions& options);
std::size_t conv_scratch(const KernelSpec& spec, const Shape& out, Target target,
                         const CodegenOptions& options);
std::size_t depthwise_scratch(const KernelSpec& spec, const Shape& out, Target target,
                              const CodegenOptions& options);

// Rows of `row` weights each, packed into whole bytes, lowest bits first.
std::vector<std::int8_t> packed_rows(const std::vector<std::int8_t>& weights, std::size_t row, int bits);

// Arrays "NAME_m" and "NAME_s": mantissa and exponent per output channel, filled up with zeros to a multiple.
std::string multiplier_arrays(const Int8Job& job, int round_to);
// "NAME_bias": folded biases per output channel, likewise.
std::string bias_array(const Int8Job& job, int round_to);
// "NAME_finish(sum, c)": accumulator to int8; reads the arrays above.
std::string finish_function(const Int8Job& job);
// "NAME_store(pixel, a, b, c)": the same for eight channels from c on; reads arrays filled up to 8.
std::string neon_store_function(const Int8Job& job);
// "NAME_activate(x)" for fp32 kernels.
std::string activate_function(const FloatJob& job);
// The table with the clamp folded in, "NAME_table"; empty text without a table.
std::string table_array(const Int8Job& job);

}  // namespace nas::devices::codegen
