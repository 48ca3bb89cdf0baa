#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::devices::emulator {

struct MemoryRange {
  std::uint32_t origin = 0;
  std::uint32_t length = 0;  // bytes
};

// For GNU ld: code and constants in flash, data in RAM, 4 KiB of it left for the stack.
std::string linker_script(const MemoryRange& flash, const MemoryRange& ram);

// A machine the emulator knows: what QEMU calls it, how to compile for its core, and where its memory lies.
struct Board {
  std::string name;                    // QEMU's machine name
  std::string core;                    // "cortex-m4"
  std::vector<std::string> cpu_flags;  // for arm-none-eabi-gcc
  MemoryRange flash;
  MemoryRange ram;
  bool dsp = false;  // has SMLAD and its family
};

std::span<const Board> boards();
Result<Board> find_board(const std::string& name);

}  // namespace nas::devices::emulator
