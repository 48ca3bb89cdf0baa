#include "devices/emulator/qemu.h"

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <sstream>

#include "devices/emulator/embedded_sources.h"
#include "space/base/file.h"

namespace nas::devices::emulator {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A folder of its own that goes with the object.
class WorkFolder {
 public:
  static Result<WorkFolder> make(const fs::path& parent) {
    static std::atomic<unsigned> next{0};
    const fs::path path =
        parent / ("work-" + std::to_string(::getpid()) + "-" + std::to_string(next.fetch_add(1)));
    std::error_code code;
    fs::remove_all(path, code);
    if (!fs::create_directories(path, code))
      return Error{"cannot make a work folder: " + code.message(), path.string()};
    return WorkFolder(fs::absolute(path));
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  explicit WorkFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// The compiler's full path and its own account of itself; part of every cache key.
Result<std::string> version_of(const std::string& compiler) {
  NAS_TRY(path, find_program(compiler));
  NAS_TRY(version, run_checked({.arguments = {path, "--version"}, .timeout = 20s}));
  return path + "\n" + version.output;
}

std::string cache_key(const std::string& version, const std::vector<std::string>& flags,
                      const std::map<std::string, std::string>& files) {
  std::string all = version;
  const auto add = [&all](const std::string& text) { all += std::to_string(text.size()) + ":" + text; };
  for (const std::string& flag : flags) add(flag);
  for (const auto& [name, text] : files) add(name), add(text);
  return sha256(all).substr(0, 32);
}

Result<void> write_all(const fs::path& folder, const std::map<std::string, std::string>& files) {
  for (const auto& [name, text] : files) NAS_CHECK(write_file(folder / name, text));
  return {};
}

Result<void> publish(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) return Error{"cannot move a build to its place: " + code.message(), to.string()};
  return {};
}

Result<std::uint64_t> symbol_address(const std::string& table, const std::string& name) {
  std::istringstream lines(table);
  std::string address, kind, symbol;
  while (lines >> address >> kind >> symbol)
    if (symbol == name) {
      std::uint64_t value = 0;
      std::from_chars(address.data(), address.data() + address.size(), value, 16);
      return value;
    }
  return Error{"the program must hold the symbol " + name + ", found none"};
}

// Debian's cross tools share a prefix: "arm-none-eabi-gcc" -> "arm-none-eabi-nm"; plain "gcc" -> "nm".
std::string nm_of(const std::string& compiler) { return compiler.substr(0, compiler.size() - 3) + "nm"; }

Result<BuiltProgram> with_markers(const fs::path& elf, const std::string& compiler) {
  NAS_TRY(table,
          run_checked({.arguments = {nm_of(compiler), "--defined-only", elf.string()}, .timeout = 20s}));
  NAS_TRY(begin, symbol_address(table.output, "nas_region_begin"));
  NAS_TRY(end, symbol_address(table.output, "nas_region_end"));
  return BuiltProgram{elf, begin, end};
}

Result<std::vector<RegionCount>> read_counts(const fs::path& file) {
  NAS_TRY(text, read_file(file));
  std::vector<RegionCount> regions;
  std::istringstream lines(text);
  for (RegionCount region; lines >> region.total; regions.push_back(region))
    for (std::uint64_t& count : region.by_class)
      if (!(lines >> count))
        return Error{"a line of counts must hold 11 numbers, found fewer", file.string()};
  return regions;
}

}  // namespace

Result<fs::path> Emulator::plugin() const {
  const std::string compiler = "gcc";
  const std::vector<std::string> flags = {"-std=gnu11", "-O2", "-shared", "-fPIC"};
  const std::map<std::string, std::string> files = {{"insn_plugin.c", emulator_file("insn_plugin.c")}};
  NAS_TRY(version, version_of(compiler));
  const fs::path target = fs::absolute(cache_) / (cache_key(version, flags, files) + ".so");
  if (fs::exists(target)) return target;
  NAS_TRY(work, WorkFolder::make(cache_));
  NAS_CHECK(write_all(work.path(), files));
  std::vector<std::string> command{compiler};
  command.insert(command.end(), flags.begin(), flags.end());
  command.insert(command.end(), {"insn_plugin.c", "-o", "plugin.so"});
  NAS_CHECK(run_checked({.arguments = command, .working_folder = work.path().string()}));
  NAS_CHECK(publish(work.path() / "plugin.so", target));
  return target;
}

Result<BuiltProgram> Emulator::compile(const std::string& compiler, const Program& program,
                                       const std::string& start,
                                       const std::vector<std::string>& machine_flags,
                                       const std::string& script) const {
  std::map<std::string, std::string> files = program.sources;
  files["nas_board.h"] = emulator_file("nas_board.h");
  files["nas_start.c"] = start;
  if (!script.empty()) files["nas_board.ld"] = script;
  std::vector<std::string> flags = program.flags;
  flags.insert(flags.end(), machine_flags.begin(), machine_flags.end());
  NAS_TRY(version, version_of(compiler));
  const fs::path target = fs::absolute(cache_) / (cache_key(version, flags, files) + ".elf");
  if (fs::exists(target)) return with_markers(target, compiler);

  NAS_TRY(work, WorkFolder::make(cache_));
  NAS_CHECK(write_all(work.path(), files));
  std::vector<std::string> command{compiler};
  for (const auto& [name, text] : files)
    if (name.ends_with(".c")) command.push_back(name);
  command.insert(command.end(), flags.begin(), flags.end());
  command.insert(command.end(), {"-o", "program.elf", "-lm"});
  NAS_CHECK(run_checked({.arguments = command, .timeout = 300s, .working_folder = work.path().string()}));
  NAS_CHECK(publish(work.path() / "program.elf", target));
  return with_markers(target, compiler);
}

Result<BuiltProgram> Emulator::build(const Board& board, const Program& program) const {
  std::vector<std::string> flags = {"-mthumb"};
  flags.insert(flags.end(), board.cpu_flags.begin(), board.cpu_flags.end());
  flags.insert(flags.end(), {"-ffunction-sections", "-fdata-sections", "-nostartfiles", "--specs=nano.specs",
                             "--specs=nosys.specs", "-Wl,--gc-sections", "-Wl,-u,nas_region_begin",
                             "-Wl,-u,nas_region_end", "-Wl,--no-warn-rwx-segments", "-T", "nas_board.ld"});
  return compile("arm-none-eabi-gcc", program, emulator_file("cortex_m_start.c"), flags,
                 linker_script(board.flash, board.ram));
}

Result<BuiltProgram> Emulator::build_aarch64(const Program& program) const {
  return compile("aarch64-linux-gnu-gcc", program, emulator_file("user_start.c"), {"-static"}, "");
}

Result<BuiltProgram> Emulator::build_host(const Program& program) const {
  return compile("gcc", program, emulator_file("user_start.c"), {}, "");
}

// `command` ends before the plugin's option; the program file is appended.
Result<EmulatedRun> Emulator::execute(std::vector<std::string> command, const BuiltProgram& built,
                                      const RunOptions& options, bool system) const {
  NAS_TRY(work, WorkFolder::make(cache_));
  NAS_CHECK(write_all(work.path(), options.files));
  const fs::path counts = work.path() / "nas-instruction-counts";
  if (options.count) {
    NAS_TRY(library, plugin());
    std::ostringstream option;
    option << library.string() << ",begin=" << std::hex << built.begin_marker << ",end=" << built.end_marker
           << ",classes=on,out=" << counts.string();
    command.insert(command.end(), {"-plugin", option.str()});
  }
  if (system) command.push_back("-kernel");
  command.push_back(built.elf.string());
  NAS_TRY(finished,
          run_process(
              {.arguments = command, .timeout = options.timeout, .working_folder = work.path().string()}));
  if (finished.timed_out || finished.signal != 0)
    return Error{"the program must end by itself, found " + describe_end(finished) + ": " + finished.errors,
                 command.front(), ErrorKind::device};
  EmulatedRun result{finished.exit_code, finished.output + finished.errors, {}, {}};
  if (options.count) {
    NAS_TRY(regions, read_counts(counts));
    result.regions = std::move(regions);
  }
  for (const std::string& name : options.wanted) {
    NAS_TRY(text, read_file(work.path() / name));
    result.files[name] = std::move(text);
  }
  return result;
}

Result<EmulatedRun> Emulator::run(const Board& board, const BuiltProgram& built,
                                  const RunOptions& options) const {
  NAS_TRY(qemu, find_program("qemu-system-arm"));
  return execute({qemu, "-M", board.name, "-display", "none", "-serial", "null", "-monitor", "none",
                  "-semihosting-config", "enable=on,target=native"},
                 built, options, true);
}

Result<EmulatedRun> Emulator::run_aarch64(const std::string& cpu, const BuiltProgram& built,
                                          const RunOptions& options) const {
  NAS_TRY(qemu, find_program("qemu-aarch64"));
  return execute({qemu, "-cpu", cpu}, built, options, false);
}

Result<EmulatedRun> Emulator::run_host(const BuiltProgram& built, const RunOptions& options) const {
  if (options.count) return usage_error("instructions can be counted under emulation only, found the host");
  return execute({}, built, options, false);
}

}  // namespace nas::devices::emulator
