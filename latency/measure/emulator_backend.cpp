#include <tbb/parallel_for.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <sstream>

#include "devices/emulator/board.h"
#include "devices/emulator/qemu.h"
#include "latency/measure/backends.h"

namespace nas::latency {
namespace {

using devices::KernelCode;
namespace emulator = devices::emulator;

// Kernels of one program: as many as compile quickly and leave room on small boards.
constexpr std::size_t kBatch = 16;

// Every kernel runs twice on the same input, each run a region.
std::string batch_main(std::span<const KernelCode> codes) {
  std::uint32_t arena = 16;
  std::string text = "#include \"nas_board.h\"\n#include \"hw_runs.h\"\n";
  for (const KernelCode& code : codes) {
    text += "void " + code.function + "(uint8_t*);\n";
    arena = std::max(arena, code.arena_bytes);
  }
  text += "static uint8_t arena[" + std::to_string(arena) +
          "] __attribute__((aligned(16), section(\".arena\")));\n";
  // One place calls all kernels, an empty one first: what the call and the marks cost is the same for each.
  text +=
      "static void empty(uint8_t* unused) { (void)unused; }\n"
      "static void (*volatile kernel)(uint8_t*);\n"
      "__attribute__((noinline)) static void count(void) {\n"
      "  void (*const run)(uint8_t*) = kernel;\n"
      "  nas_region_begin();\n  run(arena);\n  nas_region_end();\n}\n"
      "int nas_main(void) {\n  kernel = empty;\n  count();\n";
  for (const KernelCode& code : codes)
    for (int run = 0; run < 2; ++run)
      text += "  hw_fill(arena, " + std::to_string(code.input_bytes) + "u, " +
              std::to_string(code.element_bytes) + ");\n  kernel = " + code.function + ";\n  count();\n";
  return text + "  return 0;\n}\n";
}

// The same values as the agent's prepare().
constexpr const char* kFill =
    "#include <stdint.h>\n#include <string.h>\n"
    "static void hw_fill(uint8_t* p, uint32_t bytes, int element) {\n"
    "  uint32_t state = 2654435761u + 12345u;\n"
    "  for (uint32_t i = 0; i + (uint32_t)element <= bytes; i += (uint32_t)element) {\n"
    "    state = state * 1664525u + 1013904223u;\n"
    "    if (element == 4) {\n"
    "      const float value = (float)((int32_t)(state >> 24) - 128) * (1.0f / 128.0f);\n"
    "      memcpy(p + i, &value, 4);\n"
    "    } else {\n"
    "      p[i] = (uint8_t)(state >> 24);\n"
    "    }\n  }\n}\n";

emulator::Program batch_program(const devices::DeviceProfile& device, std::span<const KernelCode> codes) {
  emulator::Program program;
  program.flags = device.toolchain.flags;
  program.sources["main.c"] = batch_main(codes);
  program.sources["hw_runs.h"] = kFill;
  for (const KernelCode& code : codes) program.sources[code.function + ".c"] = code.source;
  return program;
}

Result<emulator::EmulatedRun> build_and_run(const devices::DeviceProfile& device,
                                            std::span<const KernelCode> codes,
                                            const std::filesystem::path& cache) {
  const emulator::Emulator qemu(cache);
  const emulator::Program program = batch_program(device, codes);
  emulator::RunOptions options;
  options.count = true;
  options.timeout = std::chrono::minutes(5);
  if (device.transport.kind == devices::TransportKind::qemu_user) {
    NAS_TRY(built, qemu.build_aarch64(program));
    return qemu.run_aarch64(device.transport.machine, built, options);
  }
  NAS_TRY(board, emulator::find_board(device.transport.machine));
  NAS_TRY(built, qemu.build(board, program));
  return qemu.run(board, built, options);
}

KernelRecord failed(const KernelCode& code, const std::string& reason) {
  KernelRecord record;
  record.signature = code.signature;
  record.failure = reason;
  return record;
}

// The call and the marks around it cost a few instructions: those of an empty kernel are taken off.
KernelRecord counted(const KernelCode& code, const emulator::RegionCount& first,
                     const emulator::RegionCount& second, const emulator::RegionCount& empty) {
  if (first.total != second.total)
    return failed(code, "two runs must count the same instructions, found " + std::to_string(first.total) +
                            " and " + std::to_string(second.total));
  if (first.total <= empty.total) return failed(code, "the kernel ran no instructions");
  KernelRecord record;
  record.signature = code.signature;
  record.n = record.visits = 2;
  const double count = static_cast<double>(first.total - empty.total);
  record.median = record.low = record.high = record.mean = record.min = record.p05 = record.p90 = count;
  record.steady = true;
  record.arena_bytes = code.arena_bytes;
  for (std::size_t c = 0; c < first.by_class.size(); ++c)
    if (first.by_class[c] > empty.by_class[c])
      record.classes[emulator::kInstructionClasses[c]] = first.by_class[c] - empty.by_class[c];
  return record;
}

// A batch that fails (one kernel does not fit, faults or hangs) is halved until the culprit stands alone.
std::vector<KernelRecord> run_batch(const devices::DeviceProfile& device, std::span<const KernelCode> codes,
                                    const std::filesystem::path& cache) {
  std::vector<KernelRecord> records;
  const auto run = build_and_run(device, codes, cache);
  const bool whole = run && run->exit_code == 0 && run->regions.size() == 1 + 2 * codes.size();
  if (whole) {
    for (std::size_t i = 0; i < codes.size(); ++i)
      records.push_back(counted(codes[i], run->regions[1 + 2 * i], run->regions[2 + 2 * i], run->regions[0]));
    return records;
  }
  if (codes.size() == 1)
    return {
        failed(codes[0], run ? "crashed: exit status " + std::to_string(run->exit_code) + " on the emulator"
                             : memory_words(run.error().message))};
  records = run_batch(device, codes.first(codes.size() / 2), cache);
  for (KernelRecord& record : run_batch(device, codes.subspan(codes.size() / 2), cache))
    records.push_back(std::move(record));
  return records;
}

constexpr std::string_view kOverflow = "' overflowed by ";
constexpr std::string_view kNoStack = "data memory is full";

}  // namespace

bool is_about_memory(const std::string& message) {
  return message.find(kOverflow) != std::string::npos || message.find(kNoStack) != std::string::npos;
}

std::string memory_words(const std::string& message) {
  const std::size_t by = message.find(kOverflow);
  if (by == std::string::npos)
    return message.find(kNoStack) == std::string::npos ? message : "does not fit: no RAM left for the stack";
  const std::size_t at = message.rfind("region `", by);
  if (at == std::string::npos) return message;
  return "does not fit: region " + message.substr(at + 8, by - at - 8) +
         message.substr(by + 1, message.find('\n', by) - by - 1);
}

Result<void> count_on_emulator(const devices::DeviceProfile& device, std::span<const KernelCode> codes,
                               const ProfileOptions& options, SessionInfo& info, const ProfileHooks& hooks) {
  info.context["emulator"] = device.transport.machine;
  std::mutex reporting;
  std::optional<Error> error;
  std::size_t finished = 0;
  const std::size_t batches = (codes.size() + kBatch - 1) / kBatch;
  tbb::parallel_for(std::size_t{0}, batches, [&](std::size_t b) {
    if (hooks.stop && hooks.stop()) return;
    const auto batch = codes.subspan(b * kBatch, std::min(kBatch, codes.size() - b * kBatch));
    const std::vector<KernelRecord> records = run_batch(device, batch, options.cache);
    const std::scoped_lock lock(reporting);
    for (const KernelRecord& record : records) {
      if (error) return;
      if (hooks.done)
        if (const auto stored = hooks.done(record); !stored) error = stored.error();
      if (hooks.progress) hooks.progress(++finished, codes.size(), record.signature);
    }
  });
  if (error) return *error;
  return {};
}

}  // namespace nas::latency
