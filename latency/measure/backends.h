#pragma once
#include <span>
#include <string>
#include <vector>

#include "devices/kernel_code.h"
#include "latency/measure/profiler.h"

namespace nas::latency {

// Counts each kernel's instructions under QEMU: two runs, which must agree to the instruction.
Result<void> count_on_emulator(const devices::DeviceProfile& device,
                               std::span<const devices::KernelCode> codes, const ProfileOptions& options,
                               SessionInfo& info, const ProfileHooks& hooks);

// Times each kernel with the agent on this machine, over ssh or over adb, with the profile's engine.
Result<void> time_with_agent(const devices::DeviceProfile& device, std::vector<devices::KernelCode> codes,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

// Times models with LibTorch's agent on this machine; the source of each code is its line of text.
Result<void> time_with_torch(const devices::DeviceProfile& device, std::span<const devices::KernelCode> codes,
                             const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

// The same on a board whose firmware is the agent, over its serial line; kernels that do not fit its memory
// together are spread over several firmwares.
Result<void> time_on_board(const devices::DeviceProfile& device, std::span<const devices::KernelCode> codes,
                           const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks);

// Is a linker's message about code or data that do not fit? Its words about that, without paths.
bool is_about_memory(const std::string& message);
std::string memory_words(const std::string& message);

}  // namespace nas::latency
