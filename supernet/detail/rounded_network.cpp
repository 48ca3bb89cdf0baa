#include "supernet/detail/rounded_network.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "supernet/detail/ops.h"

namespace nas::supernet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Bounds {
  double low, high;
};

// Rows of x with their steps; a single step makes one row of everything.
struct Rows {
  std::int64_t count, length;
};
Rows rows_of(const at::Tensor& x, const at::Tensor& step) { return {step.numel(), x.numel() / step.numel()}; }

template <class T>
void round_forward(const at::Tensor& x, const at::Tensor& step, Bounds b, const at::Tensor& given,
                   at::Tensor& y, at::Tensor* offsets) {
  const Rows rows = rows_of(x, step);
  const T *from = x.data_ptr<T>(), *s = step.data_ptr<T>();
  const T* fixed = given.defined() ? given.data_ptr<T>() : nullptr;
  T *to = y.data_ptr<T>(), *keep = offsets ? offsets->data_ptr<T>() : nullptr;
  const T low = static_cast<T>(b.low), high = static_cast<T>(b.high);
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T inverse = 1 / s[r];
    for (std::int64_t i = r * rows.length; i < (r + 1) * rows.length; ++i) {
      const T v = std::min(std::max(from[i] * inverse, low), high);
      const T q = fixed ? v + fixed[i] : std::rint(v);
      if (keep) keep[i] = q - v;
      to[i] = s[r] * q;
    }
  }
}

template <class T>
void round_backward(const at::Tensor& x, const at::Tensor& step, const at::Tensor& gy, Bounds b,
                    const at::Tensor& given, at::Tensor& gx, at::Tensor& gs) {
  const Rows rows = rows_of(x, step);
  const T *from = x.data_ptr<T>(), *s = step.data_ptr<T>(), *g = gy.data_ptr<T>();
  const T* fixed = given.defined() ? given.data_ptr<T>() : nullptr;
  T *to = gx.data_ptr<T>(), *sums = gs.data_ptr<T>();
  const T low = static_cast<T>(b.low), high = static_cast<T>(b.high);
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T inverse = 1 / s[r];
    double sum = 0;
    for (std::int64_t i = r * rows.length; i < (r + 1) * rows.length; ++i) {
      const T v = from[i] * inverse, clipped = std::min(std::max(v, low), high);
      const bool inside = v >= low && v <= high;
      const T offset = fixed ? fixed[i] : std::rint(clipped) - clipped;
      to[i] = inside ? g[i] : T{0};
      // d/ds of s * (clip(x / s) + offset)
      sum += static_cast<double>(g[i]) * static_cast<double>(inside ? offset : clipped + offset);
    }
    sums[r] = static_cast<T>(sum);
  }
}

