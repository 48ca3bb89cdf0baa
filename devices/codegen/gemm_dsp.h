#pragma once
#include <string>
#include <vector>

#include "devices/codegen/kernel_spec.h"
#include "devices/codegen/requant_plan.h"

namespace nas::devices::codegen {

// The matrix kernel of dense layers on Cortex-M with the DSP extension: `pixels` columns of 16-bit
// activations, `pairs` words of two activations each, times all output channels.
struct DspGemm {
  int pixels = 4;    // 1, 2 or 4 columns at once
  int pairs = 0;     // ceil(inner size / 2)
  int channels = 0;  // output channels = bytes from one output pixel to the next
  LayerRequant requant;
  int bits = 8;  // of a weight; below 8 several words of weights share one
  bool table = false;
  std::int32_t zero = 0;
  std::int32_t clamp_low = -128;
  std::int32_t clamp_high = 127;
};

// Words that a block of so many channels' weights take.
int dsp_gemm_weight_words(const DspGemm& gemm, int block);

// Largest number of columns whose stores can be addressed and whose scratch stays within `limit` bytes.
int dsp_gemm_pixels(std::int64_t out_pixels, std::int64_t inner, int channels, std::size_t limit);

// void NAME(const int32_t* columns, const int32_t* weights, int8_t* out, const int8_t* table_middle)
// columns: for each word, `pixels` words side by side. out: first pixel, channel 0.
std::string dsp_gemm_name(const DspGemm& gemm);
std::string dsp_gemm_function(const DspGemm& gemm);

// The words that the function reads: per block of channels biases, weights, then requantisation numbers.
// order[2*t + h] is the inner index whose activation lies in half h of word t, or -1.
std::vector<std::string> dsp_gemm_weights(const DspGemm& gemm, const std::vector<std::int32_t>& order,
                                          const std::vector<std::int8_t>& weights,
                                          const std::vector<std::int64_t>& bias);

}  // namespace nas::devices::codegen
