#pragma once
#include <filesystem>
#include <span>

#include "devices/agent_build.h"
#include "devices/byte_stream.h"
#include "devices/profile.h"

namespace nas::devices {

// Compiles the agent with these kernels as the firmware of a board on a serial line (transport.board:
// stm32f4, stm32f7, stm32h7). Fails with the linker's words when it does not fit the profile's RAM and flash.
Result<AgentBuild> build_firmware(const DeviceProfile& device, std::span<const KernelCode> kernels,
                                  const std::filesystem::path& cache);

// Writes the firmware with the profile's flash command ("{elf}", "{bin}" replaced) and opens the line.
Result<ByteStream> flash_and_open(const DeviceProfile& device, const AgentBuild& firmware);

}  // namespace nas::devices
