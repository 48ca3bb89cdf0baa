#include "apps/verify/host_c.h"

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

namespace nas::apps {
namespace {

using devices::emulator::Emulator;

// Runs every image of in.bin, writes the outputs after each other.
constexpr const char* kStreamMain = R"(
#include <stdio.h>
#include "nas_board.h"
#include "net.h"
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
int nas_main(void) {
  FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");
  if (!in || !out) return 1;
  while (fread(net_input(arena), 1, NET_INPUT_BYTES, in) == NET_INPUT_BYTES) {
    net_run(arena);
    if (fwrite(net_output(arena), 1, NET_OUTPUTS, out) != NET_OUTPUTS) return 2;
  }
  fclose(in);
  return fclose(out);
}
)";

}  // namespace

Result<HostC> HostC::build(const std::string& header, const std::string& source, const std::string& cache) {
  Emulator emulator(cache);
  NAS_TRY(built, emulator.build_host({{{"net.h", header}, {"net.c", source}, {"main.c", kStreamMain}},
                                      {"-std=c99", "-O3", "-march=native"}}));
  return HostC(std::move(emulator), std::move(built));
}

Result<std::string> HostC::run(const std::string& inputs, std::size_t input_bytes) const {
  constexpr std::size_t kLeast = 32;  // images that are worth a process
  const std::size_t images = inputs.size() / input_bytes;
  const std::size_t processes = std::clamp<std::size_t>(
      images / kLeast, 1, static_cast<std::size_t>(tbb::this_task_arena::max_concurrency()));
  std::vector<std::optional<Result<devices::emulator::EmulatedRun>>> runs(processes);
  tbb::parallel_for(std::size_t{0}, processes, [&](std::size_t i) {
    const std::size_t from = images * i / processes, to = images * (i + 1) / processes;
    devices::emulator::RunOptions options;
    options.timeout = std::chrono::hours(2);
    options.files["in.bin"] = inputs.substr(from * input_bytes, (to - from) * input_bytes);
    options.wanted = {"out.bin"};
    runs[i] = emulator_.run_host(built_, options);
  });
  std::string outputs;
  for (const auto& run : runs) {
    if (!*run) return run->error();
    outputs += (*run)->files.at("out.bin");
  }
  return outputs;
}

}  // namespace nas::apps
