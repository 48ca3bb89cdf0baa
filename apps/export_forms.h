#pragma once
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// "torchscript", "onnx", …, in the order in which they are listed everywhere.
const std::vector<std::string>& export_forms();

// An error (usage) that lists the forms where this is none.
Result<void> check_form(const std::string& form);

}  // namespace nas::apps
