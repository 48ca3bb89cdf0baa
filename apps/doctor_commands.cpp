#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "apps/command.h"
#include "devices/device_lock.h"
#include "devices/engine.h"
#include "devices/process.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

struct Tool {
  const char* program;
  const char* needed_for;
  const char* package;
};

constexpr Tool kTools[] = {
    {"gcc", "host kernels; the instruction counter", "gcc"},
    {"arm-none-eabi-gcc", "Cortex-M boards", "gcc-arm-none-eabi libnewlib-arm-none-eabi"},
    {"aarch64-linux-gnu-gcc", "phones and boards with AArch64", "g++-aarch64-linux-gnu"},
    {"qemu-system-arm", "emulated Cortex-M boards", "qemu-system-arm"},
    {"qemu-aarch64", "emulated AArch64 processors", "qemu-user"},
    {"adb", "Android phones", "adb"},
    {"ssh", "other machines", "openssh-client"},
    {"st-flash", "writing STM32 boards", "stlink-tools"},
    {"nvidia-smi", "CUDA devices", "the vendor's driver"},
};

std::string first_line_of(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void add_row(std::vector<Record>& rows, const std::string& what, const std::string& state,
             const std::string& found, const std::string& advice) {
  rows.push_back({{"what", what}, {"state", state}, {"found", found}, {"advice", advice}});
}

void check_tools(std::vector<Record>& rows) {
  for (const Tool& tool : kTools) {
    const auto path = devices::find_program(tool.program);
    add_row(rows, tool.program, path ? "ok" : "missing", path ? *path : "",
            path ? "" : std::string("for ") + tool.needed_for + ": install " + tool.package);
  }
}

// Engines beside generated C.
void check_engines(std::vector<Record>& rows) {
  for (const char* engine : {"onnxruntime", "tflite"}) {
    const auto library = devices::find_engine_library(engine);
    add_row(rows, std::string("engine ") + engine, library ? "ok" : "missing",
            library ? library->string() : "", library ? "" : library.error().message);
  }
  std::error_code ignored;
  const fs::path torch = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "hwnas-torch";
  const bool there = fs::exists(torch, ignored);
  add_row(rows, "engine torch", there ? "ok" : "missing", there ? torch.string() : "",
          there ? "" : "install libtorch-dev and build with -DHWNAS_TORCH=ON");
}

void check_clock(std::vector<Record>& rows) {
  const std::string governor = first_line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  const bool fixed = governor == "performance";
  add_row(rows, "cpu governor",
          governor.empty() ? "unknown"
          : fixed          ? "ok"
                           : "warning",
          governor,
          fixed              ? ""
          : governor.empty() ? "the clock cannot be seen here; the reference kernel divides drift out"
                             : "set it to performance while measuring");
  const std::string load = first_line_of("/proc/loadavg");
  const double busy = std::atof(load.c_str());
  add_row(rows, "load", busy < 1 ? "ok" : "warning", load,
          busy < 1 ? "" : "measure when the machine is idle");
}

void check_ports(std::vector<Record>& rows) {
  std::string ports;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("ttyACM") && !name.starts_with("ttyUSB")) continue;
    ports += (ports.empty() ? "" : " ") + name +
             (::access(entry.path().c_str(), R_OK | W_OK) == 0 ? "" : " (no permission)");
  }
  add_row(rows, "serial ports", ports.empty() ? "none" : "ok", ports,
          ports.find("no permission") != std::string::npos ? "add yourself to the group dialout" : "");
}

void check_energy(std::vector<Record>& rows) {
  const fs::path counter = "/sys/class/powercap/intel-rapl:0/energy_uj";
  const bool there = fs::exists(counter), readable = ::access(counter.c_str(), R_OK) == 0;
  add_row(rows, "energy counter (RAPL)",
          readable ? "ok"
          : there  ? "no permission"
                   : "none",
          there ? counter.string() : "",
          readable ? ""
          : there  ? "make it readable for this user"
                   : "energy can only be modelled on this machine");
}

void check_blas(std::vector<Record>& rows) {
  std::error_code failed;
  const fs::path library = fs::canonical("/etc/alternatives/libblas.so.3-x86_64-linux-gnu", failed);
  const std::string name = library.string();
  const bool fast = name.find("openblas") != std::string::npos || name.find("mkl") != std::string::npos ||
                    name.find("blis") != std::string::npos;
  add_row(rows, "BLAS",
          failed ? "unknown"
          : fast ? "ok"
                 : "warning",
          name,
          failed || fast ? "" : "the reference BLAS is about 30 times slower: install libopenblas0-openmp");
}

Result<int> doctor(const Context& context) {
  std::vector<Record> rows;
  check_tools(rows);
  check_engines(rows);
  check_clock(rows);
  check_ports(rows);
  check_energy(rows);
  check_blas(rows);
  std::error_code failed;
  const auto space = fs::space(context.project, failed);
  if (!failed)
    add_row(rows, "disk", space.available > (std::uintmax_t{1} << 30) ? "ok" : "warning",
            std::to_string(space.available >> 20) + " MiB free", "");
  add_row(rows, "build cache", "ok", devices::cache_folder().string(), "");
  print_records(context, {{"what", "what"}, {"state", "state"}, {"found", "found"}, {"advice", "advice"}},
                rows);
  return 0;
}

}  // namespace

void add_doctor_commands(CLI::App& app, Context& context) {
  add_command(app, "doctor", "What is installed, what is missing, and how to get it",
              {"hwnas doctor", "hwnas doctor -f json"})
      ->callback([&context] { context.action = [&context] { return doctor(context); }; });
}

}  // namespace nas::apps
