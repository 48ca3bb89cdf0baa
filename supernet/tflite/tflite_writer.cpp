#include "supernet/tflite/tflite_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "supernet/quantize/quantize.h"

namespace nas::supernet {
namespace {

enum Padding : std::int32_t { kSame = 0, kValid = 1 };
enum Fused : std::int32_t { kNone = 0, kRelu = 1, kRelu6 = 3 };

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

bool has_weights(const DeployedOp& op) { return op.part != DeployedPart::none; }

std::vector<std::int32_t> weight_shape(const DeployedOp& op) {
  if (op.kind == DeployedKind::depthwise) return {1, op.kernel, op.kernel, op.out.channels};
  if (op.kind == DeployedKind::conv) return {op.out.channels, op.kernel, op.kernel, op.in.channels};
  return {op.out.channels, op.in.height, op.in.width, op.in.channels};
}

std::vector<std::int32_t> image_shape(const Shape& s) { return {1, s.height, s.width, s.channels}; }

Fused fused(Activation activation) {
  return activation == Activation::relu ? kRelu : activation == Activation::relu6 ? kRelu6 : kNone;
}

// One model under construction; float32 where `grid` arguments are null.
class Builder {
 public:
  explicit Builder(const Deployment& deployment, bool integer) : integer_(integer) {
    model_.description = "hwnas";
    const std::int32_t classes = deployment.ops.back().out.channels;
    classes_ = {1, classes};
  }

  std::int32_t computed(const std::string& name, std::vector<std::int32_t> shape, const Quantization* grid) {
    TfliteTensor t{name, std::move(shape), integer_ ? TfliteType::int8 : TfliteType::float32, {}, {}, {}, 0};
    if (grid != nullptr) {
      t.scales = {static_cast<float>(grid->scale)};
      t.zeros = {grid->zero};
    }
    return add(std::move(t));
  }
  template <class T>
  std::int32_t constant(const std::string& name, std::vector<std::int32_t> shape, TfliteType type,
                        const std::vector<T>& values, std::vector<float> scales = {}, std::int32_t axis = 0) {
    TfliteTensor t{name, std::move(shape), type, raw(values), std::move(scales), {}, axis};
    t.zeros.assign(t.scales.size(), 0);
    return add(std::move(t));
  }

  // Versions: what the first TensorFlow Lite with this operator at int8 calls it.
  void op(TfliteCode code, std::vector<std::int32_t> inputs, std::int32_t output,
          std::vector<std::int32_t> options) {
    std::int32_t version = 1;
    if (integer_ && code != TfliteCode::reshape && code != TfliteCode::hard_swish) version = 2;
    if (integer_ && (code == TfliteCode::conv || code == TfliteCode::depthwise_conv)) version = 3;
    model_.ops.push_back({code, version, std::move(inputs), {output}, std::move(options)});
  }

  // The input with zeros around it, or the lowest value for a pooling by the largest.
  std::int32_t padded(std::int32_t input, const DeployedOp& o, const Quantization* grid,
                      const std::string& name) {
    if (o.padding == 0) return input;
    const bool lowest = o.kind == DeployedKind::max_pool;
    const std::int32_t p = o.padding;
    // The windows of the last row and column may end before the padding does.
    const auto after = [&](std::int32_t in, std::int32_t out) {
      return (out - 1) * o.stride + o.kernel - in - p;
    };
    const std::vector<std::int32_t> sides{
        0, 0, p, after(o.in.height, o.out.height), p, after(o.in.width, o.out.width), 0, 0};
    const std::int32_t sides_at = constant(name + ".sides", {4, 2}, TfliteType::int32, sides);
    const Shape shape{o.in.channels, o.in.height + p + sides[3], o.in.width + p + sides[5]};
    const std::int32_t out = computed(name + ".padded", image_shape(shape), grid);
    if (!lowest) {
      op(TfliteCode::pad, {input, sides_at}, out, {});
      return out;
    }
    const std::int32_t value = integer_ ? low_constant(name, *grid)
                                        : constant(name + ".lowest", {1}, TfliteType::float32,
                                                   std::vector<float>{std::numeric_limits<float>::lowest()});
    op(TfliteCode::pad_v2, {input, sides_at, value}, out, {});
    return out;
  }

  void pool(const DeployedOp& o, std::int32_t input, std::int32_t output) {
    const std::int32_t h = o.kernel == 0 ? o.in.height : o.kernel, w = o.kernel == 0 ? o.in.width : o.kernel;
    const std::int32_t stride = o.kernel == 0 ? 1 : o.stride;
    op(o.kind == DeployedKind::max_pool ? TfliteCode::max_pool : TfliteCode::average_pool, {input}, output,
       {kValid, stride, stride, w, h, kNone});
  }

