#include "apps/engine_models.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "devices/network_writer.h"
#include "space/deployment.h"
#include "supernet/network_json.h"
#include "supernet/onnx/onnx_writer.h"
#include "supernet/quantize/drawn.h"
#include "supernet/tflite/tflite_writer.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using devices::EngineModel;

Result<std::string> onnx_bytes(Deployment deployment, const std::string& name, bool integer) {
  const supernet::OnnxMetadata metadata{"kernel", {}, true};
  if (integer) return supernet::write_onnx(devices::drawn_numbers(std::move(deployment), name), metadata);
  return supernet::write_onnx(supernet::drawn_network(std::move(deployment), name), metadata);
}

Result<std::string> tflite_bytes(Deployment deployment, const std::string& name, bool integer) {
  NAS_TRY(model, integer ? supernet::tflite_model(
                               supernet::fold_gates(devices::drawn_numbers(std::move(deployment), name)))
                         : supernet::tflite_model(supernet::drawn_network(std::move(deployment), name)));
  return supernet::to_bytes(supernet::as_piece(std::move(model)));
}

Result<EngineModel> loaded_model(const std::string& engine, Deployment deployment, const std::string& name,
                                 bool integer) {
  for (const DeployedOp& op : deployment.ops)
    if (integer && op.part != DeployedPart::none && op.weight_bits != 8)
      return usage_error("engine " + engine + " has no kernel for weights of " +
                         std::to_string(op.weight_bits) + " bits, engine c has: " + name);
  EngineModel model;
  model.element_bytes = integer ? 1 : 4;
  const std::int64_t in = deployment.input.elements(), out = deployment.ops.back().out.elements();
  model.input_bytes = static_cast<std::uint32_t>(in * model.element_bytes);
  model.output_bytes = static_cast<std::uint32_t>(out * model.element_bytes);
  NAS_TRY(bytes, engine == "onnxruntime" ? onnx_bytes(std::move(deployment), name, integer)
                                         : tflite_bytes(std::move(deployment), name, integer));
  model.bytes = std::move(bytes);
  return model;
}

Result<EngineModel> model_for(const devices::DeviceProfile& device, const Network& network,
                              const std::string& name, const std::string& precision) {
  NAS_TRY(deployment, deploy(network));
  if (device.engine == "torch") {
    EngineModel line;
    line.bytes =
        nlohmann::json{{"name", name}, {"network", nlohmann::json::parse(supernet::network_to_json(network))}}
            .dump();
    return line;
  }
  return loaded_model(device.engine, std::move(deployment), name, precision == "int8");
}

}  // namespace

latency::EngineParts engine_parts() {
  latency::EngineParts parts;
  parts.model = model_for;
  std::error_code failed;
  const fs::path torch = fs::read_symlink("/proc/self/exe", failed).parent_path() / "hwnas-torch";
  if (fs::exists(torch, failed)) parts.torch_agent = {torch.string(), "torch-agent"};
  return parts;
}

Result<std::string> device_with_engine(const std::string& device, const std::string& engine,
                                       const std::string& folder) {
  NAS_TRY(profile, devices::load_profile(device, folder));
  if (engine.empty() || profile.engine == engine) return device;
  const std::string other = device + "-" + engine;
  if (const auto found = devices::load_profile(other, folder); found && found->engine == engine) return other;
  std::string known;
  for (const std::string& name : devices::profile_names(folder))
    if (const auto one = devices::load_profile(name, folder); one && one->engine == engine)
      known += " " + name;
  if (engine != "c" && profile.transport.kind != devices::TransportKind::local)
    return usage_error("engine " + engine + " runs on this machine only, " + device + " is reached over " +
                       std::string(devices::to_string(profile.transport.kind)) +
                       "; devices with that engine:" + (known.empty() ? " none" : known));
  return usage_error("no profile \"" + other + "\" of engine " + engine +
                     "; devices with that engine:" + (known.empty() ? " none" : known));
}

}  // namespace nas::apps
