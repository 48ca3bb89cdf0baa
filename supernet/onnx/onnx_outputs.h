#pragma once
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::supernet {

// The model with these tensors as outputs besides its own, to look inside it: float, or int8 where the name
// ends in ".q". ONNX Runtime does not fuse what is looked at. Fails on bytes that are no model.
Result<std::string> onnx_with_outputs(const std::string& bytes, const std::vector<std::string>& tensors,
                                      const std::string& where);

}  // namespace nas::supernet