struct RoundFunction : Function<RoundFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& step, double low,
                            double high, const at::Tensor* fixed, at::Tensor* keep) {
    const at::Tensor dense = x.contiguous(), s = step.contiguous();
    at::Tensor y = at::empty(dense.sizes(), dense.options());
    const at::Tensor given = fixed ? *fixed : at::Tensor();
    if (x.scalar_type() == at::kDouble)
      round_forward<double>(dense, s, {low, high}, given, y, keep);
    else
      round_forward<float>(dense, s, {low, high}, given, y, keep);
    context->save_for_backward({dense, s, given});
    context->saved_data["low"] = low;
    context->saved_data["high"] = high;
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Bounds b{context->saved_data["low"].toDouble(), context->saved_data["high"].toDouble()};
    const at::Tensor gy = grads[0].contiguous();
    at::Tensor gx = at::empty(saved[0].sizes(), saved[0].options());
    at::Tensor gs = at::empty(saved[1].sizes(), saved[1].options());
    if (gy.scalar_type() == at::kDouble)
      round_backward<double>(saved[0], saved[1], gy, b, saved[2], gx, gs);
    else
      round_backward<float>(saved[0], saved[1], gy, b, saved[2], gx, gs);
    return {gx, gs, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct ConvFunction : Function<ConvFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w,
                            std::int64_t stride, std::int64_t padding, std::int64_t groups) {
    context->save_for_backward({x, w});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["groups"] = groups;
    return conv_forward(x, w, {stride, padding, groups});
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const ConvGeometry g{context->saved_data["stride"].toInt(), context->saved_data["padding"].toInt(),
                         context->saved_data["groups"].toInt()};
    const ConvGradients found = conv_backward(saved[0], saved[1], grads[0].contiguous(), g, true);
    return {found.x, found.w, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct ActivationFunction : Function<ActivationFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t activation) {
    context->save_for_backward({x});
    context->saved_data["activation"] = activation;
    return act_forward(x, static_cast<Activation>(activation));
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    return {act_backward(context->get_saved_variables()[0], activation, grads[0].contiguous()), at::Tensor()};
  }
};

std::int64_t channels_of(const DeployedOp& op) { return op.out.channels; }

// OHWI, HWC or OI to LibTorch's [O, I, k, k].
at::Tensor to_torch(const DeployedOp& op, const at::Tensor& values) {
  const std::int64_t k = op.kernel, o = channels_of(op), i = op.in.channels;
  if (op.kind == DeployedKind::depthwise)
    return values.view({k, k, o}).permute({2, 0, 1}).unsqueeze(1).contiguous();
  if (op.kind == DeployedKind::conv) return values.view({o, k, k, i}).permute({0, 3, 1, 2}).contiguous();
  return values.view({o, op.in.height, op.in.width, i}).permute({0, 3, 1, 2}).contiguous();
}
at::Tensor from_torch(const DeployedOp& op, const at::Tensor& w) {
  if (op.kind == DeployedKind::depthwise) return w.squeeze(1).permute({1, 2, 0}).contiguous().flatten();
  return w.permute({0, 2, 3, 1}).contiguous().flatten();
}

at::Tensor column(const std::vector<float>& values) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat);
}
at::Tensor scalar(double value) { return at::full({1}, value, at::kFloat); }

bool has_weights(const DeployedOp& op) { return op.part != DeployedPart::none; }
bool has_before(const Deployment& deployment, std::size_t op) { return before_has_choice(deployment, op); }

// The offsets of one rounding: fixed ones, a place to write them, or neither.
struct OffsetUse {
  at::Tensor given, written;
};
OffsetUse use_offsets(RoundedNetwork::Offsets* offsets, const at::Tensor& x) {
  if (!offsets) return {};
  if (offsets->next < offsets->of.size()) return {offsets->of[offsets->next++], {}};
  offsets->of.push_back(at::empty(x.sizes(), x.options().requires_grad(false)));
  return {{}, offsets->of[offsets->next++]};
}

at::Tensor round_with(const at::Tensor& x, const at::Tensor& step, double low, double high,
                      RoundedNetwork::Offsets* offsets) {
  OffsetUse use = use_offsets(offsets, x);
  return RoundFunction::apply(x, step, low, high, use.given.defined() ? &use.given : nullptr,
                              use.written.defined() ? &use.written : nullptr);
}

// Adds a difference that counts as constant.
at::Tensor plus_constant(const at::Tensor& x, const at::Tensor& rounded, RoundedNetwork::Offsets* offsets) {
  const OffsetUse use = use_offsets(offsets, x);
  if (use.given.defined()) return x + use.given;
  const at::Tensor difference = (rounded - x).detach();
  if (use.written.defined()) use.written.copy_(difference);
  return x + difference;
}

}  // namespace

at::Tensor round_to_steps(const at::Tensor& x, const at::Tensor& step, double low, double high,
                          at::Tensor* offsets) {
  const at::Tensor* fixed = offsets && offsets->defined() ? offsets : nullptr;
  if (offsets && !fixed) *offsets = at::empty(x.sizes(), x.options().requires_grad(false));
  return RoundFunction::apply(x, step, low, high, fixed, fixed ? nullptr : offsets);
}