  void convolution(const DeployedOp& o, std::int32_t input, std::int32_t weights, std::int32_t bias,
                   std::int32_t output, Fused activation) {
    if (o.kind == DeployedKind::depthwise)
      op(TfliteCode::depthwise_conv, {input, weights, bias}, output,
         {kValid, o.stride, o.stride, 1, activation, 1, 1});
    else
      op(TfliteCode::conv, {input, weights, bias}, output,
         {kValid, o.kind == DeployedKind::fully_connected ? 1 : o.stride,
          o.kind == DeployedKind::fully_connected ? 1 : o.stride, activation, 1, 1});
  }

  TfliteModel finish(std::int32_t image, std::int32_t last, const Quantization* grid) {
    const std::int32_t shape = constant("logits.shape", {2}, TfliteType::int32, classes_);
    const std::int32_t logits = computed("logits", classes_, grid);
    op(TfliteCode::reshape, {last, shape}, logits, {});
    model_.inputs = {image};
    model_.outputs = {logits};
    return std::move(model_);
  }

 private:
  std::int32_t add(TfliteTensor t) {
    model_.tensors.push_back(std::move(t));
    return static_cast<std::int32_t>(model_.tensors.size() - 1);
  }
  std::int32_t low_constant(const std::string& name, const Quantization& grid) {
    const std::int32_t at = constant(name + ".lowest", {1}, TfliteType::int8, std::vector<std::int8_t>{-128},
                                     {static_cast<float>(grid.scale)});
    model_.tensors[static_cast<std::size_t>(at)].zeros = {grid.zero};
    return at;
  }

  TfliteModel model_;
  std::vector<std::int32_t> classes_;
  bool integer_;
};

Error unsupported(Activation activation, std::size_t index) {
  return usage_error("TFLite: operation " + std::to_string(index) + ": no operator for the activation " +
                     std::string(to_string(activation)) +
                     "; use torchscript, onnx, onnx-int8, c or safetensors");
}

// The operation's sum, before an activation that is not fused; returns nothing to add for pools.
void arithmetic(Builder& b, const DeployedOp& op, const std::vector<std::int32_t>& inputs,
                std::int32_t output) {
  const Fused act = fused(op.activation);
  switch (op.kind) {
    case DeployedKind::conv:
    case DeployedKind::depthwise:
    case DeployedKind::fully_connected:
      return b.convolution(op, inputs[0], inputs[1], inputs[2], output, act);
    case DeployedKind::add:
      return b.op(TfliteCode::add, inputs, output, {act});
    case DeployedKind::scale_channels:
      return b.op(TfliteCode::mul, inputs, output, {act});
    case DeployedKind::average_pool:
    case DeployedKind::max_pool:
      return b.pool(op, inputs[0], output);
    case DeployedKind::activation:
      return;
  }
}

Result<void> float_activation(Builder& b, const DeployedOp& op, std::size_t index, std::int32_t input,
                              std::int32_t output, const std::string& name) {
  switch (op.activation) {
    case Activation::relu:
      b.op(TfliteCode::relu, {input}, output, {});
      return {};
    case Activation::relu6:
      b.op(TfliteCode::relu6, {input}, output, {});
      return {};
    case Activation::hard_swish:
      b.op(TfliteCode::hard_swish, {input}, output, {});
      return {};
    case Activation::sigmoid:
      b.op(TfliteCode::logistic, {input}, output, {});
      return {};
    case Activation::swish: {
      const std::int32_t gate = b.computed(name + ".gate", image_shape(op.out), nullptr);
      b.op(TfliteCode::logistic, {input}, gate, {});
      b.op(TfliteCode::mul, {input, gate}, output, {kNone});
      return {};
    }
    case Activation::hard_sigmoid: {
      const std::int32_t three = b.constant(name + ".three", {1}, TfliteType::float32, std::vector<float>{3});
      const std::int32_t sixth =
          b.constant(name + ".sixth", {1}, TfliteType::float32, std::vector<float>{1.0F / 6});
      const std::int32_t raised = b.computed(name + ".raised", image_shape(op.out), nullptr);
      b.op(TfliteCode::add, {input, three}, raised, {kRelu6});
      b.op(TfliteCode::mul, {raised, sixth}, output, {kNone});
      return {};
    }
    default:
      return unsupported(op.activation, index);
  }
}

// TensorFlow Lite fixes the grid of its logistic function.
constexpr Quantization kLogisticGrid{1.0 / 256, -128};

Result<void> integer_activation(Builder& b, const DeployedOp& op, std::size_t index, std::int32_t input,
                                std::int32_t output, const std::string& name) {
  switch (op.activation) {
    case Activation::hard_swish:
      b.op(TfliteCode::hard_swish, {input}, output, {});
      return {};
    case Activation::swish: {
      const std::int32_t gate = b.computed(name + ".gate", image_shape(op.out), &kLogisticGrid);
      b.op(TfliteCode::logistic, {input}, gate, {});
      b.op(TfliteCode::mul, {input, gate}, output, {kNone});
      return {};
    }
    default:
      return unsupported(op.activation, index);
  }
}

bool separate(const DeployedOp& op) {
  return op.kind == DeployedKind::activation || needs_table(op.activation);
}

std::string tensor_name(std::size_t index) { return "t" + std::to_string(index); }

}  // namespace

QuantizedNetwork fold_gates(QuantizedNetwork network) {
  for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
    DeployedOp& op = network.deployment.ops[i];
    if (op.activation != Activation::hard_sigmoid || !has_weights(op)) continue;
    QuantizedWeights& weights = network.weights[i];
    const double in = network.tensors[static_cast<std::size_t>(op.inputs[0])].scale;
    for (std::size_t c = 0; c < weights.scales.size(); ++c) {
      const double raised = weights.bias[c] + std::round(3 / (in * weights.scales[c]));
      weights.bias[c] = static_cast<std::int32_t>(std::clamp(raised, -1073741824.0, 1073741823.0));
      weights.scales[c] = static_cast<float>(weights.scales[c] / 6);
    }
    op.activation = Activation::none;
    network.before[i] = network.tensors[i + 1];
  }
  return network;
}

