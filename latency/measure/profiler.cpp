#include "latency/measure/profiler.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <thread>

#include "devices/kernel_writer.h"
#include "devices/network_writer.h"
#include "latency/measure/backends.h"
#include "space/base/hash.h"
#include "space/cost.h"

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
  info.context["threads"] = "1";
  const MeasureOptions& m = options.measure;
  info.context["protocol"] = "num-runs " + std::to_string(m.num_runs) + ", warmup-runs " +
                             std::to_string(m.warmup_runs) + ", max-secs " + std::to_string(m.max_secs) +
                             ", reference every " + std::to_string(m.reference_every);
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

Result<void> profile_codes(const devices::DeviceProfile& device, std::vector<devices::KernelCode> codes,
                           const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  NAS_CHECK(drop_too_large(device, codes, hooks));
  if (codes.empty()) return {};
  if (device.counts_instructions()) return count_on_emulator(device, codes, options, info, hooks);
  if (device.transport.kind == devices::TransportKind::serial)
    return time_on_board(device, codes, options, info, hooks);
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

// Names follow the work, not the place in the list: builds are found again in the cache.
std::string function_name(const std::string& signature) {
  return "k_" + to_string(hash_text(signature)).substr(0, 16);
}

Result<void> check_engine(const devices::DeviceProfile& device) {
  if (device.engine == "c") return {};
  return usage_error("engine " + device.engine + " is not in this build of hwnas", device.name);
}

}  // namespace

Result<void> profile_kernels(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  NAS_CHECK(check_engine(device));
  std::vector<devices::KernelCode> codes;
  for (const Kernel& kernel : kernels) {
    const std::string key = signature(kernel);
    NAS_CHECK(
        take_code(devices::write_kernel(kernel, info.precision, function_name(key)), key, hooks, codes));
  }
  return profile_codes(device, std::move(codes), options, info, hooks);
}

Result<void> profile_networks(const devices::DeviceProfile& device, std::span<const NamedNetwork> networks,
                              const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  NAS_CHECK(check_engine(device));
  if (info.precision != "int8")
    return usage_error(
        "whole networks are measured as the int8 C that is exported; required --precision int8, found " +
            info.precision,
        device.name);
  std::vector<devices::KernelCode> codes;
  for (const NamedNetwork& one : networks) {
    const std::string name = kNetworkPrefix + one.name;
    NAS_CHECK(take_code(devices::write_network(one.network, name, function_name(name)), name, hooks, codes));
  }
  return profile_codes(device, std::move(codes), options, info, hooks);
}

double estimated_seconds(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                         const MeasureOptions& options) {
  const double jobs = std::max(1u, std::thread::hardware_concurrency());
  double seconds = 0;
  for (const Kernel& kernel : kernels) {
    const double work =
        static_cast<double>(std::max<std::int64_t>(macs(kernel.anchor).count(), kernel.anchor.in.elements()));
    // A build takes about 0.15 s. Emulators: 3 instructions a MAC, 0.7 G instructions a second, run twice.
    // Real devices: one MAC a cycle, samples of at least 50 us, six visits with warm-up.
    if (device.counts_instructions()) {
      seconds += 0.15 / jobs + 2 * 3 * work / 0.7e9;
      continue;
    }
    const double hertz = device.clock_mhz > 0 ? device.clock_mhz * 1e6 : 2e9;
    const double sample = std::max(options.min_sample_secs, work / hertz);
    seconds += 0.15 / jobs +
               std::min(options.max_secs, 1.6 * std::max<std::uint32_t>(options.num_runs, 60) * sample);
  }
  return seconds;
}

}  // namespace nas::latency
