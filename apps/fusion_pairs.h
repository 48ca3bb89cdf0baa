#pragma once
#include "apps/command.h"
#include "devices/profile.h"
#include "latency/measure/profiler.h"

namespace nas::apps {

// Convolution, activation and both in one, measured in turn: does the engine run the pair as one kernel?
// Prints a row a pair; the exit code.
Result<int> test_fusion_pairs(const Context& context, const devices::DeviceProfile& device,
                              const latency::ProfileOptions& options, latency::SessionInfo info);

}  // namespace nas::apps
