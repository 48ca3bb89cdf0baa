// The layers of Execution that need more than one operator.
#include <cmath>

#include "space/base/rng.h"
#include "supernet/detail/execution.h"

namespace nas::supernet {
namespace {

at::Tensor nchw(const at::Tensor& x) { return x.permute({0, 3, 1, 2}); }
at::Tensor nhwc(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous(); }

at::Tensor centre(const at::Tensor& w, std::int64_t k) {
  const std::int64_t from = (w.size(2) - k) / 2;
  return w.narrow(2, from, k).narrow(3, from, k);
}

// [N, T, 1, hidden] <-> [N, heads, T, hidden / heads]
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(3) / heads}).transpose(1, 2).contiguous();
}
at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).contiguous().view({x.size(0), x.size(2), 1, x.size(1) * x.size(3)});
}

bool ceil_mode(const Layer& l) {
  return l.kind == LayerKind::avg_pool &&
         (l.in.height + 2 * l.padding - l.kernel) / l.stride + 1 != l.out.height;
}

}  // namespace

// The kernel of size k comes from the largest one: crop to the next smaller size, multiply by that step's
// matrix, and so on (OFA, Cai et al. 2020); without transforms it is the plain centre crop.
at::Tensor Execution::conv_weight(std::size_t i, std::vector<at::Tensor>* steps) const {
  const Layer& l = network_.layers[i];
  if (!is_depthwise(l) || !weights_.kernel_transform()) return parameter(i, Part::weight);
  const std::vector<int>& sizes = weights_.kernel_sizes(l.site);
  const int at = weights_.find({l.site, l.kind, Part::weight});
  at::Tensor w = weights_.parameters()[static_cast<std::size_t>(at)].value.narrow(0, 0, l.out.channels);
  for (std::size_t s = 0; s + 1 < sizes.size() && w.size(2) > l.kernel; ++s) {
    const std::int64_t k = sizes[sizes.size() - 2 - s];
    const at::Tensor crop = centre(w, k).reshape({w.size(0), k * k});
    if (steps) steps->push_back(crop);
    const at::Tensor matrix =
        s < 2 ? parameter(i, s == 0 ? Part::transform : Part::transform_second) : at::Tensor();
    w = (matrix.defined() ? at::mm(crop, matrix.t()) : crop).view({w.size(0), 1, k, k});
  }
  return w;
}

void Execution::conv_weight_back(std::size_t i, at::Tensor gradient) {
  const Layer& l = network_.layers[i];
  std::vector<at::Tensor> crops;
  if (is_depthwise(l) && weights_.kernel_transform()) conv_weight(i, &crops);
  if (crops.empty()) return give(i, Part::weight, std::move(gradient));
  const std::vector<int>& sizes = weights_.kernel_sizes(l.site);
  for (std::size_t s = crops.size(); s-- > 0;) {
    at::Tensor flat = gradient.reshape({gradient.size(0), gradient.size(2) * gradient.size(3)});
    if (s < 2) {
      const Part part = s == 0 ? Part::transform : Part::transform_second;
      give(i, part, at::mm(flat.t(), crops[s]));
      flat = at::mm(flat, parameter(i, part));
    }
    const std::int64_t small = sizes[sizes.size() - 2 - s], large = sizes[sizes.size() - 1 - s];
    at::Tensor wide = at::zeros({gradient.size(0), 1, large, large}, gradient.options());
    centre(wide, small).copy_(flat.view({gradient.size(0), 1, small, small}));
    gradient = wide;
  }
  give(i, Part::weight, gradient);
}

at::Tensor Execution::active_weight(std::size_t layer, Part part) const {
  const bool kernel = network_.layers[layer].kind == LayerKind::conv && part == Part::weight;
  return kernel ? conv_weight(layer, nullptr) : parameter(layer, part);
}

at::Tensor Execution::norm_forward(std::size_t i, Activation act) {
  const at::Tensor& x = values_[static_cast<std::size_t>(network_.layers[i].inputs[0])];
  Moments m;
  if (options_.mode == NormMode::fixed) {
    m = options_.fixed->of[i];
  } else {
    m = batch_moments(x, weights_.batch_norm_epsilon());
    if (options_.mode == NormMode::record) {
      recorded_.of[i] = m;
      recorded_.rows[i] = x.numel() / x.size(3);
    }
  }
  if (options_.keep) saved_[i].moments = m;
  return norm_act_forward(x, parameter(i, Part::scale), parameter(i, Part::shift), m, act);
}

