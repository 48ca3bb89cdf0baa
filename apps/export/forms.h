#pragma once
#include <optional>
#include <set>

#include "apps/export/subject.h"
#include "devices/codegen/network.h"
#include "devices/profile.h"
#include "supernet/torchscript/torchscript.h"

namespace nas::apps {

struct FormFacts {
  supernet::TorchScriptFacts facts;
  std::map<std::string, std::string> metadata;  // of ONNX and TFLite models
  std::optional<devices::DeviceProfile> device;
  std::string patches;  // ExportOptions::patches
};

// The forms of an export, and what they were made from.
struct Forms {
  std::vector<std::string> names;
  std::map<std::string, std::string> left_out;  // form -> why, where none was asked for by name
  ExportFiles files;
  std::optional<devices::codegen::GeneratedNetwork> made;  // with form c
};

// Writes `wanted`, or every form the network has when that is empty.
Result<Forms> write_forms(const Subject& subject, const std::vector<std::string>& wanted,
                          const FormFacts& facts);

// Test images with the logits that every form must give, as raw numbers.
Result<ExportFiles> vector_files(const Subject& subject);

}  // namespace nas::apps