Result<TfliteModel> tflite_model(const FoldedNetwork& network) {
  const Deployment& d = network.deployment;
  Builder b(d, false);
  std::vector<std::int32_t> tensors{b.computed("image", image_shape(d.input), nullptr)};
  for (std::size_t i = 0; i < d.ops.size(); ++i) {
    const DeployedOp& op = d.ops[i];
    const std::string name = tensor_name(i + 1);
    std::vector<std::int32_t> inputs{
        b.padded(tensors[static_cast<std::size_t>(op.inputs[0])], op, nullptr, name)};
    if (op.inputs[1] >= 0) inputs.push_back(tensors[static_cast<std::size_t>(op.inputs[1])]);
    if (has_weights(op)) {
      inputs.push_back(
          b.constant(name + ".weight", weight_shape(op), TfliteType::float32, network.weights[i].values));
      inputs.push_back(
          b.constant(name + ".bias", {op.out.channels}, TfliteType::float32, network.weights[i].bias));
    }
    const bool apart = separate(op);
    const std::int32_t output = b.computed(name, image_shape(op.out), nullptr);
    const std::int32_t sum = op.kind == DeployedKind::activation ? inputs[0]
                             : apart ? b.computed(name + ".sum", image_shape(op.out), nullptr)
                                     : output;
    arithmetic(b, op, inputs, sum);
    if (apart) NAS_CHECK(float_activation(b, op, i, sum, output, name));
    tensors.push_back(output);
  }
  return b.finish(tensors[0], tensors.back(), nullptr);
}

Result<TfliteModel> tflite_model(const QuantizedNetwork& network) {
  NAS_CHECK(check_eight_bit_results(network.deployment, "TensorFlow Lite"));
  const Deployment& d = network.deployment;
  Builder b(d, true);
  std::vector<std::int32_t> tensors{b.computed("image", image_shape(d.input), &network.tensors[0])};
  for (std::size_t i = 0; i < d.ops.size(); ++i) {
    const DeployedOp& op = d.ops[i];
    const std::string name = tensor_name(i + 1);
    const Quantization& in = network.tensors[static_cast<std::size_t>(op.inputs[0])];
    std::vector<std::int32_t> inputs{
        b.padded(tensors[static_cast<std::size_t>(op.inputs[0])], op, &in, name)};
    if (op.inputs[1] >= 0) inputs.push_back(tensors[static_cast<std::size_t>(op.inputs[1])]);
    if (has_weights(op)) {
      const QuantizedWeights& w = network.weights[i];
      std::vector<float> scales, bias_scales;
      for (const double s : w.scales) {
        scales.push_back(static_cast<float>(s));
        bias_scales.push_back(static_cast<float>(s) * static_cast<float>(in.scale));
      }
      inputs.push_back(b.constant(name + ".weight", weight_shape(op), TfliteType::int8, w.values, scales,
                                  op.kind == DeployedKind::depthwise ? 3 : 0));
      inputs.push_back(b.constant(name + ".bias", {op.out.channels}, TfliteType::int32, w.bias, bias_scales));
    }
    const bool apart = separate(op);
    const std::int32_t output = b.computed(name, image_shape(op.out), &network.tensors[i + 1]);
    const std::int32_t sum = op.kind == DeployedKind::activation ? inputs[0]
                             : apart ? b.computed(name + ".sum", image_shape(op.out), &network.before[i])
                                     : output;
    arithmetic(b, op, inputs, sum);
    if (apart) NAS_CHECK(integer_activation(b, op, i, sum, output, name));
    tensors.push_back(output);
  }
  return b.finish(tensors[0], tensors.back(), &network.tensors.back());
}

TfliteModel as_piece(TfliteModel model) {
  if (model.ops.size() > 1 && model.ops.back().code == TfliteCode::reshape) {
    model.outputs = {model.ops.back().inputs[0]};
    model.ops.pop_back();
  }
  return model;
}

}  // namespace nas::supernet
