#include "devices/serial_board.h"

#include <array>
#include <cmath>
#include <thread>

#include "devices/emulator/board.h"
#include "devices/failure.h"
#include "devices/process.h"

namespace nas::devices {
namespace {

using namespace std::chrono_literals;

// What hw_baremetal.c must know of a part, from ST's reference manuals RM0090 (F4), RM0385 (F7) and RM0433
// (H7): the UART that Nucleo boards join to the debugger's virtual port, its pins (send, receive: the next
// one; alternate function 7) and the bits that clock them. RAM is the largest block that needs no setting up.
struct Part {
  std::string_view name;
  std::uint32_t flash_origin, ram_origin;
  int uart_generation;
  std::uint32_t uart, uart_clock, uart_clock_bit;
  std::uint32_t gpio, gpio_clock, gpio_clock_bit;
  int tx_pin;
};

constexpr std::array<Part, 3> kParts{{
    {"stm32f4", 0x08000000, 0x20000000, 1, 0x40004400, 0x40023840, 1u << 17, 0x40020000, 0x40023830, 1u << 0,
     2},
    {"stm32f7", 0x08000000, 0x20000000, 2, 0x40004800, 0x40023840, 1u << 18, 0x40020C00, 0x40023830, 1u << 3,
     8},
    {"stm32h7", 0x08000000, 0x24000000, 2, 0x40004800, 0x580244E8, 1u << 18, 0x58020C00, 0x580244E0, 1u << 3,
     8},
}};

Result<Part> find_part(const DeviceProfile& device) {
  std::string known;
  for (const Part& part : kParts) {
    if (part.name == device.transport.board) return part;
    known += (known.empty() ? "" : ", ") + std::string(part.name);
  }
  return usage_error("transport.board must be one of " + known + ", found '" + device.transport.board + "'",
                     device.name);
}

std::string define(const char* name, std::uint32_t value) {
  return "-DHW_" + std::string(name) + "=" + std::to_string(value) + "u";
}

Toolchain toolchain_of(const DeviceProfile& device, const Part& part) {
  Toolchain all = device.toolchain;
  all.flags.insert(all.flags.end(), {"-ffunction-sections", "-fdata-sections"});
  // Only hw_baremetal.c reads them, but one command line compiles all.
  for (const std::string& flag :
       {"-DHW_UART_GENERATION=" + std::to_string(part.uart_generation), define("UART_BASE", part.uart),
        define("UART_CLOCK", part.uart_clock), define("UART_CLOCK_BIT", part.uart_clock_bit),
        define("GPIO_BASE", part.gpio), define("GPIO_CLOCK", part.gpio_clock),
        define("GPIO_CLOCK_BIT", part.gpio_clock_bit),
        define("TX_PIN", static_cast<std::uint32_t>(part.tx_pin)),
        define("CLOCK_HZ", static_cast<std::uint32_t>(std::llround(device.clock_mhz * 1e6))),
        "-DHW_CLOCK_KHZ=\"" + std::to_string(std::llround(device.clock_mhz * 1e3)) + "\"",
        define("BAUD", static_cast<std::uint32_t>(device.transport.baud)),
        "-DHW_PLATFORM=\"" + std::string(part.name) + "\""})
    all.flags.push_back(flag);
  all.link_flags.insert(all.link_flags.end(), {"-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs",
                                               "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-lm"});
  return all;
}

std::string replaced(std::string word, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = word.find(what, at)) != std::string::npos; at += with.size())
    word.replace(at, what.size(), with);
  return word;
}

}  // namespace

Result<AgentBuild> build_firmware(const DeviceProfile& device, std::span<const KernelCode> kernels,
                                  const std::filesystem::path& cache) {
  NAS_TRY(part, find_part(device));
  if (!device.ram_bytes || !device.flash_bytes || device.clock_mhz <= 0)
    return usage_error("a board on a serial line needs ram_bytes, flash_bytes and clock_mhz in its profile",
                       device.name);
  const AgentPlatform platform{
      "hw_baremetal.c",
      emulator::linker_script({part.flash_origin, static_cast<std::uint32_t>(*device.flash_bytes)},
                              {part.ram_origin, static_cast<std::uint32_t>(*device.ram_bytes)})};
  return build_agent(toolchain_of(device, part), kernels, cache, platform);
}

Result<ByteStream> flash_and_open(const DeviceProfile& device, const AgentBuild& firmware) {
  if (device.transport.flash.empty())
    return usage_error("transport.flash must be the command that writes {elf} or {bin} to the board",
                       device.name);
  const std::string elf = firmware.program.string(), bin = elf + ".bin";
  std::vector<std::string> command;
  for (const std::string& word : device.transport.flash)
    command.push_back(replaced(replaced(word, "{elf}", elf), "{bin}", bin));
  if (!std::filesystem::exists(bin)) {
    const std::string& compiler = device.toolchain.compiler;
    const std::string objcopy = compiler.substr(0, compiler.size() - 3) + "objcopy";
    NAS_CHECK(run_checked({.arguments = {objcopy, "-O", "binary", elf, bin}, .timeout = 60s}));
  }
  const auto flashed = run_checked({.arguments = command, .timeout = 180s});
  if (!flashed) return device_failure(Failure::not_responding, flashed.error().message, device.name);
  // A debugger's port may vanish for a moment while the board starts anew.
  auto line = ByteStream::open_tty(device.transport.address, device.transport.baud);
  for (int attempt = 0; attempt < 30 && !line && failure_of(line.error()) == Failure::not_responding;
       ++attempt) {
    std::this_thread::sleep_for(100ms);
    line = ByteStream::open_tty(device.transport.address, device.transport.baud);
  }
  return line;
}

}  // namespace nas::devices
