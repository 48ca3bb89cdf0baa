#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/profile.h"
#include "latency/measure/schedule.h"
#include "latency/measure/session.h"
#include "space/base/result.h"
#include "space/kernel.h"

namespace nas::latency {

struct ProfileOptions {
  std::string precision;  // "int8" or "fp32"; empty: the device's first
  MeasureOptions measure;
  bool cold = false;            // evict the caches before every sample
  std::string taskset;          // hexadecimal mask of cores for the agent; empty: not pinned
  std::filesystem::path cache;  // builds
  std::string space;            // a word for the record
  bool redo_unsteady = true;    // measure once more what was not steady
};

// What the profiler tells while it works. Every callable may be empty.
struct ProfileHooks {
  std::function<Result<void>(const KernelRecord&)> done;  // each kernel at once; an error ends the profiling
  std::function<void(std::size_t finished, std::size_t total, const std::string& what)> progress;
  std::function<bool()> stop;
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

// Measures whole int8 networks, as they are exported, with drawn weights; records are named kNetworkPrefix +
// name. What profile_kernels says holds here too.
Result<void> profile_networks(const devices::DeviceProfile& device, std::span<const NamedNetwork> networks,
                              const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

// Seconds that profile_kernels will need about: a build plus measuring for each kernel.
double estimated_seconds(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                         const MeasureOptions& options);

// The present time as ISO 8601 in UTC.
std::string utc_now();

}  // namespace nas::latency
