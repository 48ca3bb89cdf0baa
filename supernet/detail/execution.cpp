#include "supernet/detail/execution.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace nas::supernet {

Execution::Execution(const WeightTable& weights, const Network& network, const ExecutionOptions& options)
    : weights_(weights), network_(network), options_(options) {
  const std::size_t n = network.layers.size();
  uses_.assign(n, 0);
  last_.assign(n, 0);
  stretch_ = options.keep && options.recompute
                 ? static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(n))))
                 : n;
  fused_.assign(n, 0);
  values_.resize(n);
  saved_.resize(n);
  recorded_.of.resize(n);
  recorded_.rows.assign(n, 0);
  for (std::size_t i = 0; i < n; ++i)
    for (const std::int32_t from : network.layers[i].inputs)
      if (from >= 0) {
        ++uses_[static_cast<std::size_t>(from)];
        last_[static_cast<std::size_t>(from)] = i;
      }
  for (std::size_t i = 1; i < n; ++i) {
    const Layer& l = network.layers[i];
    if (l.kind != LayerKind::activation) continue;
    const auto from = static_cast<std::size_t>(l.inputs[0]);
    if (network.layers[from].kind == LayerKind::batch_norm && uses_[from] == 1) fused_[i] = 1;
  }
}

at::Tensor Execution::parameter(std::size_t layer, Part part) const {
  const Layer& l = network_.layers[layer];
  const ParameterKey key{l.site, l.kind, part};
  const int at = weights_.find(key);
  assert(at >= 0);
  for (const PartShape& p : parts_of(l))
    if (p.part == part)
      return slice(weights_.parameters()[static_cast<std::size_t>(at)].value, p.shape, crops_centre(key));
  return weights_.parameters()[static_cast<std::size_t>(at)].value;  // kernel transforms are used whole
}

void Execution::give(std::size_t layer, Part part, at::Tensor gradient) {
  const Layer& l = network_.layers[layer];
  at::Tensor& slot = (*gradients_)[static_cast<std::size_t>(weights_.find({l.site, l.kind, part}))];
  // Two layers of one network may share a site (weights used twice): their gradients add up.
  if (slot.defined())
    slot = slot + gradient;
  else
    slot = std::move(gradient);
}

void Execution::add_grad(std::int32_t layer, const at::Tensor& grad) {
  if (layer < 0 || !grad.defined()) return;
  at::Tensor& slot = grads_[static_cast<std::size_t>(layer)];
  slot = slot.defined() ? slot + grad : grad;
}

ConvGeometry Execution::geometry(const Layer& l) const {
  return {l.stride, l.padding, l.groups, options_.bf16};
}

at::Tensor Execution::forward(const at::Tensor& x) {
  values_[0] = x;
  std::vector<int> left = uses_;
  for (std::size_t i = 1; i < network_.layers.size(); ++i) {
    values_[i] = run(i);
    if (ends_stretch(i)) forget_stretch(i);
    if (options_.keep) continue;
    for (const std::int32_t from : network_.layers[i].inputs)
      if (from >= 0 && --left[static_cast<std::size_t>(from)] == 0)
        values_[static_cast<std::size_t>(from)] = at::Tensor();
  }
  const at::Tensor& out = values_.back();
  return out.dim() == 4 && out.size(1) * out.size(2) == 1 ? out.view({out.size(0), out.size(3)}) : out;
}

void Execution::forget_stretch(std::size_t i) {
  for (std::size_t j = std::max<std::size_t>(1, i + 1 - stretch_); j <= i; ++j) {
    saved_[j] = Saved();
    if (last_[j] <= i) values_[j] = at::Tensor();
  }
}

void Execution::remake_stretch(std::size_t i) {
  for (std::size_t j = std::max<std::size_t>(1, i + 1 - stretch_); j <= i; ++j) values_[j] = run(j);
}

at::Tensor Execution::continue_from(const std::vector<at::Tensor>& before, std::size_t begin,
                                    std::size_t end) {
  std::copy_n(before.begin(), begin, values_.begin());
  for (std::size_t i = begin; i < end; ++i) values_[i] = run(i);
  return values_[end - 1];
}

void Execution::backward(const at::Tensor& grad_output, Gradients& gradients) {
  if (gradients.empty()) gradients.resize(weights_.parameters().size());
  gradients_ = &gradients;
  grads_.assign(network_.layers.size(), {});
  grads_.back() = grad_output.view(values_.back().sizes()).contiguous();
  for (std::size_t i = network_.layers.size() - 1; i > 0; --i) {
    if (ends_stretch(i)) remake_stretch(i);
    const at::Tensor gy = std::move(grads_[i]);
    grads_[i] = at::Tensor();
    if (gy.defined()) {
      if (watch) watch(i, gy);
      run_back(i, gy);
    }
    if (after) after(i);
    values_[i] = at::Tensor();
    saved_[i] = Saved();
  }
  gradients_ = nullptr;
}

