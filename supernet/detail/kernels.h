#pragma once
#include <cstdint>

#include "space/network.h"

namespace nas::supernet {

// Hand-written float kernels for the layers where LibTorch's own leave most of the processor idle. Tensors
// are dense, channels last: [images, height, width, channels]. Every kernel runs on the calling thread and
// gives the same bits on every run. The table picked at start is the best of AVX-512, AVX2 and portable for
// this processor.

struct DepthwiseShape {
  std::int64_t images = 0;
  std::int64_t height = 0, width = 0;          // of the input
  std::int64_t out_height = 0, out_width = 0;  // of the output
  std::int64_t channels = 0;
  int kernel = 3, stride = 1, padding = 1;
};

struct KernelTable {
  const char* name;

  // y = depthwise(x, w) with w laid out [kernel * kernel, channels].
  void (*depthwise_forward)(const DepthwiseShape& shape, const float* x, const float* w, float* y);
  void (*depthwise_backward_input)(const DepthwiseShape& shape, const float* gy, const float* w, float* gx);
  // gw is overwritten.
  void (*depthwise_backward_weight)(const DepthwiseShape& shape, const float* x, const float* gy, float* gw);

  // Mean and biased variance of every column of x [rows, channels].
  void (*moments)(const float* x, std::int64_t rows, std::int64_t channels, float* mean, float* variance);
  // y = act(x * scale + shift), per channel; x and y may be the same.
  void (*affine_act)(const float* x, std::int64_t rows, std::int64_t channels, const float* scale,
                     const float* shift, Activation act, float* y);
  // First half of batch norm's backward: gz = gy * act'(x * scale + shift), sum_gz = column sums of gz and
  // sum_gzx = column sums of gz * (x - mean).
  void (*affine_act_backward)(const float* x, const float* gy, std::int64_t rows, std::int64_t channels,
                              const float* scale, const float* shift, const float* mean, Activation act,
                              float* gz, float* sum_gz, float* sum_gzx);
  // Second half, in place: gz = a * gz + b * x + c, per channel.
  void (*combine)(const float* x, std::int64_t rows, std::int64_t channels, const float* a, const float* b,
                  const float* c, float* gz);

  // y[n, c] = scale * sum over positions of x (times `times` where that is not null).
  void (*reduce_positions)(const float* x, const float* times, std::int64_t images, std::int64_t positions,
                           std::int64_t channels, float scale, float* y);
  // y = x * s[n, c] + t[n, c]; x null: y = t; t null: no addition.
  void (*broadcast_positions)(const float* x, const float* s, const float* t, std::int64_t images,
                              std::int64_t positions, std::int64_t channels, float* y);
};

// The table for this processor; `portable` gives the one without special instructions (for tests).
const KernelTable& kernels(bool portable = false);

}  // namespace nas::supernet
