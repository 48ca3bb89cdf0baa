#pragma once
#include <ATen/ATen.h>

#include "space/network.h"

namespace nas::supernet {

// Forward and backward of single layers on tensors [N, H, W, C] (dense, channels last); weights in LibTorch's
// layout. On the processor they run our kernels or oneDNN or BLAS, whichever was measured fastest for the
// shape, on the calling thread; elsewhere LibTorch's own operators.

constexpr double kLayerNormEpsilon = 1e-5;

struct ConvGeometry {
  std::int64_t stride = 1, padding = 0, groups = 1;
  bool bf16 = false;  // multiply in bfloat16 (dense convolutions only)
};
at::Tensor conv_forward(const at::Tensor& x, const at::Tensor& w, const ConvGeometry& g);
struct ConvGradients {
  at::Tensor x;  // undefined when not asked for
  at::Tensor w;
};
ConvGradients conv_backward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& gy,
                            const ConvGeometry& g, bool need_x);

// Mean and biased variance over everything but channels.
struct Moments {
  at::Tensor mean, variance;
  double epsilon = 1e-5;  // what is added to the variance
};
Moments batch_moments(const at::Tensor& x, double epsilon);

// y = act(scale * (x - mean) / sqrt(variance + epsilon) + shift), batch norm and activation in one pass.
at::Tensor norm_act_forward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                            const Moments& moments, Activation act);
struct NormGradients {
  at::Tensor x, scale, shift;
};
// `through_moments`: the moments came from x itself, so gradients flow through them.
NormGradients norm_act_backward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                                const Moments& moments, Activation act, const at::Tensor& gy,
                                bool through_moments);

at::Tensor act_forward(const at::Tensor& x, Activation act);
at::Tensor act_backward(const at::Tensor& x, Activation act, const at::Tensor& gy);

// Mean over positions: [N, H, W, C] -> [N, C]; and of x * y.
at::Tensor mean_positions(const at::Tensor& x);
at::Tensor sum_positions(const at::Tensor& x, const at::Tensor& times);
// x * s + t with s and t [N, C]; `t` may be undefined.
at::Tensor scale_positions(const at::Tensor& x, const at::Tensor& s, const at::Tensor& t);
// [N, C] spread over H x W.
at::Tensor spread_positions(const at::Tensor& t, std::int64_t height, std::int64_t width);

// y = x w' + b over the last dimension; `b` may be undefined.
at::Tensor linear_forward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b);
struct LinearGradients {
  at::Tensor x, w, b;
};
LinearGradients linear_backward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& gy,
                                bool need_bias);

}  // namespace nas::supernet
