#include "supernet/detail/ops.h"

#include <cmath>
#include <tuple>

#include "supernet/detail/kernels.h"

namespace nas::supernet {
namespace {

bool on_processor(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }

at::Tensor to_nchw(const at::Tensor& x) { return x.permute({0, 3, 1, 2}); }
at::Tensor to_nhwc(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous(); }

std::int64_t rows_of(const at::Tensor& x) { return x.numel() / x.size(-1); }

bool pointwise(const at::Tensor& w, const ConvGeometry& g) {
  return w.size(2) == 1 && g.stride == 1 && g.padding == 0 && g.groups == 1;
}

bool depthwise_supported(const at::Tensor& x, const at::Tensor& w, const ConvGeometry& g) {
  const std::int64_t k = w.size(2);
  return on_processor(x) && w.size(1) == 1 && g.groups == x.size(3) && w.size(0) == x.size(3) &&
         (k == 3 || k == 5 || k == 7) && (g.stride == 1 || g.stride == 2);
}

DepthwiseShape depthwise_shape(const at::Tensor& x, const at::Tensor& w, const ConvGeometry& g) {
  DepthwiseShape s;
  s.images = x.size(0);
  s.height = x.size(1);
  s.width = x.size(2);
  s.channels = x.size(3);
  s.kernel = static_cast<int>(w.size(2));
  s.stride = static_cast<int>(g.stride);
  s.padding = static_cast<int>(g.padding);
  s.out_height = (s.height + 2 * g.padding - w.size(2)) / g.stride + 1;
  s.out_width = (s.width + 2 * g.padding - w.size(2)) / g.stride + 1;
  return s;
}

// oneDNN wins on maps whose rows fill its tiles; ours wins on the small ones.
bool own_depthwise_forward(const DepthwiseShape& s) { return s.out_width < 4; }
bool own_depthwise_backward_input(const DepthwiseShape& s) { return s.stride == 1 || s.out_width < 4; }
// oneDNN's 1x1 kernels beat BLAS when there are many rows and few channels; BLAS beats them elsewhere.
bool blas_pointwise(std::int64_t rows) { return rows < 2048; }

at::Tensor taps_first(const at::Tensor& w) {  // [C, 1, K, K] -> [K * K, C]
  return w.reshape({w.size(0), w.size(2) * w.size(3)}).t().contiguous();
}

at::Tensor dense_forward(const at::Tensor& x, const at::Tensor& w, const ConvGeometry& g) {
  if (g.bf16 && g.groups == 1)
    return to_nhwc(at::conv2d(to_nchw(x.to(at::kBFloat16)), w.to(at::kBFloat16), {}, {g.stride, g.stride},
                              {g.padding, g.padding}))
        .to(at::kFloat);
  return to_nhwc(at::conv2d(to_nchw(x), w.contiguous(), {}, {g.stride, g.stride}, {g.padding, g.padding},
                            {1, 1}, g.groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> torch_backward(const at::Tensor& x, const at::Tensor& w,
                                                              const at::Tensor& gy, const ConvGeometry& g,
                                                              bool need_x, bool need_w) {
  const bool low = g.bf16 && g.groups == 1;
  const auto cast = [&](const at::Tensor& t) { return low ? t.to(at::kBFloat16) : t; };
  auto grads = at::convolution_backward(to_nchw(cast(gy)), to_nchw(cast(x)), cast(w).contiguous(),
                                        c10::nullopt, {g.stride, g.stride}, {g.padding, g.padding}, {1, 1},
                                        false, {0, 0}, g.groups, {need_x, need_w, false});
  if (low) {
    if (need_x) std::get<0>(grads) = std::get<0>(grads).to(at::kFloat);
    if (need_w) std::get<1>(grads) = std::get<1>(grads).to(at::kFloat);
  }
  return grads;
}

struct ScaleShift {
  at::Tensor scale, shift, inverse;  // y = x * scale + shift; inverse standard deviation
};
ScaleShift fold(const at::Tensor& scale, const at::Tensor& shift, const Moments& m) {
  ScaleShift f;
  f.inverse = (m.variance + m.epsilon).rsqrt_();
  f.scale = scale * f.inverse;
  f.shift = shift - m.mean * f.scale;
  return f;
}

at::Tensor torch_act(const at::Tensor& z, Activation act) {
  switch (act) {
    case Activation::none:
      return z;
    case Activation::relu:
      return at::relu(z);
    case Activation::relu6:
      return at::clamp(z, 0, 6);
    case Activation::hard_swish:
      return at::hardswish(z);
    case Activation::swish:
      return at::silu(z);
    case Activation::hard_sigmoid:
      return at::hardsigmoid(z);
    case Activation::sigmoid:
      return at::sigmoid(z);
    case Activation::gelu:
      return at::gelu(z);
  }
  return z;
}

at::Tensor torch_act_backward(const at::Tensor& z, Activation act, const at::Tensor& gy) {
  switch (act) {
    case Activation::none:
      return gy;
    case Activation::relu:
      return gy * (z > 0).to(gy.scalar_type());
    case Activation::relu6:
      return gy * ((z > 0) & (z < 6)).to(gy.scalar_type());
    case Activation::hard_swish:
      return at::hardswish_backward(gy, z);
    case Activation::swish:
      return at::silu_backward(gy, z);
    case Activation::hard_sigmoid:
      return at::hardsigmoid_backward(gy, z);
    case Activation::sigmoid:
      return at::sigmoid_backward(gy, at::sigmoid(z));
    case Activation::gelu:
      return at::gelu_backward(gy, z);
  }
  return gy;
}

}  // namespace

at::Tensor conv_forward(const at::Tensor& x, const at::Tensor& w, const ConvGeometry& g) {
  if (depthwise_supported(x, w, g)) {
    const DepthwiseShape s = depthwise_shape(x, w, g);
    if (own_depthwise_forward(s)) {
      at::Tensor y = at::empty({s.images, s.out_height, s.out_width, s.channels}, x.options());
      const at::Tensor taps = taps_first(w);
      kernels().depthwise_forward(s, x.data_ptr<float>(), taps.data_ptr<float>(), y.data_ptr<float>());
      return y;
    }
  }
  if (on_processor(x) && !g.bf16 && pointwise(w, g) && blas_pointwise(rows_of(x))) {
    const at::Tensor y = at::mm(x.view({rows_of(x), x.size(3)}), w.select(3, 0).select(2, 0).t());
    return y.view({x.size(0), x.size(1), x.size(2), w.size(0)});
  }
  return dense_forward(x, w, g);
}

ConvGradients conv_backward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& gy,
                            const ConvGeometry& g, bool need_x) {
  ConvGradients out;
  if (depthwise_supported(x, w, g)) {
    const DepthwiseShape s = depthwise_shape(x, w, g);
    at::Tensor taps = at::empty({w.size(2) * w.size(3), s.channels}, x.options());
    kernels().depthwise_backward_weight(s, x.data_ptr<float>(), gy.data_ptr<float>(), taps.data_ptr<float>());
    out.w = taps.t().contiguous().view(w.sizes());
    if (need_x && own_depthwise_backward_input(s)) {
      out.x = at::empty(x.sizes(), x.options());
      const at::Tensor weight = taps_first(w);
      kernels().depthwise_backward_input(s, gy.data_ptr<float>(), weight.data_ptr<float>(),
                                         out.x.data_ptr<float>());
    } else if (need_x) {
      out.x = to_nhwc(std::get<0>(torch_backward(x, w, gy, g, true, false)));
    }
    return out;
  }
  if (on_processor(x) && !g.bf16 && pointwise(w, g)) {
    const std::int64_t rows = rows_of(x);
    const at::Tensor flat_x = x.view({rows, x.size(3)}), flat_g = gy.view({rows, gy.size(3)});
    out.w = at::mm(flat_g.t(), flat_x).view(w.sizes());
    if (need_x && blas_pointwise(rows))
      out.x = at::mm(flat_g, w.select(3, 0).select(2, 0)).view(x.sizes());
    else if (need_x)
      out.x = to_nhwc(std::get<0>(torch_backward(x, w, gy, g, true, false)));
    return out;
  }
  const auto grads = torch_backward(x, w, gy, g, need_x, true);
  if (need_x) out.x = to_nhwc(std::get<0>(grads));
  out.w = std::get<1>(grads).contiguous();
  return out;
}

Moments batch_moments(const at::Tensor& x, double epsilon) {
  const std::int64_t channels = x.size(-1), rows = rows_of(x);
  if (!on_processor(x)) {
    const at::Tensor flat = x.reshape({rows, channels});
    return {flat.mean(0), flat.var(0, false), epsilon};
  }
  Moments m{at::empty({channels}, x.options()), at::empty({channels}, x.options()), epsilon};
  kernels().moments(x.data_ptr<float>(), rows, channels, m.mean.data_ptr<float>(),
                    m.variance.data_ptr<float>());
  return m;
}

at::Tensor norm_act_forward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                            const Moments& moments, Activation act) {
  const ScaleShift f = fold(scale, shift, moments);
  if (!on_processor(x)) return torch_act(x * f.scale + f.shift, act);
  at::Tensor y = at::empty(x.sizes(), x.options());
  kernels().affine_act(x.data_ptr<float>(), rows_of(x), x.size(-1), f.scale.data_ptr<float>(),
                       f.shift.data_ptr<float>(), act, y.data_ptr<float>());
  return y;
}

NormGradients norm_act_backward(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                                const Moments& moments, Activation act, const at::Tensor& gy,
                                bool through_moments) {
  const ScaleShift f = fold(scale, shift, moments);
  const std::int64_t rows = rows_of(x), channels = x.size(-1);
  at::Tensor gz, sum_gz, sum_gzx;
  if (on_processor(x)) {
    gz = at::empty(x.sizes(), x.options());
    sum_gz = at::empty({channels}, x.options());
    sum_gzx = at::empty({channels}, x.options());
    kernels().affine_act_backward(x.data_ptr<float>(), gy.data_ptr<float>(), rows, channels,
                                  f.scale.data_ptr<float>(), f.shift.data_ptr<float>(),
                                  moments.mean.data_ptr<float>(), act, gz.data_ptr<float>(),
                                  sum_gz.data_ptr<float>(), sum_gzx.data_ptr<float>());
  } else {
    gz = torch_act_backward(x * f.scale + f.shift, act, gy);
    const at::Tensor flat = gz.reshape({rows, channels});
    sum_gz = flat.sum(0);
    sum_gzx = (flat * (x.reshape({rows, channels}) - moments.mean)).sum(0);
  }
  NormGradients out;
  out.shift = sum_gz;
  out.scale = sum_gzx * f.inverse;
  // d/dx of scale * (x - mean) * inverse, where mean and variance depend on x when through_moments:
  // gx = a * gz + b * x + c with the sums spread evenly over the rows.
  at::Tensor b = at::zeros_like(f.scale), c = at::zeros_like(f.scale);
  if (through_moments) {
    b = f.scale * f.inverse * f.inverse * sum_gzx * (-1.0 / static_cast<double>(rows));
    c = f.scale * sum_gz * (-1.0 / static_cast<double>(rows)) - b * moments.mean;
  }
  if (on_processor(x)) {
    kernels().combine(x.data_ptr<float>(), rows, channels, f.scale.data_ptr<float>(), b.data_ptr<float>(),
                      c.data_ptr<float>(), gz.data_ptr<float>());
    out.x = gz;
  } else {
    out.x = gz * f.scale + x * b + c;
  }
  return out;
}

at::Tensor act_forward(const at::Tensor& x, Activation act) {
  if (!on_processor(x)) return torch_act(x, act);
  const at::Tensor one = at::ones({x.size(-1)}, x.options()), zero = at::zeros({x.size(-1)}, x.options());
  at::Tensor y = at::empty(x.sizes(), x.options());
  kernels().affine_act(x.data_ptr<float>(), rows_of(x), x.size(-1), one.data_ptr<float>(),
                       zero.data_ptr<float>(), act, y.data_ptr<float>());
  return y;
}

at::Tensor act_backward(const at::Tensor& x, Activation act, const at::Tensor& gy) {
  if (!on_processor(x)) return torch_act_backward(x, act, gy);
  const std::int64_t channels = x.size(-1);
  const at::Tensor one = at::ones({channels}, x.options()), zero = at::zeros({channels}, x.options());
  at::Tensor gz = at::empty(x.sizes(), x.options()), sums = at::empty({2, channels}, x.options());
  kernels().affine_act_backward(x.data_ptr<float>(), gy.data_ptr<float>(), rows_of(x), channels,
                                one.data_ptr<float>(), zero.data_ptr<float>(), zero.data_ptr<float>(), act,
                                gz.data_ptr<float>(), sums.data_ptr<float>(),
                                sums.data_ptr<float>() + channels);
  return gz;
}

at::Tensor mean_positions(const at::Tensor& x) {
  const std::int64_t positions = x.size(1) * x.size(2);
  if (!on_processor(x)) return x.mean(at::IntArrayRef{1, 2});
  at::Tensor y = at::empty({x.size(0), x.size(3)}, x.options());
  kernels().reduce_positions(x.data_ptr<float>(), nullptr, x.size(0), positions, x.size(3),
                             1.0F / static_cast<float>(positions), y.data_ptr<float>());
  return y;
}

at::Tensor sum_positions(const at::Tensor& x, const at::Tensor& times) {
  if (!on_processor(x)) return (x * times).sum(at::IntArrayRef{1, 2});
  at::Tensor y = at::empty({x.size(0), x.size(3)}, x.options());
  kernels().reduce_positions(x.data_ptr<float>(), times.data_ptr<float>(), x.size(0), x.size(1) * x.size(2),
                             x.size(3), 1.0F, y.data_ptr<float>());
  return y;
}

at::Tensor scale_positions(const at::Tensor& x, const at::Tensor& s, const at::Tensor& t) {
  if (!on_processor(x)) {
    const at::Tensor scaled = x * s.unsqueeze(1).unsqueeze(1);
    return t.defined() ? scaled + t.unsqueeze(1).unsqueeze(1) : scaled;
  }
  at::Tensor y = at::empty(x.sizes(), x.options());
  kernels().broadcast_positions(x.data_ptr<float>(), s.data_ptr<float>(),
                                t.defined() ? t.data_ptr<float>() : nullptr, x.size(0), x.size(1) * x.size(2),
                                x.size(3), y.data_ptr<float>());
  return y;
}

at::Tensor spread_positions(const at::Tensor& t, std::int64_t height, std::int64_t width) {
  if (!on_processor(t))
    return t.unsqueeze(1).unsqueeze(1).expand({t.size(0), height, width, t.size(1)}).contiguous();
  at::Tensor y = at::empty({t.size(0), height, width, t.size(1)}, t.options());
  kernels().broadcast_positions(nullptr, nullptr, t.data_ptr<float>(), t.size(0), height * width, t.size(1),
                                y.data_ptr<float>());
  return y;
}

at::Tensor linear_forward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) {
  const at::Tensor flat = x.reshape({rows_of(x), x.size(-1)});
  at::Tensor y = b.defined() ? at::addmm(b, flat, w.t()) : at::mm(flat, w.t());
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = w.size(0);
  return y.view(shape);
}

LinearGradients linear_backward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& gy,
                                bool need_bias) {
  const at::Tensor flat_x = x.reshape({rows_of(x), x.size(-1)}),
                   flat_g = gy.reshape({rows_of(gy), gy.size(-1)});
  LinearGradients out;
  out.w = at::mm(flat_g.t(), flat_x);
  if (need_bias) out.b = flat_g.sum(0);
  out.x = at::mm(flat_g, w).view(x.sizes());
  return out;
}

}  // namespace nas::supernet
