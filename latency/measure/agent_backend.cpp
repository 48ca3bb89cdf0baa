#include <algorithm>

#include "devices/engine.h"
#include "devices/serial_board.h"
#include "latency/measure/agent_session.h"
#include "latency/measure/backends.h"
#include "space/base/file.h"

namespace nas::latency {
namespace {

using devices::KernelCode;

// Kernels that the compiler refuses are found one by one, so that the rest can be measured.
Result<devices::AgentBuild> build_what_compiles(
    const std::function<Result<devices::AgentBuild>(std::span<const KernelCode>)>& build_all,
    std::vector<KernelCode>& codes, const ProfileHooks& hooks) {
  for (;;) {
    auto build = build_all(codes);
    if (build || codes.empty()) return build;
    const auto culprit = std::ranges::find(codes, build.error().where, &KernelCode::signature);
    if (culprit == codes.end()) return build.error();
    KernelRecord record;
    record.signature = culprit->signature;
    record.failure = build.error().message;
    codes.erase(culprit);
    if (hooks.done) NAS_CHECK(hooks.done(record));
  }
}

std::vector<std::string> agent_arguments(const ProfileOptions& options) {
  std::vector<std::string> arguments;
  if (!options.taskset.empty()) arguments = {"--taskset", options.taskset};
  if (options.threads != 1) arguments.insert(arguments.end(), {"--threads", std::to_string(options.threads)});
  return arguments;
}

// Kernels that fit a board's memory together, as firmware.
struct Firmware {
  std::vector<KernelCode> codes;
  devices::AgentBuild build;
};

// One firmware when all fit, else halves of halves; a kernel that fits no firmware alone is reported.
Result<void> plan_firmware(const devices::DeviceProfile& device, std::span<const KernelCode> codes,
                           const ProfileOptions& options, const ProfileHooks& hooks,
                           std::vector<Firmware>& plan) {
  std::vector<KernelCode> left(codes.begin(), codes.end());
  auto build = build_what_compiles(
      [&](std::span<const KernelCode> some) { return devices::build_firmware(device, some, options.cache); },
      left, hooks);
  if (left.empty()) return {};
  if (build) {
    plan.push_back({std::move(left), *std::move(build)});
    return {};
  }
  if (!is_about_memory(build.error().message)) return build.error();
  if (left.size() == 1) {
    KernelRecord record;
    record.signature = left[0].signature;
    record.failure = memory_words(build.error().message) + " (its tensors take " +
                     std::to_string(left[0].arena_bytes) + " bytes; " + device.name + " has " +
                     std::to_string(*device.ram_bytes) + " bytes of RAM)";
    return hooks.done ? hooks.done(record) : Result<void>{};
  }
  const std::span<const KernelCode> rest = left;
  NAS_CHECK(plan_firmware(device, rest.first(rest.size() / 2), options, hooks, plan));
  return plan_firmware(device, rest.subspan(rest.size() / 2), options, hooks, plan);
}

}  // namespace

Result<void> time_on_board(const devices::DeviceProfile& device, std::span<const KernelCode> codes,
                           const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  if (!options.taskset.empty())
    return usage_error("--taskset is for devices with an operating system", device.name);
  std::vector<Firmware> plan;
  NAS_CHECK(plan_firmware(device, codes, options, hooks, plan));
  info.context["firmwares"] = std::to_string(plan.size());
  for (const Firmware& firmware : plan) {
    if (hooks.stop && hooks.stop()) break;
    NAS_CHECK(measure_with([&] { return devices::flash_and_open(device, firmware.build); }, firmware.build,
                           firmware.codes, options, info, hooks));
  }
  return {};
}

Result<void> time_with_agent(const devices::DeviceProfile& device, std::vector<KernelCode> codes,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  NAS_TRY(engine, devices::engine_build(device));
  NAS_TRY(transport, devices::Transport::make(device.transport));
  NAS_CHECK(transport.connect());
  NAS_TRY(build, build_what_compiles(
                     [&](std::span<const KernelCode> some) {
                       return devices::build_agent(engine.toolchain, some, options.cache, engine.platform);
                     },
                     codes, hooks));
  const bool empty_call = devices::is_loaded_engine(device.engine);
  if (codes.size() < (empty_call ? 2 : 1)) return {};
  const std::string name = build.program.filename().string();
  NAS_CHECK(transport.push(build.program, name));
  NAS_CHECK(measure_with([&] { return transport.start(name, agent_arguments(options)); }, build, codes,
                         options, info, hooks, empty_call));
  return transport.remove(name);
}

Result<void> time_with_torch(const devices::DeviceProfile& device, std::span<const KernelCode> codes,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  if (device.transport.kind != devices::TransportKind::local)
    return usage_error("engine torch runs on this machine only: transport must be local", device.name);
  std::string text;
  for (const KernelCode& code : codes) text += code.source + "\n";
  const std::string id = sha256(text).substr(0, 32);
  const auto list = std::filesystem::absolute(options.cache) / ("torch-" + id + ".jsonl");
  NAS_CHECK(write_file(list, text));
  std::vector<std::string> command = options.parts.torch_agent;
  command.insert(command.end(), {list.string(), device.core == "cuda" ? "cuda" : "cpu"});
  for (const std::string& word : agent_arguments(options)) command.push_back(word);
  const auto measured = measure_with([&] { return devices::ByteStream::start(command); }, {{}, id, {}}, codes,
                                     options, info, hooks);
  std::error_code ignored;
  std::filesystem::remove(list, ignored);
  return measured;
}

}  // namespace nas::latency
