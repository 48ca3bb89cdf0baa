#include "supernet/onnx/onnx_writer.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/onnx_pb.h>
#pragma GCC diagnostic pop

#include <cstring>
#include <optional>

#include "supernet/quantize/quantize.h"

namespace nas::supernet {
namespace {

using Dims = std::vector<std::int64_t>;

onnx::AttributeProto* attribute(onnx::NodeProto* node, const char* name,
                                onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto* a = node->add_attribute();
  a->set_name(name);
  a->set_type(type);
  return a;
}

void set_int(onnx::NodeProto* node, const char* name, std::int64_t value) {
  attribute(node, name, onnx::AttributeProto::INT)->set_i(value);
}
void set_float(onnx::NodeProto* node, const char* name, float value) {
  attribute(node, name, onnx::AttributeProto::FLOAT)->set_f(value);
}
void set_ints(onnx::NodeProto* node, const char* name, const Dims& values) {
  onnx::AttributeProto* a = attribute(node, name, onnx::AttributeProto::INTS);
  for (const std::int64_t v : values) a->add_ints(v);
}

// Builds one graph: names tensors t0 (the image), t1, … after the deployment's, and what lies between
// "t3.conv".
class Graph {
 public:
  // `integer`: of an int8 network.
  Graph(const Deployment& deployment, const OnnxMetadata& metadata, bool integer)
      : piece_(metadata.piece),
        outside_(piece_ && integer ? onnx::TensorProto::INT8 : onnx::TensorProto::FLOAT) {
    model_.set_ir_version(8);
    model_.set_producer_name("hwnas");
    onnx::OperatorSetIdProto* opset = model_.add_opset_import();
    opset->set_domain("");
    opset->set_version(15);
    model_.mutable_graph()->set_name(metadata.name.empty() ? "network" : metadata.name);
    std::map<std::string, std::string> all = metadata.extra;
    all["Image.BitmapPixelFormat"] = "Rgb8";
    all["Image.ColorSpaceGamma"] = "SRGB";
    for (const auto& [key, value] : all) {
      onnx::StringStringEntryProto* entry = model_.add_metadata_props();
      entry->set_key(key);
      entry->set_value(value);
    }
    const Shape in = deployment.input;
    describe(graph()->add_input(), "image", {-1, in.channels, in.height, in.width});
  }

  template <class T>
  std::string constant(const std::string& name, int type, const Dims& dims, const std::vector<T>& values) {
    onnx::TensorProto* tensor = graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const std::int64_t d : dims) tensor->add_dims(d);
    tensor->set_raw_data(values.data(), values.size() * sizeof(T));
    return name;
  }
  std::string constant_float(const std::string& name, const Dims& dims, const std::vector<float>& values) {
    return constant(name, onnx::TensorProto::FLOAT, dims, values);
  }

  onnx::NodeProto* node(const char* op, const std::vector<std::string>& inputs, const std::string& output) {
    onnx::NodeProto* n = graph()->add_node();
    n->set_op_type(op);
    n->set_name(output + "/" + op);
    for (const std::string& input : inputs) n->add_input(input);
    n->add_output(output);
    return n;
  }

  // The op's arithmetic without its activation, from named inputs to `output`.
  void arithmetic(const DeployedOp& op, std::vector<std::string> inputs, const std::string& output) {
    switch (op.kind) {
      case DeployedKind::conv:
      case DeployedKind::depthwise:
      case DeployedKind::fully_connected:
        return convolution(op, inputs, output);
      case DeployedKind::add:
        node("Add", inputs, output);
        return;
      case DeployedKind::scale_channels:
        node("Mul", inputs, output);
        return;
      case DeployedKind::average_pool:
      case DeployedKind::max_pool:
        return pool(op, inputs[0], output);
      case DeployedKind::activation:
        node("Identity", inputs, output);
        return;
    }
  }

  // Fails on an activation that ONNX of this opset has no operator for.
  Result<void> activation(Activation kind, const std::string& input, const std::string& output) {
    switch (kind) {
      case Activation::none:
        node("Identity", {input}, output);
        return {};
      case Activation::relu:
        node("Relu", {input}, output);
        return {};
      case Activation::relu6:
        node("Clip",
             {input, constant_float(output + ".low", {}, {0.0F}),
              constant_float(output + ".high", {}, {6.0F})},
             output);
        return {};
      case Activation::hard_swish:
        node("HardSwish", {input}, output);
        return {};
      case Activation::swish:
        node("Sigmoid", {input}, output + ".gate");
        node("Mul", {input, output + ".gate"}, output);
        return {};
      case Activation::hard_sigmoid: {
        onnx::NodeProto* n = node("HardSigmoid", {input}, output);
        set_float(n, "alpha", 1.0F / 6);
        set_float(n, "beta", 0.5F);
        return {};
      }
      case Activation::sigmoid:
        node("Sigmoid", {input}, output);
        return {};
      case Activation::gelu:
        break;
    }
    return usage_error("ONNX: no operator for the activation " + std::string(to_string(kind)));
  }

