#pragma once
#include <filesystem>
#include <string>

#include "devices/agent_build.h"
#include "devices/kernel_code.h"
#include "devices/profile.h"
#include "space/base/result.h"

namespace nas::devices {

// A kernel or network as a file of an engine's own format: ONNX or TFLite, one input, one output, batch 1.
struct EngineModel {
  std::string bytes;
  std::uint32_t input_bytes = 0;
  std::uint32_t output_bytes = 0;
  int element_bytes = 4;  // 1: int8, 4: float
};

// Does the agent load this engine's library at run time ("onnxruntime", "tflite")?
bool is_loaded_engine(const std::string& engine);

// The engine's shared library: $HWNAS_ONNXRUNTIME or $HWNAS_TFLITE when set, else the npm package's in a
// node_modules folder above this program ($HWNAS_NODE_MODULES names another), else the system's. When there
// is none, the Error (kind device) says how to get it.
Result<std::filesystem::path> find_engine_library(const std::string& engine);

// The profile's toolchain with what compiles an engine's agent source against that library, and that source.
struct EngineBuild {
  Toolchain toolchain;
  AgentPlatform platform;
};
Result<EngineBuild> engine_build(const DeviceProfile& device);

// The model as code that the agent runs: bytes in, bytes out, in the arena. `function` is a C name.
KernelCode write_model(const EngineModel& model, const std::string& signature, const std::string& function);

}  // namespace nas::devices
