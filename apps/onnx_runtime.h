#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace nas::apps {

// Runs an exported folder's model.PRECISION.onnx on its test images in ONNX Runtime, where Node.js and the
// package onnxruntime-node are found (in $HWNAS_NODE_MODULES' folder, or node_modules beside or above the
// program), and compares with the logits stored at export. A record for `hwnas verify`: "state" is equal
// (float: 2e-5 of the largest logit; int8: every image's answer the same, logits within a step on average),
// differs or not run.
nlohmann::ordered_json verify_onnx(const std::filesystem::path& folder, const std::string& precision);

}  // namespace nas::apps
