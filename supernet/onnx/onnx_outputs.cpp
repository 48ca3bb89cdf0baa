#include "supernet/onnx/onnx_outputs.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <onnx/onnx_pb.h>
#pragma GCC diagnostic pop

namespace nas::supernet {

Result<std::string> onnx_with_outputs(const std::string& bytes, const std::vector<std::string>& tensors,
                                      const std::string& where) {
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) return usage_error("not an ONNX model", where);
  for (const std::string& name : tensors) {
    onnx::ValueInfoProto* output = model.mutable_graph()->add_output();
    output->set_name(name);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(
        name.ends_with(".q") ? onnx::TensorProto::INT8 : onnx::TensorProto::FLOAT);
  }
  return model.SerializeAsString();
}

}  // namespace nas::supernet
