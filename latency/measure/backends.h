#pragma once
#include <span>
#include <vector>

#include "devices/kernel_code.h"
#include "latency/measure/profiler.h"

namespace nas::latency {

// Counts each kernel's instructions under QEMU: two runs, which must agree to the instruction.
Result<void> count_on_emulator(const devices::DeviceProfile& device,
                               std::span<const devices::KernelCode> codes, const ProfileOptions& options,
                               SessionInfo& info, const ProfileHooks& hooks);

// Times each kernel with the agent on this machine, over ssh or over adb.
Result<void> time_with_agent(const devices::DeviceProfile& device, std::vector<devices::KernelCode> codes,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

}  // namespace nas::latency