RoundedNetwork::Slot RoundedNetwork::add(const std::string& name, const at::Tensor& value,
                                         const at::Tensor& unit) {
  Parameter p;
  p.name = name;
  p.shape = value.sizes().vec();
  p.value = value.contiguous();
  p.decay = false;
  table_.parameters().push_back(std::move(p));
  return {static_cast<int>(table_.parameters().size()) - 1, unit};
}

RoundedNetwork::RoundedNetwork(const FoldedNetwork& folded, const QuantizedNetwork& start)
    : start_(start), table_(false, 0) {
  const Deployment& d = start.deployment;
  const std::size_t ops = d.ops.size();
  weight_.resize(ops);
  weight_step_.resize(ops);
  bias_.resize(ops);
  for (std::size_t t = 0; t <= ops; ++t) {
    const bool pool = t > 0 && (d.ops[t - 1].kind == DeployedKind::average_pool ||
                                d.ops[t - 1].kind == DeployedKind::max_pool);
    owner_.push_back(pool ? owner_[static_cast<std::size_t>(d.ops[t - 1].inputs[0])] : t);
    const at::Tensor unit = scalar(start.tensors[t].scale);
    grid_.push_back(tensor_has_choice(d, t) ? add("tensor" + std::to_string(t), at::zeros({1}), unit)
                                            : Slot{-1, unit});
  }
  for (std::size_t i = 0; i < ops; ++i) {
    const std::string name = "op" + std::to_string(i);
    const at::Tensor unit = scalar(start.before[i].scale);
    grid_.push_back(has_before(d, i) ? add(name + ".before", at::zeros({1}), unit) : Slot{-1, unit});
    if (!has_weights(d.ops[i])) continue;
    std::vector<float> steps(start.weights[i].scales.begin(), start.weights[i].scales.end());
    const at::Tensor unit_w = column(steps);
    // Below 8 bits in steps as they would be at 4: in those of 8 bits few weights reach another code in a
    // short training, and a step of 2 bits is too long a stride for one learning rate.
    const std::int32_t bits = d.ops[i].weight_bits;
    const double stride_top = largest_code(std::max(bits, 4));
    const at::Tensor stride = (unit_w * (largest_code(bits) / stride_top)).view({-1, 1, 1, 1});
    const at::Tensor w = to_torch(d.ops[i], column(folded.weights[i].values)) / stride;
    weight_[i] = add(name + ".weight", w, stride);
    weight_step_[i] = add(name + ".step", at::zeros({channels_of(d.ops[i])}), unit_w);
    bias_[i] = add(name + ".bias", column(folded.weights[i].bias) / unit, unit);
  }
}

std::vector<at::Tensor> RoundedNetwork::leaves(at::ScalarType type) const {
  std::vector<at::Tensor> leaves;
  for (const Parameter& p : table_.parameters())
    leaves.push_back(p.value.detach().to(type).set_requires_grad(true));
  return leaves;
}

at::Tensor RoundedNetwork::step_of(const Slot& slot, const std::vector<at::Tensor>& leaves) const {
  if (slot.parameter < 0) return slot.unit.to(leaves.front().scalar_type());
  const at::Tensor& leaf = leaves[static_cast<std::size_t>(slot.parameter)];
  return slot.unit.to(leaf.scalar_type()) * (leaf / 100).exp();
}

at::Tensor RoundedNetwork::round_weights(std::size_t op, const std::vector<at::Tensor>& leaves,
                                         Offsets* offsets) const {
  const at::Tensor& leaf = leaves[static_cast<std::size_t>(weight_[op].parameter)];
  const at::Tensor w = leaf * weight_[op].unit.to(leaf.scalar_type());
  const double top = largest_code(start_.deployment.ops[op].weight_bits);
  return round_with(w, step_of(weight_step_[op], leaves), -top, top, offsets);
}

