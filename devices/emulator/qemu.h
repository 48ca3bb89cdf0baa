#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "devices/emulator/board.h"
#include "devices/process.h"
#include "space/base/result.h"

namespace nas::devices::emulator {

// A C program that defines nas_main() (nas_board.h) and what it is compiled with.
struct Program {
  std::map<std::string, std::string>
      sources;  // file name -> text; "*.c" are compiled, the rest only included
  std::vector<std::string> flags{"-std=c99", "-O2"};
};

// Classes of instructions as insn_plugin.c counts them. The counts of a region add up to its total.
inline constexpr std::array<const char*, 10> kInstructionClasses = {
    "load", "load_pair", "store", "multiple", "mac", "mul", "pack", "branch", "vector", "other"};

struct RegionCount {
  std::uint64_t total = 0;  // guest instructions
  std::array<std::uint64_t, kInstructionClasses.size()> by_class{};
};

struct RunOptions {
  std::chrono::milliseconds timeout{120000};
  bool count = false;                             // with the plugin: fills EmulatedRun::regions
  std::map<std::string, std::string> files = {};  // written to the program's folder before it starts
  std::vector<std::string> wanted = {};           // files read back from it afterwards
};

struct EmulatedRun {
  int exit_code = 0;
  std::string output;
  std::vector<RegionCount> regions;          // in order of execution
  std::map<std::string, std::string> files;  // the wanted ones
};

struct BuiltProgram {
  std::filesystem::path elf;
  std::uint64_t begin_marker = 0;
  std::uint64_t end_marker = 0;
};

// Builds and runs programs for machines that are not this one. Every build is kept in the cache folder under
// the hash of all that went into it, so a second build of the same program costs nothing. Stateless but for
// the folder: safe to use from several threads and processes.
class Emulator {
 public:
  explicit Emulator(std::filesystem::path cache) : cache_(std::move(cache)) {}

  // Firmware for a Cortex-M board. Fails with the compiler's words, and when code or data do not fit the
  // board.
  Result<BuiltProgram> build(const Board& board, const Program& program) const;
  // Runs under qemu-system-arm. A fault on the board is exit code 99; a time-out or a crash of QEMU is an
  // Error.
  Result<EmulatedRun> run(const Board& board, const BuiltProgram& built,
                          const RunOptions& options = {}) const;

  // The same for AArch64 Linux under qemu-aarch64; `cpu` is QEMU's name, "cortex-a76".
  Result<BuiltProgram> build_aarch64(const Program& program) const;
  Result<EmulatedRun> run_aarch64(const std::string& cpu, const BuiltProgram& built,
                                  const RunOptions& options = {}) const;

  // The same for this machine, without a counter.
  Result<BuiltProgram> build_host(const Program& program) const;
  Result<EmulatedRun> run_host(const BuiltProgram& built, const RunOptions& options = {}) const;

 private:
  Result<std::filesystem::path> plugin() const;
  Result<BuiltProgram> compile(const std::string& compiler, const Program& program, const std::string& start,
                               const std::vector<std::string>& machine_flags,
                               const std::string& script) const;
  Result<EmulatedRun> execute(std::vector<std::string> command, const BuiltProgram& built,
                              const RunOptions& options, bool system) const;

  std::filesystem::path cache_;
};

}  // namespace nas::devices::emulator
