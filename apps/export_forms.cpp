#include "apps/export_forms.h"

#include <algorithm>

namespace nas::apps {

const std::vector<std::string>& export_forms() {
  static const std::vector<std::string> all{"torchscript", "onnx", "onnx-int8",  "tflite",
                                            "tflite-int8", "c",    "safetensors"};
  return all;
}

Result<void> check_form(const std::string& form) {
  if (std::ranges::find(export_forms(), form) != export_forms().end()) return {};
  std::string known;
  for (const std::string& name : export_forms()) known += (known.empty() ? "" : ", ") + name;
  return usage_error("a form must be one of " + known + ", found " + form);
}

}  // namespace nas::apps