at::Tensor Execution::run(std::size_t i) {
  const Layer& l = network_.layers[i];
  const auto input = [&](int k) -> const at::Tensor& {
    return values_[static_cast<std::size_t>(l.inputs[static_cast<std::size_t>(k)])];
  };
  const at::Tensor& x = input(0);
  switch (l.kind) {
    case LayerKind::input:
      return x;
    case LayerKind::conv: {
      at::Tensor y = conv_forward(x, conv_weight(i, nullptr), geometry(l));
      return l.bias ? y.add_(parameter(i, Part::bias)) : y;
    }
    case LayerKind::batch_norm: {
      const bool fuse = i + 1 < network_.layers.size() && fused_[i + 1] &&
                        network_.layers[i + 1].inputs[0] == static_cast<std::int32_t>(i);
      return norm_forward(i, fuse ? network_.layers[i + 1].activation : Activation::none);
    }
    case LayerKind::activation:
      return fused_[i] && l.inputs[0] + 1 == static_cast<std::int32_t>(i) ? x : act_forward(x, l.activation);
    case LayerKind::squeeze_excite:
      return squeeze_forward(i);
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
      return pool_forward(i);
    case LayerKind::global_pool:
      return mean_positions(x).unsqueeze(1).unsqueeze(1);
    case LayerKind::linear:
      return linear_with_dropout(i);
    case LayerKind::add:
      return x + input(1);
    case LayerKind::concat:
      return at::cat({x, input(1)}, l.out.channels == l.in.channels ? 1 : 3);
    case LayerKind::zero:
      return at::zeros({x.size(0), l.out.height, l.out.width, l.out.channels}, x.options());
    case LayerKind::patch_embed:
    case LayerKind::positional:
      return embed_forward(i);
    case LayerKind::layer_norm: {
      const auto y = at::native_layer_norm(x, {x.size(3)}, parameter(i, Part::scale),
                                           parameter(i, Part::shift), kLayerNormEpsilon);
      if (options_.keep) saved_[i].tensors = {std::get<1>(y), std::get<2>(y)};
      return std::get<0>(y);
    }
    case LayerKind::embedding:
      return at::embedding(parameter(i, Part::table), x.squeeze(-1).to(at::kLong));
    case LayerKind::attention:
      return attention_forward(i);
  }
  return x;
}

void Execution::run_back(std::size_t i, const at::Tensor& gy) {
  const Layer& l = network_.layers[i];
  const at::Tensor& x = values_[static_cast<std::size_t>(l.inputs[0])];
  switch (l.kind) {
    case LayerKind::input:
      return;
    case LayerKind::conv: {
      const bool need_x = l.inputs[0] > 0 || want_input_gradient;
      const ConvGradients g = conv_backward(x, conv_weight(i, nullptr), gy, geometry(l), need_x);
      conv_weight_back(i, g.w);
      if (l.bias) give(i, Part::bias, gy.sum(at::IntArrayRef{0, 1, 2}));
      return add_grad(l.inputs[0], g.x);
    }
    case LayerKind::batch_norm: {
      const bool fuse = i + 1 < network_.layers.size() && fused_[i + 1] &&
                        network_.layers[i + 1].inputs[0] == static_cast<std::int32_t>(i);
      return norm_backward(i, fuse ? network_.layers[i + 1].activation : Activation::none, gy);
    }
    case LayerKind::activation:
      return add_grad(l.inputs[0], fused_[i] && l.inputs[0] + 1 == static_cast<std::int32_t>(i)
                                       ? gy
                                       : act_backward(x, l.activation, gy));
    case LayerKind::squeeze_excite:
      return squeeze_backward(i, gy);
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
      return add_grad(l.inputs[0], pool_backward(i, gy));
    case LayerKind::global_pool:
      return add_grad(l.inputs[0], spread_positions(gy.view({gy.size(0), gy.size(3)}) /
                                                        static_cast<double>(x.size(1) * x.size(2)),
                                                    x.size(1), x.size(2)));
    case LayerKind::linear: {
      const at::Tensor in = saved_[i].tensors.empty() ? x : saved_[i].tensors[0];
      const LinearGradients g = linear_backward(in, parameter(i, Part::weight), gy, l.bias);
      give(i, Part::weight, g.w);
      if (l.bias) give(i, Part::bias, g.b);
      return add_grad(l.inputs[0], saved_[i].tensors.empty() ? g.x : g.x * saved_[i].tensors[1]);
    }
    case LayerKind::add:
      add_grad(l.inputs[0], gy);
      return add_grad(l.inputs[1], gy);
    case LayerKind::concat: {
      const std::int64_t dim = l.out.channels == l.in.channels ? 1 : 3, first = x.size(dim);
      add_grad(l.inputs[0], gy.narrow(dim, 0, first).contiguous());
      return add_grad(l.inputs[1], gy.narrow(dim, first, gy.size(dim) - first).contiguous());
    }
    case LayerKind::zero:
      return;
    case LayerKind::patch_embed:
    case LayerKind::positional:
      return embed_backward(i, gy);
    case LayerKind::layer_norm: {
      const auto g = at::native_layer_norm_backward(gy, x, {x.size(3)}, saved_[i].tensors[0],
                                                    saved_[i].tensors[1], parameter(i, Part::scale),
                                                    parameter(i, Part::shift), {true, true, true});
      give(i, Part::scale, std::get<1>(g));
      give(i, Part::shift, std::get<2>(g));
      return add_grad(l.inputs[0], std::get<0>(g));
    }
    case LayerKind::embedding:
      return give(i, Part::table,
                  at::embedding_dense_backward(gy, x.squeeze(-1).to(at::kLong), l.hidden, -1, false));
    case LayerKind::attention:
      return attention_backward(i, gy);
  }
}

}  // namespace nas::supernet
