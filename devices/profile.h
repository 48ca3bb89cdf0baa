#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/agent_build.h"
#include "space/base/result.h"
#include "space/kernel.h"

namespace nas::devices {

// How a program gets to the device and how one talks to it there.
enum class TransportKind {
  local,        // a child process on this machine
  ssh,          // another machine with a shell
  adb,          // an Android device
  serial,       // a board on a tty that runs the agent from its flash
  qemu_system,  // an emulated board; counts instructions
  qemu_user,    // an emulated processor under this machine's kernel; counts instructions
};
std::string_view to_string(TransportKind kind);

struct TransportSpec {
  TransportKind kind = TransportKind::local;
  std::string address;  // ssh: [user@]host; adb: serial number, empty for the only one; serial: tty path
  int port = 0;         // ssh; 0: the default
  int baud = 115200;
  std::string folder;                     // ssh, adb: where programs are put
  std::vector<std::string> options = {};  // ssh: arguments before the address ("-i", "key")
  std::string machine;             // qemu-system: board of devices/emulator/board.h; qemu-user: processor
  std::vector<std::string> flash;  // serial: command that writes an ELF file to the board, "{elf}" replaced
  std::string board;               // serial: platform code of the agent, "stm32f4"
};

// What one can say about energy without measuring it. Estimates made from it are `modelled`.
struct EnergyModel {
  std::optional<double> active_milliwatts;           // times the measured or estimated time
  std::optional<double> picojoules_per_instruction;  // times counted instructions
  std::string source;                                // where the coefficients come from
};

// A device as data. docs/devices.md lists the keys.
struct DeviceProfile {
  std::string name;
  std::string description;
  std::string kind;    // host, phone, board, mcu, gpu
  std::string engine;  // c, torch, onnxruntime, tflite
  std::string core;
  int cores = 1;
  double clock_mhz = 0;                   // 0: not stated
  std::optional<std::int64_t> ram_bytes;  // budgets for one network
  std::optional<std::int64_t> flash_bytes;
  std::vector<std::string> precisions;  // "int8", "fp32", the usual one first
  TransportSpec transport;
  Toolchain toolchain;
  EnergyModel energy;
  FusionRules fusion;
  std::string fingerprint;  // of the profile's text

  // Emulators count instructions and never say milliseconds.
  bool counts_instructions() const {
    return transport.kind == TransportKind::qemu_system || transport.kind == TransportKind::qemu_user;
  }
  std::string unit() const { return counts_instructions() ? "instructions" : "ns"; }
};

// A profile from JSON with comments; all problems at once as file:line:column.
Result<DeviceProfile> parse_profile(const std::string& json_text, const std::string& where);

std::vector<std::string> builtin_profile_names();
// A shipped profile, one of `folder` (NAME.json, added by the user; may be absent), or a path that ends in
// ".json". An unknown name's error suggests the nearest.
Result<DeviceProfile> load_profile(const std::string& name_or_path, const std::filesystem::path& folder = {});
// Names of all: shipped ones and those of `folder`; the text of one.
std::vector<std::string> profile_names(const std::filesystem::path& folder);
Result<std::string> profile_text(const std::string& name_or_path, const std::filesystem::path& folder = {});

}  // namespace nas::devices
