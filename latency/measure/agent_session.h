#pragma once
#include <functional>
#include <span>

#include "devices/agent_build.h"
#include "devices/transport.h"
#include "latency/measure/backends.h"

namespace nas::latency {

using AgentOpener = std::function<Result<devices::ByteStream>()>;

// Measures with an agent that holds just these kernels; `open` starts it, again when a kernel brings it down.
// With `empty_call` the last code is an engine's empty call, whose time is taken off the others.
Result<void> measure_with(const AgentOpener& open, const devices::AgentBuild& build,
                          std::span<const devices::KernelCode> codes, const ProfileOptions& options,
                          SessionInfo& info, const ProfileHooks& hooks, bool empty_call = false);

}  // namespace nas::latency