at::Tensor RoundedNetwork::round_bias(std::size_t op, const std::vector<at::Tensor>& leaves,
                                      Offsets* offsets) const {
  const at::Tensor& leaf = leaves[static_cast<std::size_t>(bias_[op].parameter)];
  const at::Tensor bias = leaf * bias_[op].unit.to(leaf.scalar_type());
  const auto input = static_cast<std::size_t>(start_.deployment.ops[op].inputs[0]);
  const at::Tensor step =
      (step_of(grid_[owner_[input]], leaves) * step_of(weight_step_[op], leaves)).detach();
  return plus_constant(bias, (bias / step).round() * step, offsets);
}

at::Tensor RoundedNetwork::round_tensor(const at::Tensor& x, std::size_t grid, const Quantization& q,
                                        const std::vector<at::Tensor>& leaves, Offsets* offsets) const {
  return round_with(x, step_of(grid_[grid], leaves), q.low() - q.zero, q.high() - q.zero, offsets);
}

at::Tensor RoundedNetwork::apply(std::size_t i, const std::vector<at::Tensor>& tensors,
                                 const std::vector<at::Tensor>& leaves, bool rounded,
                                 Offsets* offsets) const {
  const DeployedOp& op = start_.deployment.ops[i];
  const at::Tensor& x = tensors[static_cast<std::size_t>(op.inputs[0])];
  if (has_weights(op)) {
    at::Tensor w, bias;
    if (rounded) {
      w = round_weights(i, leaves, offsets);
      bias = round_bias(i, leaves, offsets);
    } else {
      const auto real = [&](const Slot& slot) {
        const at::Tensor& leaf = leaves[static_cast<std::size_t>(slot.parameter)];
        return leaf * slot.unit.to(leaf.scalar_type());
      };
      w = real(weight_[i]);
      bias = real(bias_[i]);
    }
    const std::int64_t groups = op.kind == DeployedKind::depthwise ? op.in.channels : 1;
    const bool whole = op.kind == DeployedKind::fully_connected;
    return ConvFunction::apply(x, w, whole ? 1 : op.stride, whole ? 0 : op.padding, groups) + bias;
  }
  const auto planes = [](const at::Tensor& t) { return t.permute({0, 3, 1, 2}); };
  const auto pixels = [](const at::Tensor& t) { return t.permute({0, 2, 3, 1}).contiguous(); };
  switch (op.kind) {
    case DeployedKind::add:
      return x + tensors[static_cast<std::size_t>(op.inputs[1])];
    case DeployedKind::scale_channels:
      return x * tensors[static_cast<std::size_t>(op.inputs[1])];
    case DeployedKind::average_pool:
      if (op.kernel == 0) return x.mean(at::IntArrayRef{1, 2}, true);
      return pixels(at::avg_pool2d(planes(x), {op.kernel, op.kernel}, {op.stride, op.stride}));
    case DeployedKind::max_pool: {
      const bool ceil = op.out.height > (op.in.height + 2 * op.padding - op.kernel) / op.stride + 1;
      return pixels(at::max_pool2d(planes(x), {op.kernel, op.kernel}, {op.stride, op.stride},
                                   {op.padding, op.padding}, {1, 1}, ceil));
    }
    default:
      return x;
  }
}

// Rounding and activation after an operation, in the integer code's order.
at::Tensor RoundedNetwork::finish(std::size_t i, at::Tensor y, const std::vector<at::Tensor>& leaves,
                                  Offsets* offsets) const {
  const DeployedOp& op = start_.deployment.ops[i];
  if (op.kind == DeployedKind::max_pool) return y;
  if (op.kind == DeployedKind::average_pool) {
    // Integer code averages steps and rounds ties to an even number of them.
    const double n = op.kernel == 0 ? op.in.height * op.in.width : op.kernel * op.kernel;
    const at::Tensor step = step_of(grid_[owner_[i + 1]], leaves).detach();
    const at::Tensor mean = (y.detach() / step * n).round() / n;
    return plus_constant(y, mean.round() * step, offsets);
  }
  if (has_before(start_.deployment, i))
    y = round_tensor(y, start_.tensors.size() + i, start_.before[i], leaves, offsets);
  if (op.activation != Activation::none)
    y = ActivationFunction::apply(y.contiguous(), static_cast<std::int64_t>(op.activation));
  return round_tensor(y, i + 1, start_.tensors[i + 1], leaves, offsets);
}

