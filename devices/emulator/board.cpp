#include "devices/emulator/board.h"

#include "devices/emulator/embedded_sources.h"

namespace nas::devices::emulator {
namespace {

std::string replace_all(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

}  // namespace

std::string linker_script(const MemoryRange& flash, const MemoryRange& ram) {
  std::string text = emulator_file("cortex_m.ld");
  text = replace_all(text, "@FLASH_ORIGIN@", std::to_string(flash.origin));
  text = replace_all(text, "@FLASH_LENGTH@", std::to_string(flash.length));
  text = replace_all(text, "@RAM_ORIGIN@", std::to_string(ram.origin));
  text = replace_all(text, "@RAM_LENGTH@", std::to_string(ram.length));
  return replace_all(text, "@STACK_RESERVE@", "4096");
}

std::span<const Board> boards() {
  constexpr std::uint32_t kKiB = 1024, kMiB = 1024 * kKiB;
  // netduinoplus2 has the memory of a real part (STM32F405), the others that of an FPGA image.
  static const std::vector<Board> all = {
      {"mps2-an385",
       "cortex-m3",
       {"-mcpu=cortex-m3", "-mfloat-abi=soft"},
       {0x00000000, 4 * kMiB},
       {0x20000000, 4 * kMiB},
       false},
      {"mps2-an386",
       "cortex-m4",
       {"-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"},
       {0x00000000, 4 * kMiB},
       {0x20000000, 4 * kMiB},
       true},
      {"mps2-an500",
       "cortex-m7",
       {"-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"},
       {0x00000000, 4 * kMiB},
       {0x20000000, 4 * kMiB},
       true},
      {"mps2-an505",
       "cortex-m33",
       {"-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"},
       {0x10000000, 4 * kMiB},
       {0x38000000, 2 * kMiB},
       true},
      {"mps3-an547",
       "cortex-m55",
       {"-mcpu=cortex-m55", "-mfloat-abi=hard"},
       {0x00000000, 512 * kKiB},
       {0x20000000, 512 * kKiB},
       true},
      {"netduinoplus2",
       "cortex-m4",
       {"-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"},
       {0x08000000, 1 * kMiB},
       {0x20000000, 192 * kKiB},
       true},
  };
  return all;
}

Result<Board> find_board(const std::string& name) {
  std::string known;
  for (const Board& board : boards()) {
    if (board.name == name) return board;
    known += (known.empty() ? "" : ", ") + board.name;
  }
  return usage_error("board must be one of " + known + ", found " + name);
}

}  // namespace nas::devices::emulator
