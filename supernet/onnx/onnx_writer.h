#pragma once
#include <map>
#include <string>
#include <vector>

#include "space/quantized_network.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {

struct OnnxMetadata {
  std::string name;                          // of the graph
  std::map<std::string, std::string> extra;  // metadata_props beside the image properties of the ONNX project
  // A piece of a network, to be timed: its result keeps its shape [N, C, H, W], and an integer piece takes
  // and gives int8. Its output has no fixed name.
  bool piece = false;
};

// ONNX IR 8, opset 15: input "image" [N, C, H, W] float, output "logits" [N, classes] float. Batch norm is
// folded, squeeze-excites are taken apart, a linear layer is a convolution over all positions. The model has
// passed ONNX's checker with strict shape inference, and our own check that every tensor holds as many bytes
// as its shape says and that a convolution's weights, bias, window and groups agree (the checker sees
// neither). Same network, same bytes.
Result<std::string> write_onnx(const FoldedNetwork& network, const OnnxMetadata& metadata);

// The int8 network as quantise/dequantise pairs around float operations, which ONNX Runtime fuses into
// integer kernels: weights per channel, activations per tensor, biases in 32 bits. Weights of 4 or 2 bits are
// int8 tensors of their codes: the same result, no smaller file (opset 15 has no INT4).
Result<std::string> write_onnx(const QuantizedNetwork& network, const OnnxMetadata& metadata);

// ONNX's checker, strict shape inference and our checks on a model's bytes. Fails with what is wrong.
Result<void> check_onnx(const std::string& bytes, const std::string& where);

}  // namespace nas::supernet
