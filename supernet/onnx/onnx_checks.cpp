#include "supernet/onnx/onnx_writer.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#pragma GCC diagnostic pop

namespace nas::supernet {
namespace {

using Dims = std::vector<std::int64_t>;

std::int64_t element_size(int type) {
  switch (type) {
    case onnx::TensorProto::FLOAT:
    case onnx::TensorProto::INT32:
      return 4;
    case onnx::TensorProto::INT8:
      return 1;
    case onnx::TensorProto::INT64:
      return 8;
    default:
      return 0;
  }
}

// Scales of weights: none or one a channel.
Result<void> check_scales(const onnx::GraphProto& graph, const std::map<std::string, Dims>& dims,
                          const std::string& where) {
  for (const onnx::NodeProto& n : graph.node()) {
    if (n.op_type() != "DequantizeLinear" || n.input_size() < 2) continue;
    const auto values = dims.find(n.input(0)), scales = dims.find(n.input(1));
    if (values == dims.end() || scales == dims.end() || scales->second.empty()) continue;
    if (values->second.empty() || scales->second != Dims{values->second[0]})
      return usage_error("ONNX: scales of \"" + n.input(0) + "\" are not one a channel", where);
  }
  return {};
}

// Convolutions whose weights are stored plainly or dequantised: groups divide the outputs, the kernel is the
// weights'.
Result<void> check_convolutions(const onnx::GraphProto& graph, std::map<std::string, Dims> dims,
                                const std::string& where) {
  for (const onnx::NodeProto& n : graph.node()) {
    if (n.op_type() == "DequantizeLinear" && n.input_size() > 0 && n.output_size() > 0 &&
        dims.contains(n.input(0)))
      dims[n.output(0)] = dims[n.input(0)];
    if (n.op_type() != "Conv" || n.input_size() < 2 || !dims.contains(n.input(1))) continue;
    const Dims& weight = dims[n.input(1)];
    std::int64_t group = 1;
    Dims window;
    for (const onnx::AttributeProto& a : n.attribute()) {
      if (a.name() == "group") group = a.i();
      if (a.name() == "kernel_shape") window.assign(a.ints().begin(), a.ints().end());
    }
    const bool fits =
        weight.size() == 4 && group > 0 && weight[0] % group == 0 &&
        (window.empty() || window == Dims{weight[2], weight[3]}) &&
        (n.input_size() < 3 || !dims.contains(n.input(2)) || dims[n.input(2)] == Dims{weight[0]});
    if (!fits)
      return usage_error(
          "ONNX: convolution \"" + n.name() + "\": weights, bias, window and groups do not agree", where);
  }
  return {};
}

// What ONNX's checker does not see: bytes against shapes, and a convolution's weights against its group.
Result<void> check_tensors(const onnx::GraphProto& graph, const std::string& where) {
  std::map<std::string, Dims> dims;
  for (const onnx::TensorProto& t : graph.initializer()) {
    std::int64_t bytes = element_size(t.data_type());
    for (const std::int64_t d : t.dims()) {
      if (d < 0 || (d > 0 && bytes > (std::int64_t{1} << 40) / d))
        return usage_error("ONNX: initializer \"" + t.name() + "\" has an impossible shape", where);
      bytes *= d;
    }
    if (bytes == 0 || bytes != static_cast<std::int64_t>(t.raw_data().size()))
      return usage_error("ONNX: initializer \"" + t.name() + "\": its shape says " + std::to_string(bytes) +
                             " bytes, found " + std::to_string(t.raw_data().size()),
                         where);
    dims[t.name()] = Dims(t.dims().begin(), t.dims().end());
  }
  NAS_CHECK(check_scales(graph, dims, where));
  return check_convolutions(graph, dims, where);
}

}  // namespace

Result<void> check_onnx(const std::string& bytes, const std::string& where) {
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) return usage_error("not an ONNX model", where);
  NAS_CHECK(check_tensors(model.graph(), where));
  try {
    onnx::checker::check_model(model);
    const onnx::ShapeInferenceOptions strict(true, 1, true);
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& e) {
    std::string what = e.what();
    return usage_error("ONNX: " + what.substr(0, what.find('\n')), where);
  }
  return {};
}

}  // namespace nas::supernet
