// Guest instructions of generated int8 kernels on an emulated Cortex-M4 (-O2), beside the best figures
// measured of public libraries on the same layers (docs/mcu-kernels.md). One iteration: the counts are exact.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/devices/kernel_program.h"

namespace nas::devices::codegen {
namespace {

struct Layer {
  const char* name;
  KernelSpec spec;
  std::int64_t operations;  // multiply-accumulates (padding included), element operations of add and pool
  int in_stack;             // times in the stack of 30 operators
  std::int64_t peer_any;    // fewest instructions of any library; 0: not published per layer
  std::int64_t peer_true;   // of those that round truly
};

KernelSpec point(int side, int in, int out) {
  return {.kind = KernelKind::conv, .input = {in, side, side}, .out_channels = out};
}
KernelSpec window(int side, int in, int out, int stride) {
  return {.kind = KernelKind::conv,
          .input = {in, side, side},
          .out_channels = out,
          .kernel = 3,
          .stride = stride,
          .padding = 1};
}
KernelSpec depthwise(int side, int channels, int kernel, int stride) {
  return {.kind = KernelKind::depthwise,
          .input = {channels, side, side},
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .in_place = stride == 1};
}
KernelSpec add(int side, int channels) { return {.kind = KernelKind::add, .input = {channels, side, side}}; }

const std::vector<Layer>& layers() {
  static const std::vector<Layer> all = {
      {"pw 24x24 16->96", point(24, 16, 96), 884736, 2, 2405178, 3042230},
      {"pw 12x12 96->24", point(12, 96, 24), 331776, 1, 597984, 597984},
      {"pw 6x6 192->64", point(6, 192, 64), 442368, 1, 731466, 731466},
      {"conv3 s1 16x16 16->32", window(16, 16, 32, 1), 1179648, 0, 2449234, 2449234},
      {"stem3 s2 96x96 3->16", window(96, 3, 16, 2), 995328, 1, 1968106, 2436974},
      {"dw3 s1 24x24x96", depthwise(24, 96, 3, 1), 497664, 1, 3183179, 3581968},
      {"dw3 s1 12x12x192", depthwise(12, 192, 3, 1), 248832, 1, 1670123, 1742186},
      {"dw5 s1 12x12x192", depthwise(12, 192, 5, 1), 691200, 1, 3094217, 3094217},
      {"dw7 s1 12x12x192", depthwise(12, 192, 7, 1), 1354752, 1, 4741086, 4741086},
      {"dw3 s2 24x24x96", depthwise(24, 96, 3, 2), 124416, 1, 897146, 897146},
      {"fc 320->10",
       {.kind = KernelKind::fully_connected, .input = {320, 1, 1}, .out_channels = 10},
       3200,
       1,
       6582,
       6582},
      {"add 12x12x40", add(12, 40), 5760, 2, 316904, 316904},
      {"dw3 s1 48x48x16", depthwise(48, 16, 3, 1), 331776, 1, 0, 0},
      {"pw 48x48 16->8", point(48, 16, 8), 294912, 1, 0, 0},
      {"pw 48x48 8->48", point(48, 8, 48), 884736, 1, 0, 0},
      {"dw3 s2 48x48x48", depthwise(48, 48, 3, 2), 248832, 1, 0, 0},
      {"pw 24x24 48->16", point(24, 48, 16), 442368, 1, 0, 0},
      {"pw 24x24 96->16", point(24, 96, 16), 884736, 1, 0, 0},
      {"add 24x24x16", add(24, 16), 9216, 1, 0, 0},
      {"pw 12x12 24->192", point(12, 24, 192), 663552, 1, 0, 0},
      {"pw 12x12 192->40", point(12, 192, 40), 1105920, 3, 0, 0},
      {"pw 12x12 40->192", point(12, 40, 192), 1105920, 3, 0, 0},
      {"dw3 s2 12x12x192", depthwise(12, 192, 3, 2), 62208, 1, 0, 0},
      {"pw 6x6 64->320", point(6, 64, 320), 737280, 1, 0, 0},
      {"avgpool 6x6x320",
       {.kind = KernelKind::average_pool, .input = {320, 6, 6}, .kernel = 0},
       11520,
       1,
       0,
       0},
  };
  return all;
}

constexpr std::int64_t kStackOperations = 17644928;  // multiply-accumulates only, as the published figure
constexpr std::int64_t kStackPeerAny = 49815907;
constexpr std::int64_t kStackPeerTrue = 54837916;

struct Variant {
  const char* name;
  const char* board;  // empty: AArch64 on `cpu`
  const char* cpu;
  Target target;
  std::vector<std::string> flags;
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = {
      {"Cortex-M4 -O2", "mps2-an386", "", Target::dsp, {"-O2"}},
      {"Cortex-M4 -O3", "mps2-an386", "", Target::dsp, {"-O3"}},
      {"Cortex-M7 -O2", "mps2-an500", "", Target::dsp, {"-O2"}},
      {"Cortex-M4 -O2, double rounding", "mps2-an386", "", Target::dsp, {"-O2", "-DNAS_DOUBLE_ROUNDING=1"}},
      {"Cortex-M3 -O2, portable C", "mps2-an385", "", Target::portable, {"-O2"}},
      {"Cortex-A76 -O2, SDOT", "", "cortex-a76", Target::neon, {"-O2", "-march=armv8.2-a+dotprod"}},
      {"Cortex-A53 -O2, NEON", "", "cortex-a53", Target::neon, {"-O2"}},
  };
  return all;
}

void leave(const std::string& why) {
  std::fprintf(stderr, "bench_mcu_kernels: %s\n", why.c_str());
  std::exit(1);
}

Result<emulator::EmulatedRun> run_counted(const emulator::Emulator& emulator, const Variant& variant,
                                          const emulator::Program& program) {
  const emulator::RunOptions options{.count = true, .wanted = {"out.bin"}};
  if (variant.board[0] == 0) {
    NAS_TRY(built, emulator.build_aarch64(program));
    return emulator.run_aarch64(variant.cpu, built, options);
  }
  NAS_TRY(board, emulator::find_board(variant.board));
  NAS_TRY(built, emulator.build(board, program));
  return emulator.run(board, built, options);
}

// Runs all layers and checks every output against the reference before any count is believed.
std::vector<emulator::RegionCount> measure(const Variant& variant) {
  std::vector<KernelCase> cases;
  for (const Layer& layer : layers())
    cases.push_back(random_case("layer" + std::to_string(cases.size()), layer.spec));
  emulator::Program program = kernel_program(cases, variant.target);
  program.flags = variant.flags;
  program.flags.push_back("-std=c99");
  const emulator::Emulator emulator(std::filesystem::temp_directory_path() / "hwnas-bench-mcu");
  const auto run = run_counted(emulator, variant, program);
  if (!run) leave(run.error().message);
  std::string expected;
  const bool twice = std::ranges::count(variant.flags, "-DNAS_DOUBLE_ROUNDING=1") > 0;
  const Rounding rounding = twice ? Rounding::twice : Rounding::single;
  for (const KernelCase& c : cases)
    for (const std::int8_t value : run_reference(c.spec, c.params, c.input, c.second, rounding))
      expected.push_back(static_cast<char>(value));
  if (run->exit_code != 0 || run->files.at("out.bin") != expected) leave("outputs differ from the reference");
  return run->regions;
}

const std::vector<emulator::RegionCount>& counts_of(std::size_t variant) {
  static std::vector<std::vector<emulator::RegionCount>> cache(variants().size());
  if (cache[variant].empty()) cache[variant] = measure(variants()[variant]);
  return cache[variant];
}

void report(benchmark::State& state, std::int64_t instructions, std::int64_t operations, std::int64_t any,
            std::int64_t truly) {
  state.counters["instructions"] = static_cast<double>(instructions);
  state.counters["mac_per_instruction"] = static_cast<double>(operations) / static_cast<double>(instructions);
  if (any == 0) return;
  state.counters["peer_any"] = static_cast<double>(any);
  state.counters["peer_true"] = static_cast<double>(truly);
  state.counters["times_fewer_than_true"] = static_cast<double>(truly) / static_cast<double>(instructions);
}

void layer_kernel(benchmark::State& state) {
  const auto at = static_cast<std::size_t>(state.range(0));
  const Layer& layer = layers()[at];
  const auto instructions = static_cast<std::int64_t>(counts_of(0)[at].total);
  for (auto _ : state) benchmark::DoNotOptimize(instructions);
  state.SetLabel(std::string(layer.name) + ", scratch " +
                 std::to_string(*scratch_bytes(layer.spec, Target::dsp)) + " bytes");
  report(state, instructions, layer.operations, layer.peer_any, layer.peer_true);
}
BENCHMARK(layer_kernel)->DenseRange(0, 24)->Iterations(1);

void stack_of_30_operators(benchmark::State& state) {
  const auto variant = static_cast<std::size_t>(state.range(0));
  std::int64_t instructions = 0;
  std::array<double, emulator::kInstructionClasses.size()> by_class{};
  for (std::size_t i = 0; i < layers().size(); ++i) {
    const emulator::RegionCount& count = counts_of(variant)[i];
    instructions += static_cast<std::int64_t>(count.total) * layers()[i].in_stack;
    for (std::size_t k = 0; k < by_class.size(); ++k)
      by_class[k] += static_cast<double>(count.by_class[k]) * layers()[i].in_stack;
  }
  for (std::size_t k = 0; k < by_class.size(); ++k)
    state.counters[emulator::kInstructionClasses[k]] = by_class[k];
  for (auto _ : state) benchmark::DoNotOptimize(instructions);
  state.SetLabel(variants()[variant].name);
  const bool same_setting = variant == 0;
  report(state, instructions, kStackOperations, same_setting ? kStackPeerAny : 0,
         same_setting ? kStackPeerTrue : 0);
}
BENCHMARK(stack_of_30_operators)->DenseRange(0, static_cast<int>(variants().size()) - 1)->Iterations(1);

}  // namespace
}  // namespace nas::devices::codegen
