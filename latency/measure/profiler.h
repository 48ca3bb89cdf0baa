#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/engine.h"
#include "devices/profile.h"
#include "latency/measure/schedule.h"
#include "latency/measure/session.h"
#include "space/base/result.h"
#include "space/kernel.h"

namespace nas::latency {

// What the profiler needs of parts that it may not know: the writers of models and LibTorch.
struct EngineParts {
  // A network as the device's engine reads it; for engine torch one line of text.
  std::function<Result<devices::EngineModel>(const devices::DeviceProfile&, const Network&,
                                             const std::string& name, const std::string& precision)>
      model;
  std::vector<std::string> torch_agent;  // command of the agent that holds LibTorch; a file of models follows
};

struct ProfileOptions {
  std::string precision;  // "int8" or "fp32"; empty: the device's first
  MeasureOptions measure;
  bool cold = false;    // evict the caches before every sample
  std::string taskset;  // hexadecimal mask of cores for the agent; empty: not pinned
  bool energy = false;  // read this machine's energy counter (RAPL) for every kernel
  int threads = 1;      // of an engine; generated C runs on one
  EngineParts parts = {};
  std::filesystem::path cache;  // builds
  std::string space;            // a word for the record
  // A session that goes on: its records and its reference kernel's signature. Visits of provisional records
  // count, and all were measured against one baseline.
  std::vector<KernelRecord> earlier = {};
  std::string reference = {};
};

// What the profiler tells while it works. Every callable may be empty.
struct ProfileHooks {
  // Before the first kernel, with what is known of the device and the reference kernel; an error ends it.
  std::function<Result<void>(const SessionInfo&)> begun;
  std::function<Result<void>(const KernelRecord&)> done;  // each kernel at once, and provisional ones
  std::function<void(std::size_t finished, std::size_t total, const std::string& what)> progress;
  std::function<bool()> stop;
  std::function<void(const DeviceState&)> state;  // how the device is, every now and then
};

// What is known before anything runs: the session's record with compiler, flags, options and the device's
// state.
Result<SessionInfo> describe_session(const devices::DeviceProfile& device, const ProfileOptions& options);

// Measures each kernel on the device, with the engine and over the transport of its profile. A kernel that
// the engine has no code for, that does not fit, or that crashes the agent gets a record with its failure;
// the others go on. Fails when the device cannot be used at all. Adds to info.context what is seen on the
// device before and after.
Result<void> profile_kernels(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

// A whole network and its architecture's text.
struct NamedNetwork {
  std::string name;
  Network network;
};

// The same with whole networks beside the kernels, in one go and against one baseline, so that sums of
// kernels can be held against them: engine c as the int8 code that is exported, other engines at the
// session's precision. Records are named kNetworkPrefix + name. What profile_kernels says holds here too.
Result<void> profile_with_networks(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                                   std::span<const NamedNetwork> networks, const ProfileOptions& options,
                                   SessionInfo& info, const ProfileHooks& hooks);

// Seconds that profile_kernels will need about, and how that is known.
struct TimeEstimate {
  double seconds = 0;
  std::string basis;
};
// With `may_measure`, a few kernels are built and measured first (some seconds) where the device is this
// machine or an emulator: builds and runs take what they take under the present load.
TimeEstimate estimated_seconds(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                               const ProfileOptions& options, bool may_measure);

// The present time as ISO 8601 in UTC.
std::string utc_now();

}  // namespace nas::latency