at::Tensor RoundedNetwork::forward(const at::Tensor& images, const std::vector<at::Tensor>& leaves,
                                   bool rounded, Offsets* offsets) const {
  const std::vector<DeployedOp>& ops = start_.deployment.ops;
  std::vector<at::Tensor> tensors(ops.size() + 1);
  const std::vector<std::size_t> last_use = last_uses(start_.deployment);
  tensors[0] = rounded ? round_tensor(images, 0, start_.tensors[0], leaves, offsets) : images;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    at::Tensor y = apply(i, tensors, leaves, rounded, offsets);
    if (rounded)
      y = finish(i, y, leaves, offsets);
    else if (ops[i].activation != Activation::none)
      y = ActivationFunction::apply(y.contiguous(), static_cast<std::int64_t>(ops[i].activation));
    tensors[i + 1] = y;
    for (const std::int32_t t : ops[i].inputs)
      if (t >= 0 && last_use[static_cast<std::size_t>(t)] == i)
        tensors[static_cast<std::size_t>(t)] = at::Tensor();
  }
  return tensors.back().flatten(1);
}

FoldedNetwork RoundedNetwork::real(const std::vector<at::Tensor>& leaves) const {
  const at::NoGradGuard no_grad;
  FoldedNetwork folded{start_.deployment, std::vector<FoldedWeights>(start_.deployment.ops.size())};
  const auto values = [](const at::Tensor& t) {
    const at::Tensor flat = t.contiguous().flatten();
    return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  };
  for (std::size_t i = 0; i < folded.weights.size(); ++i) {
    if (!has_weights(folded.deployment.ops[i])) continue;
    const auto leaf = [&](const Slot& slot) {
      return leaves[static_cast<std::size_t>(slot.parameter)].detach();
    };
    folded.weights[i].values =
        values(from_torch(folded.deployment.ops[i], leaf(weight_[i]) * weight_[i].unit));
    folded.weights[i].bias = values(leaf(bias_[i]) * bias_[i].unit);
  }
  return folded;
}

QuantizedNetwork RoundedNetwork::integer() const {
  const c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> now = leaves();
  const auto step = [&](std::size_t grid) {
    return static_cast<double>(step_of(grid_[grid], now).item<float>());
  };
  QuantizedNetwork q = start_;
  for (std::size_t t = 0; t < q.tensors.size(); ++t) q.tensors[t].scale = step(owner_[t]);
  for (std::size_t i = 0; i < q.before.size(); ++i) {
    q.before[i].scale = has_before(q.deployment, i) ? step(q.tensors.size() + i) : q.tensors[i + 1].scale;
    if (!has_weights(q.deployment.ops[i])) continue;
    const at::Tensor steps = step_of(weight_step_[i], now);
    const at::Tensor integers =
        from_torch(q.deployment.ops[i], (round_weights(i, now, nullptr) / steps.view({-1, 1, 1, 1})).round());
    const at::Tensor bias = now[static_cast<std::size_t>(bias_[i].parameter)] * bias_[i].unit;
    const double input = q.tensors[static_cast<std::size_t>(q.deployment.ops[i].inputs[0])].scale;
    QuantizedWeights& w = q.weights[i];
    for (std::size_t k = 0; k < w.values.size(); ++k)
      w.values[k] = static_cast<std::int8_t>(integers.data_ptr<float>()[k]);
    for (std::size_t o = 0; o < w.scales.size(); ++o) {
      w.scales[o] = static_cast<double>(steps.data_ptr<float>()[o]);
      w.bias[o] = static_cast<std::int32_t>(std::clamp(
          std::rint(bias.data_ptr<float>()[o] / (input * w.scales[o])), -1073741824.0, 1073741823.0));
    }
  }
  return q;
}

}  // namespace nas::supernet