void Execution::norm_backward(std::size_t i, Activation act, const at::Tensor& gy) {
  const std::int32_t from = network_.layers[i].inputs[0];
  const NormGradients g = norm_act_backward(values_[static_cast<std::size_t>(from)],
                                            parameter(i, Part::scale), parameter(i, Part::shift),
                                            saved_[i].moments, act, gy, options_.mode != NormMode::fixed);
  give(i, Part::scale, g.scale);
  give(i, Part::shift, g.shift);
  add_grad(from, g.x);
}

at::Tensor Execution::squeeze_forward(std::size_t i) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  const at::Tensor pooled = mean_positions(x);
  const at::Tensor hidden =
      act_forward(linear_forward(pooled, parameter(i, Part::reduce_weight), parameter(i, Part::reduce_bias)),
                  Activation::relu);
  const at::Tensor before =
      linear_forward(hidden, parameter(i, Part::expand_weight), parameter(i, Part::expand_bias));
  const at::Tensor gate = act_forward(before, l.activation);
  if (options_.keep) saved_[i].tensors = {pooled, hidden, before, gate};
  return scale_positions(x, gate, {});
}

void Execution::squeeze_backward(std::size_t i, const at::Tensor& gy) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  const auto& [pooled, hidden, before, gate] =
      std::tie(saved_[i].tensors[0], saved_[i].tensors[1], saved_[i].tensors[2], saved_[i].tensors[3]);
  const at::Tensor g_before = act_backward(before, l.activation, sum_positions(x, gy));
  const LinearGradients e = linear_backward(hidden, parameter(i, Part::expand_weight), g_before, true);
  const LinearGradients r = linear_backward(pooled, parameter(i, Part::reduce_weight),
                                            act_backward(hidden, Activation::relu, e.x), true);
  give(i, Part::expand_weight, e.w);
  give(i, Part::expand_bias, e.b);
  give(i, Part::reduce_weight, r.w);
  give(i, Part::reduce_bias, r.b);
  add_grad(l.inputs[0], scale_positions(gy, gate, r.x / static_cast<double>(x.size(1) * x.size(2))));
}

// Average pooling divides by the number of positions inside the image (padding is not counted).
at::Tensor Execution::pool_forward(std::size_t i) {
  const Layer& l = network_.layers[i];
  const at::Tensor x = nchw(values_[static_cast<std::size_t>(l.inputs[0])]);
  const at::IntArrayRef kernel{l.kernel, l.kernel};
  if (l.kind == LayerKind::avg_pool)
    return nhwc(at::avg_pool2d(x, {l.kernel, l.kernel}, {l.stride, l.stride}, {l.padding, l.padding},
                               ceil_mode(l), false));
  const auto y =
      at::max_pool2d_with_indices(x, {l.kernel, l.kernel}, {l.stride, l.stride}, {l.padding, l.padding});
  if (options_.keep) saved_[i].tensors = {std::get<1>(y)};
  return nhwc(std::get<0>(y));
}

at::Tensor Execution::pool_backward(std::size_t i, const at::Tensor& gy) {
  const Layer& l = network_.layers[i];
  const at::Tensor x = nchw(values_[static_cast<std::size_t>(l.inputs[0])]);
  if (l.kind == LayerKind::avg_pool)
    return nhwc(at::avg_pool2d_backward(nchw(gy), x, {l.kernel, l.kernel}, {l.stride, l.stride},
                                        {l.padding, l.padding}, ceil_mode(l), false, c10::nullopt));
  return nhwc(at::max_pool2d_with_indices_backward(nchw(gy), x, {l.kernel, l.kernel}, {l.stride, l.stride},
                                                   {l.padding, l.padding}, {1, 1}, false,
                                                   saved_[i].tensors[0]));
}

at::Tensor Execution::linear_with_dropout(std::size_t i) {
  const Layer& l = network_.layers[i];
  at::Tensor x = values_[static_cast<std::size_t>(l.inputs[0])];
  if (options_.dropout > 0 && l.site.role == Role::classifier) {
    at::Tensor mask = at::empty(x.sizes(), at::kFloat);
    Rng rng(options_.dropout_key, "dropout", i);
    const auto kept = static_cast<float>(1.0 / (1.0 - options_.dropout));
    for (std::int64_t k = 0; k < mask.numel(); ++k)
      mask.data_ptr<float>()[k] = rng.chance(options_.dropout) ? 0.0F : kept;
    mask = mask.to(x.device());
    x = x * mask;
    if (options_.keep) saved_[i].tensors = {x, mask};
  }
  return linear_forward(x, parameter(i, Part::weight), l.bias ? parameter(i, Part::bias) : at::Tensor());
}

