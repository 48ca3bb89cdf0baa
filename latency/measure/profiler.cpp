#include "latency/measure/profiler.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

#include "devices/kernel_writer.h"
#include "devices/network_writer.h"
#include "latency/measure/backends.h"
#include "latency/measure/energy.h"
#include "space/base/hash.h"

namespace nas::latency {
namespace {

std::string precision_of(const devices::DeviceProfile& device, const ProfileOptions& options) {
  return options.precision.empty() ? device.precisions.front() : options.precision;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text;
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Result<SessionInfo> describe_session(const devices::DeviceProfile& device, const ProfileOptions& options) {
  SessionInfo info;
  info.device = device.name;
  info.profile = device.fingerprint;
  info.engine = device.engine;
  info.precision = precision_of(device, options);
  info.unit = device.unit();
  info.space = options.space;
  info.started = utc_now();
  const auto ticks = std::chrono::system_clock::now().time_since_epoch().count();
  info.id = device.name + "-" + to_string(hash_text(info.started + std::to_string(ticks))).substr(0, 8);
  if (std::ranges::find(device.precisions, info.precision) == device.precisions.end())
    return usage_error("precision must be one of " + joined(device.precisions) + ", found " + info.precision,
                       device.name);
  info.context["transport"] = std::string(devices::to_string(device.transport.kind));
  info.context["flags"] = joined(device.toolchain.flags);
  info.context["taskset"] = options.taskset;
  info.context["caches"] = options.cold ? "cold" : "warm";
  info.context["threads"] = std::to_string(options.threads);
  const MeasureOptions& m = options.measure;
  info.context["protocol"] = "num-runs " + std::to_string(m.num_runs) + ", warmup-runs " +
                             std::to_string(m.warmup_runs) + ", max-secs " + std::to_string(m.max_secs) +
                             ", reference every " + std::to_string(m.reference_every);
  if (devices::is_loaded_engine(device.engine)) {
    NAS_TRY(library, devices::find_engine_library(device.engine));
    info.context["engine library"] = library.string();
  }
  if (!device.toolchain.compiler.empty()) {
    NAS_TRY(version, devices::compiler_version(device.toolchain.compiler));
    info.context["compiler"] = version;
  }
  return info;
}

namespace {

// Keeps what fits the device's memory; the rest is reported with the figures.
Result<void> drop_too_large(const devices::DeviceProfile& device, std::vector<devices::KernelCode>& codes,
                            const ProfileHooks& hooks) {
  if (!device.ram_bytes) return {};
  std::vector<devices::KernelCode> fitting;
  for (devices::KernelCode& code : codes) {
    if (code.arena_bytes <= *device.ram_bytes) {
      fitting.push_back(std::move(code));
      continue;
    }
    KernelRecord record;
    record.signature = code.signature;
    record.failure = "does not fit: its tensors need " + std::to_string(code.arena_bytes) +
                     " bytes of RAM, " + device.name + " has " + std::to_string(*device.ram_bytes);
    if (hooks.done) NAS_CHECK(hooks.done(record));
  }
  codes = std::move(fitting);
  return {};
}

// Names follow the work, not the place in the list: builds are found again in the cache.
std::string function_name(const std::string& signature) {
  return "k_" + to_string(hash_text(signature)).substr(0, 16);
}

// A network as what the device's engine runs, named `key`.
Result<devices::KernelCode> engine_code(const devices::DeviceProfile& device, const Network& network,
                                        const std::string& key, const std::string& precision,
                                        const ProfileOptions& options) {
  NAS_TRY(model, options.parts.model(device, network, key, precision));
  if (devices::is_loaded_engine(device.engine)) return devices::write_model(model, key, function_name(key));
  devices::KernelCode code;
  code.signature = key;
  code.source = std::move(model.bytes);
  return code;
}

// A model that does next to nothing: its time is that of calling the engine.
Result<devices::KernelCode> empty_call(const devices::DeviceProfile& device, const std::string& precision,
                                       const ProfileOptions& options) {
  NAS_TRY(kernel, parse_signature("global_pool 1x1x1->1x1x1"));
  NAS_TRY(network, network_of(kernel));
  return engine_code(device, network, "empty call", precision, options);
}

// The hooks, with energy from the profile's coefficients on records that have none measured.
ProfileHooks with_modelled_energy(const devices::DeviceProfile& device, const ProfileHooks& hooks) {
  ProfileHooks wrapped = hooks;
  if (hooks.done)
    wrapped.done = [&device, &hooks](const KernelRecord& record) {
      KernelRecord full = record;
      if (full.failure.empty() && !full.energy)
        full.energy = modelled_energy(device, device.unit(), full.median);
      return hooks.done(full);
    };
  return wrapped;
}

Result<void> profile_codes(const devices::DeviceProfile& device, std::vector<devices::KernelCode> codes,
                           const ProfileOptions& options, SessionInfo& info, const ProfileHooks& plain) {
  if (options.energy && device.transport.kind != devices::TransportKind::local)
    return usage_error(
        "energy is measured on this machine only; other devices can state `energy` coefficients",
        device.name);
  const ProfileHooks hooks = with_modelled_energy(device, plain);
  NAS_CHECK(drop_too_large(device, codes, hooks));
  if (codes.empty()) return {};
  if (device.counts_instructions()) return count_on_emulator(device, codes, options, info, hooks);
  if (device.transport.kind == devices::TransportKind::serial)
    return time_on_board(device, codes, options, info, hooks);
  if (device.engine == "torch") return time_with_torch(device, codes, options, info, hooks);
  if (devices::is_loaded_engine(device.engine)) {
    NAS_TRY(empty, empty_call(device, info.precision, options));
    codes.push_back(std::move(empty));
  }
  return time_with_agent(device, std::move(codes), options, info, hooks);
}

// Adds the code, or records why there is none.
Result<void> take_code(Result<devices::KernelCode> code, const std::string& name, const ProfileHooks& hooks,
                       std::vector<devices::KernelCode>& codes) {
  if (code) {
    codes.push_back(*std::move(code));
    return {};
  }
  KernelRecord record;
  record.signature = name;
  record.failure = code.error().message;
  return hooks.done ? hooks.done(record) : Result<void>();
}

Result<void> check_engine(const devices::DeviceProfile& device, const ProfileOptions& options) {
  if (device.engine == "c") {
    if (options.threads == 1) return {};
    return usage_error(
        "generated kernels run on one thread: threads must be 1, found " + std::to_string(options.threads),
        device.name);
  }
  if (!options.parts.model || (device.engine == "torch" && options.parts.torch_agent.empty()))
    return usage_error("engine " + device.engine + " is not in this build of hwnas", device.name);
  return {};
}

Result<devices::KernelCode> kernel_code(const devices::DeviceProfile& device, const Kernel& kernel,
                                        const std::string& precision, const ProfileOptions& options) {
  const std::string key = signature(kernel);
  if (device.engine == "c") return devices::write_kernel(kernel, precision, function_name(key));
  NAS_TRY(network, network_of(kernel));
  return engine_code(device, network, key, precision, options);
}

}  // namespace

Result<void> profile_kernels(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  return profile_with_networks(device, kernels, {}, options, info, hooks);
}

Result<void> profile_with_networks(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                                   std::span<const NamedNetwork> networks, const ProfileOptions& options,
                                   SessionInfo& info, const ProfileHooks& hooks) {
  NAS_CHECK(check_engine(device, options));
  if (!networks.empty() && device.engine == "c" && info.precision != "int8")
    return usage_error(
        "whole networks are measured as the int8 C that is exported; required --precision int8, found " +
            info.precision,
        device.name);
  std::vector<devices::KernelCode> codes;
  for (const Kernel& kernel : kernels)
    NAS_CHECK(
        take_code(kernel_code(device, kernel, info.precision, options), signature(kernel), hooks, codes));
  for (const NamedNetwork& one : networks) {
    const std::string name = kNetworkPrefix + one.name;
    NAS_CHECK(take_code(device.engine == "c"
                            ? devices::write_network(one.network, name, function_name(name))
                            : engine_code(device, one.network, name, info.precision, options),
                        name, hooks, codes));
  }
  return profile_codes(device, std::move(codes), options, info, hooks);
}

}  // namespace nas::latency