  // The last tensor becomes the result.
  void output(const std::string& last, const Shape& shape) {
    if (piece_) return describe(graph()->add_output(), last, {-1, shape.channels, shape.height, shape.width});
    set_int(node("Flatten", {last}, "logits"), "axis", 1);
    describe(graph()->add_output(), "logits", {-1, shape.elements()});
  }
  bool takes_integers() const { return outside_ == onnx::TensorProto::INT8; }

  Result<std::string> finish() {
    const std::string bytes = serialised();
    NAS_CHECK(check_onnx(bytes, "the model written"));
    return bytes;
  }

 private:
  onnx::GraphProto* graph() { return model_.mutable_graph(); }

  void describe(onnx::ValueInfoProto* info, const std::string& name, const Dims& dims) const {
    info->set_name(name);
    onnx::TypeProto_Tensor* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(outside_);
    for (const std::int64_t d : dims) {
      auto* dim = type->mutable_shape()->add_dim();
      if (d < 0)
        dim->set_dim_param("N");
      else
        dim->set_dim_value(d);
    }
  }

  void convolution(const DeployedOp& op, const std::vector<std::string>& inputs, const std::string& output) {
    onnx::NodeProto* n = node("Conv", inputs, output);
    const bool whole = op.kind == DeployedKind::fully_connected;
    const Dims window = whole ? Dims{op.in.height, op.in.width} : Dims{op.kernel, op.kernel};
    set_ints(n, "kernel_shape", window);
    set_ints(n, "strides", whole ? Dims{1, 1} : Dims{op.stride, op.stride});
    set_ints(n, "pads", Dims(4, whole ? 0 : op.padding));
    set_int(n, "group", op.kind == DeployedKind::depthwise ? op.in.channels : 1);
  }

  void pool(const DeployedOp& op, const std::string& input, const std::string& output) {
    const bool max = op.kind == DeployedKind::max_pool;
    if (op.kernel == 0) {
      node(max ? "GlobalMaxPool" : "GlobalAveragePool", {input}, output);
      return;
    }
    onnx::NodeProto* n = node(max ? "MaxPool" : "AveragePool", {input}, output);
    set_ints(n, "kernel_shape", {op.kernel, op.kernel});
    set_ints(n, "strides", {op.stride, op.stride});
    set_ints(n, "pads", Dims(4, op.padding));
    const bool ceil = op.out.height > (op.in.height + 2 * op.padding - op.kernel) / op.stride + 1;
    set_int(n, "ceil_mode", ceil ? 1 : 0);
    if (!max) set_int(n, "count_include_pad", 0);
  }

  std::string serialised() const {
    std::string bytes;
    {
      google::protobuf::io::StringOutputStream stream(&bytes);
      google::protobuf::io::CodedOutputStream coded(&stream);
      coded.SetSerializationDeterministic(true);
      model_.SerializeToCodedStream(&coded);
    }
    return bytes;
  }

  onnx::ModelProto model_;
  bool piece_ = false;
  onnx::TensorProto::DataType outside_;  // of input and output
};

bool has_weights(const DeployedOp& op) {
  return op.kind == DeployedKind::conv || op.kind == DeployedKind::depthwise ||
         op.kind == DeployedKind::fully_connected;
}

Dims weight_dims(const DeployedOp& op) {
  if (op.kind == DeployedKind::depthwise) return {op.out.channels, 1, op.kernel, op.kernel};
  if (op.kind == DeployedKind::conv) return {op.out.channels, op.in.channels, op.kernel, op.kernel};
  return {op.out.elements(), op.in.channels, op.in.height, op.in.width};
}

// Ours (conv OHWI, depthwise HWC, fully connected O x HWC) to ONNX's (OIHW).
template <class T>
std::vector<T> reordered(const DeployedOp& op, const std::vector<T>& values) {
  const Dims d = weight_dims(op);
  const auto outputs = static_cast<std::size_t>(d[0]), inputs = static_cast<std::size_t>(d[1]),
             window = static_cast<std::size_t>(d[2] * d[3]);
  std::vector<T> result(values.size());
  const bool depthwise = op.kind == DeployedKind::depthwise;
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t i = 0; i < inputs; ++i)
      for (std::size_t w = 0; w < window; ++w)
        result[(o * inputs + i) * window + w] =
            depthwise ? values[w * outputs + o] : values[(o * window + w) * inputs + i];
  return result;
}

std::string tensor(std::int32_t index) { return index == 0 ? "image" : "t" + std::to_string(index); }

// Writes the quantised form, keeping the grids of tensors that were named already.
class QuantizedWriter {
 public:
  QuantizedWriter(Graph& graph, const QuantizedNetwork& network) : graph_(graph), network_(network) {}