at::Tensor Execution::embed_forward(std::size_t i) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  if (l.kind == LayerKind::patch_embed) {
    at::Tensor y = conv_forward(x, parameter(i, Part::weight), geometry(l));
    y = y.view({y.size(0), y.size(1) * y.size(2), 1, y.size(3)});
    return l.bias ? y.add_(parameter(i, Part::bias)) : y;
  }
  const at::Tensor table = parameter(i, Part::table).unsqueeze(1);  // [T, 1, D]
  if (l.out.height == l.in.height) return x + table;
  const at::Tensor token = parameter(i, Part::class_token).view({1, 1, 1, l.out.channels});
  return at::cat({token.expand({x.size(0), 1, 1, l.out.channels}), x}, 1) + table;
}

void Execution::embed_backward(std::size_t i, const at::Tensor& gy) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  if (l.kind == LayerKind::positional) {
    give(i, Part::table, gy.sum(0).view({l.out.height, l.out.channels}));
    if (l.out.height == l.in.height) return add_grad(l.inputs[0], gy);
    give(i, Part::class_token, gy.select(1, 0).sum(at::IntArrayRef{0, 1}));
    return add_grad(l.inputs[0], gy.narrow(1, 1, l.in.height).contiguous());
  }
  const std::int64_t side = (l.in.height + 2 * l.padding - l.kernel) / l.stride + 1;
  const at::Tensor map = gy.view({gy.size(0), side, gy.size(1) / side, gy.size(3)});
  const ConvGradients g =
      conv_backward(x, parameter(i, Part::weight), map, geometry(l), l.inputs[0] > 0 || want_input_gradient);
  give(i, Part::weight, g.w);
  if (l.bias) give(i, Part::bias, gy.sum(at::IntArrayRef{0, 1, 2}));
  add_grad(l.inputs[0], g.x);
}

at::Tensor Execution::attention_forward(std::size_t i) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  const at::Tensor& source = l.inputs[1] >= 0 ? values_[static_cast<std::size_t>(l.inputs[1])] : x;
  const auto project = [&](const at::Tensor& from, Part weight, Part bias) {
    return linear_forward(from, parameter(i, weight), l.bias ? parameter(i, bias) : at::Tensor());
  };
  const at::Tensor q = split_heads(project(x, Part::query_weight, Part::query_bias), l.heads);
  const at::Tensor k = split_heads(project(source, Part::key_weight, Part::key_bias), l.heads);
  const at::Tensor v = split_heads(project(source, Part::value_weight, Part::value_bias), l.heads);
  const double scale = 1.0 / std::sqrt(static_cast<double>(l.hidden / l.heads));
  const at::Tensor weight = at::softmax(at::matmul(q, k.transpose(2, 3)) * scale, -1);
  const at::Tensor merged = merge_heads(at::matmul(weight, v));
  if (options_.keep) saved_[i].tensors = {q, k, v, weight, merged};
  return project(merged, Part::project_weight, Part::project_bias);
}

void Execution::attention_backward(std::size_t i, const at::Tensor& gy) {
  const Layer& l = network_.layers[i];
  const std::int32_t source = l.inputs[1] >= 0 ? l.inputs[1] : l.inputs[0];
  const auto& s = saved_[i].tensors;
  const auto& [q, k, v, weight, merged] = std::tie(s[0], s[1], s[2], s[3], s[4]);
  const auto back = [&](const at::Tensor& in, const at::Tensor& g, Part w, Part b) {
    const LinearGradients lg = linear_backward(in, parameter(i, w), g, l.bias);
    give(i, w, lg.w);
    if (l.bias) give(i, b, lg.b);
    return lg.x;
  };
  const at::Tensor g_heads = split_heads(back(merged, gy, Part::project_weight, Part::project_bias), l.heads);
  const at::Tensor gv = at::matmul(weight.transpose(2, 3), g_heads);
  const at::Tensor gw = at::matmul(g_heads, v.transpose(2, 3));
  const double scale = 1.0 / std::sqrt(static_cast<double>(l.hidden / l.heads));
  const at::Tensor logits = weight * (gw - (gw * weight).sum(-1, true)) * scale;
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  const at::Tensor& from = values_[static_cast<std::size_t>(source)];
  add_grad(l.inputs[0], back(x, merge_heads(at::matmul(logits, k)), Part::query_weight, Part::query_bias));
  add_grad(source,
           back(from, merge_heads(at::matmul(logits.transpose(2, 3), q)), Part::key_weight, Part::key_bias));
  add_grad(source, back(from, merge_heads(gv), Part::value_weight, Part::value_bias));
}

}  // namespace nas::supernet
