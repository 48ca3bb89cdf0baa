#include "devices/engine.h"

#include <array>
#include <cstdlib>
#include <vector>

namespace nas::devices {
namespace {

namespace fs = std::filesystem;

struct LoadedEngine {
  std::string_view name;
  std::string_view source;                  // of devices/agent
  const char* variable;                     // names the library
  std::string_view package;                 // npm
  std::vector<std::string_view> places;     // in node_modules
  std::vector<std::string_view> libraries;  // of the system
};

const std::array<LoadedEngine, 2>& engines() {
#if defined(__aarch64__)
  static const std::array<LoadedEngine, 2> kEngines{{
      {"onnxruntime",
       "hw_onnxruntime.c",
       "HWNAS_ONNXRUNTIME",
       "onnxruntime-node",
       {"onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1"},
       {"/usr/lib/aarch64-linux-gnu/libonnxruntime.so", "/usr/local/lib/libonnxruntime.so"}},
      {"tflite",
       "hw_tflite.c",
       "HWNAS_TFLITE",
       "tfjs-tflite-node",
       {"tfjs-tflite-node/cc_deps/linux_arm64/libtensorflowlite_c.so"},
       {"/usr/local/lib/libtensorflowlite_c.so"}},
  }};
#else
  static const std::array<LoadedEngine, 2> kEngines{{
      {"onnxruntime",
       "hw_onnxruntime.c",
       "HWNAS_ONNXRUNTIME",
       "onnxruntime-node",
       {"onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1"},
       {"/usr/lib/x86_64-linux-gnu/libonnxruntime.so", "/usr/local/lib/libonnxruntime.so"}},
      {"tflite",
       "hw_tflite.c",
       "HWNAS_TFLITE",
       "node-tflite",
       {"node-tflite/tflite/linux_x86_64/libtensorflowlite_c.so",
        "tfjs-tflite-node/cc_deps/linux_amd64/libtensorflowlite_c.so"},
       {"/usr/local/lib/libtensorflowlite_c.so"}},
  }};
#endif
  return kEngines;
}

const LoadedEngine* find_engine(const std::string& name) {
  for (const LoadedEngine& engine : engines())
    if (engine.name == name) return &engine;
  return nullptr;
}

// The node_modules folders above this program, nearest first.
std::vector<fs::path> module_folders() {
  std::vector<fs::path> folders;
  if (const char* named = std::getenv("HWNAS_NODE_MODULES")) folders.emplace_back(named);
  std::error_code ignored;
  for (fs::path at = fs::read_symlink("/proc/self/exe", ignored).parent_path(); at.has_relative_path();
       at = at.parent_path())
    folders.push_back(at / "node_modules");
  return folders;
}

// Bytes as a C string literal: octal escapes of three digits end by themselves.
std::string c_literal(const std::string& bytes) {
  std::string text = "\"";
  text.reserve(4 * bytes.size() + bytes.size() / 32);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    for (const int shift : {6, 3, 0}) {
      if (shift == 6) text += '\\';
      text += static_cast<char>('0' + ((byte >> shift) & 7));
    }
    if (i % 64 == 63) text += "\"\n\"";
  }
  return text + "\"";
}

std::uint32_t aligned(std::uint32_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

bool is_loaded_engine(const std::string& engine) { return find_engine(engine) != nullptr; }

Result<fs::path> find_engine_library(const std::string& name) {
  const LoadedEngine* engine = find_engine(name);
  if (engine == nullptr) return usage_error("engine " + name + " loads no library");
  std::error_code ignored;
  if (const char* named = std::getenv(engine->variable)) {
    if (fs::exists(named, ignored)) return fs::path(named);
    return usage_error(std::string("$") + engine->variable + " must name the library, found no file there",
                       named);
  }
  for (const fs::path& folder : module_folders())
    for (const std::string_view place : engine->places)
      if (fs::exists(folder / place, ignored)) return folder / place;
  for (const std::string_view library : engine->libraries)
    if (fs::exists(library, ignored)) return fs::path(library);
  return Error{"no library of engine " + name + " here: `npm install " + std::string(engine->package) +
                   "` beside or above the program, $HWNAS_NODE_MODULES with the folder that holds it, or $" +
                   engine->variable + " with the library itself",
               "", ErrorKind::device};
}

Result<EngineBuild> engine_build(const DeviceProfile& device) {
  EngineBuild build{device.toolchain, {}};
  const LoadedEngine* engine = find_engine(device.engine);
  if (engine == nullptr) return build;
  if (device.transport.kind != TransportKind::local)
    return usage_error("engine " + device.engine +
                           " runs on this machine only: transport must be local, found " +
                           std::string(to_string(device.transport.kind)),
                       device.name);
  NAS_TRY(library, find_engine_library(device.engine));
  build.platform.engine = engine->source;
  build.toolchain.flags.push_back("-DHW_ENGINE_LIBRARY=\"" + fs::absolute(library).string() + "\"");
  return build;
}

KernelCode write_model(const EngineModel& model, const std::string& signature, const std::string& function) {
  KernelCode code;
  code.signature = signature;
  code.function = function;
  code.input_bytes = model.input_bytes;
  code.output_offset = aligned(model.input_bytes);
  code.output_bytes = model.output_bytes;
  code.arena_bytes = code.output_offset + aligned(model.output_bytes);
  code.element_bytes = model.element_bytes;
  code.source =
      "#include <stddef.h>\n#include \"hw_engine.h\"\n__attribute__((aligned(16))) static const char "
      "bytes[] =\n" +
      c_literal(model.bytes) + ";\nvoid " + function + "(uint8_t* arena);\nvoid " + function +
      "(uint8_t* arena) {\n  static void* loaded;\n  if (loaded == NULL) {\n"
      "    const hw_model model = {bytes, " +
      std::to_string(model.bytes.size()) + "u, arena, " + std::to_string(code.input_bytes) + "u, arena + " +
      std::to_string(code.output_offset) + "u, " + std::to_string(code.output_bytes) +
      "u};\n    loaded = hw_engine_load(&model);\n  }\n  hw_engine_run(loaded);\n}\n";
  return code;
}

}  // namespace nas::devices