  // Through the grid: quantised and back; returns the float tensor's name.
  std::string through(const std::string& input, const std::string& name, const Quantization& grid) {
    const std::string scale = graph_.constant_float(name + ".scale", {}, {static_cast<float>(grid.scale)});
    const std::string zero = graph_.constant(name + ".zero", onnx::TensorProto::INT8, {},
                                             std::vector<std::int8_t>{static_cast<std::int8_t>(grid.zero)});
    const bool quantised = input == "image" && graph_.takes_integers();
    if (!quantised) graph_.node("QuantizeLinear", {input, scale, zero}, name + ".q");
    graph_.node("DequantizeLinear", {quantised ? input : name + ".q", scale, zero}, name + ".dq");
    return name + ".dq";
  }

  std::vector<std::string> weights(std::size_t index, const DeployedOp& op) {
    const std::string name = "t" + std::to_string(index + 1);
    const QuantizedWeights& w = network_.weights[index];
    const double in = network_.tensors[static_cast<std::size_t>(op.inputs[0])].scale;
    std::vector<float> scales, bias_scales;
    for (const double s : w.scales) {
      scales.push_back(static_cast<float>(s));
      bias_scales.push_back(static_cast<float>(s) *
                            static_cast<float>(in));  // as ONNX Runtime multiplies them
    }
    const auto channels = static_cast<std::int64_t>(scales.size());
    const std::vector<std::int8_t> zeros(scales.size(), 0);
    const std::vector<std::int32_t> bias_zeros(scales.size(), 0);
    set_int(graph_.node("DequantizeLinear",
                        {graph_.constant(name + ".weight", onnx::TensorProto::INT8, weight_dims(op),
                                         reordered(op, w.values)),
                         graph_.constant_float(name + ".weight.scale", {channels}, scales),
                         graph_.constant(name + ".weight.zero", onnx::TensorProto::INT8, {channels}, zeros)},
                        name + ".weight.dq"),
            "axis", 0);
    set_int(
        graph_.node("DequantizeLinear",
                    {graph_.constant(name + ".bias", onnx::TensorProto::INT32, {channels}, w.bias),
                     graph_.constant_float(name + ".bias.scale", {channels}, bias_scales),
                     graph_.constant(name + ".bias.zero", onnx::TensorProto::INT32, {channels}, bias_zeros)},
                    name + ".bias.dq"),
        "axis", 0);
    return {name + ".weight.dq", name + ".bias.dq"};
  }

 private:
  Graph& graph_;
  const QuantizedNetwork& network_;
};

}  // namespace

Result<std::string> write_onnx(const FoldedNetwork& network, const OnnxMetadata& metadata) {
  Graph graph(network.deployment, metadata, false);
  for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
    const DeployedOp& op = network.deployment.ops[i];
    const std::string name = tensor(static_cast<std::int32_t>(i) + 1);
    std::vector<std::string> inputs{tensor(op.inputs[0])};
    if (op.inputs[1] >= 0) inputs.push_back(tensor(op.inputs[1]));
    if (has_weights(op)) {
      inputs.push_back(
          graph.constant_float(name + ".weight", weight_dims(op), reordered(op, network.weights[i].values)));
      inputs.push_back(graph.constant_float(name + ".bias", {op.out.channels}, network.weights[i].bias));
    }
    const bool plain = op.activation == Activation::none;
    graph.arithmetic(op, inputs, plain ? name : name + ".sum");
    if (!plain) NAS_CHECK(graph.activation(op.activation, name + ".sum", name));
  }
  graph.output(tensor(static_cast<std::int32_t>(network.deployment.ops.size())),
               network.deployment.ops.back().out);
  return graph.finish();
}

Result<std::string> write_onnx(const QuantizedNetwork& network, const OnnxMetadata& metadata) {
  NAS_CHECK(check_eight_bit_results(network.deployment, "ONNX"));
  Graph graph(network.deployment, metadata, true);
  QuantizedWriter writer(graph, network);
  std::vector<std::string> named{writer.through("image", "t0", network.tensors[0])};
  for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
    const DeployedOp& op = network.deployment.ops[i];
    const std::string name = "t" + std::to_string(i + 1);
    std::vector<std::string> inputs{named[static_cast<std::size_t>(op.inputs[0])]};
    if (op.inputs[1] >= 0) inputs.push_back(named[static_cast<std::size_t>(op.inputs[1])]);
    if (has_weights(op))
      for (std::string& part : writer.weights(i, op)) inputs.push_back(std::move(part));
    std::string result = name + ".sum";
    graph.arithmetic(op, inputs, result);
    if (needs_table(op.activation) && op.kind != DeployedKind::activation)
      result = writer.through(result, name + ".before", network.before[i]);
    if (op.activation != Activation::none) {
      NAS_CHECK(graph.activation(op.activation, result, name + ".act"));
      result = name + ".act";
    }
    named.push_back(writer.through(result, name, network.tensors[i + 1]));
  }
  const std::string last = "t" + std::to_string(network.deployment.ops.size());
  graph.output(last + (graph.takes_integers() ? ".q" : ".dq"), network.deployment.ops.back().out);
  return graph.finish();
}

}  // namespace nas::supernet
