#include <gtest/gtest.h>

#include <cstring>

#include "devices/codegen/generate.h"
#include "tests/devices/kernel_program.h"

namespace nas::devices::codegen {
namespace {

using emulator::Emulator;
using emulator::Program;

Emulator test_emulator() { return Emulator(std::filesystem::temp_directory_path() / "hwnas-codegen-test"); }

KernelSpec conv(Shape in, int out, int k, int s, int p) {
  return {.kind = KernelKind::conv, .input = in, .out_channels = out, .kernel = k, .stride = s, .padding = p};
}
KernelSpec depthwise(Shape in, int k, int s, bool in_place = false) {
  return {.kind = KernelKind::depthwise,
          .input = in,
          .kernel = k,
          .stride = s,
          .padding = k / 2,
          .in_place = in_place};
}
KernelSpec dense(int in, int out) {
  return {.kind = KernelKind::fully_connected, .input = {in, 1, 1}, .out_channels = out};
}
KernelSpec simple(KernelKind kind, Shape in, bool in_place = false) {
  return {.kind = kind, .input = in, .in_place = in_place};
}
KernelSpec pool(KernelKind kind, Shape in, int k, int s, int p = 0) {
  return {.kind = kind, .input = in, .kernel = k, .stride = s, .padding = p};
}

// Shapes are {channels, height, width}.
std::vector<KernelSpec> dense_specs() {
  std::vector<KernelSpec> specs = {
      conv({16, 6, 6}, 8, 1, 1, 0),
      conv({5, 5, 7}, 7, 1, 1, 0),
      conv({1, 3, 3}, 1, 1, 1, 0),
      conv({66, 3, 2}, 10, 1, 1, 0),
      conv({140, 2, 2}, 6, 1, 1, 0),
      conv({9, 5, 5}, 3, 1, 2, 0),
      conv({3, 9, 8}, 16, 3, 2, 1),
      conv({3, 7, 7}, 5, 3, 1, 1),
      conv({16, 5, 5}, 12, 3, 1, 1),
      conv({2, 6, 5}, 3, 5, 2, 2),
      conv({1, 8, 8}, 2, 7, 1, 3),
      conv({4, 4, 4}, 4, 4, 4, 0),
      conv({24, 1, 1}, 9, 1, 1, 0),
      conv({8, 1, 3}, 5, 3, 1, 1),
      conv({30, 2, 1}, 4, 1, 1, 0),
      conv({6, 5, 4}, 4, 3, 3, 1),
      conv({40, 6, 6}, 8, 3, 1, 1),
      dense(320, 10),
      dense(17, 3),
      dense(64, 1),
      dense(130, 13),
  };
  specs.push_back({.kind = KernelKind::fully_connected, .input = {3, 4, 4}, .out_channels = 6});
  return specs;
}

std::vector<KernelSpec> depthwise_specs() {
  std::vector<KernelSpec> specs;
  for (const int k : {3, 5, 7})
    for (const int s : {1, 2})
      for (const Shape in : {Shape{4, 8, 8}, Shape{5, 7, 9}, Shape{1, 4, 3}, Shape{11, 5, 6}})
        specs.push_back(depthwise(in, k, s));
  for (const int k : {3, 5, 7}) {
    specs.push_back(depthwise({6, 9, 10}, k, 1, true));
    specs.push_back(depthwise({3, 5, 1}, k, 1, true));
  }
  specs.push_back(depthwise({3, 6, 150}, 7, 1, true));  // rows too long for an immediate offset
  specs.push_back(depthwise({2, 7, 151}, 7, 2));
  specs.push_back(depthwise({2, 60, 60}, 3, 1, true));  // several strips
  specs.push_back(depthwise({2, 61, 50}, 5, 2));
  specs.push_back({.kind = KernelKind::depthwise, .input = {3, 6, 6}, .kernel = 2, .stride = 2});
  specs.push_back(
      {.kind = KernelKind::depthwise, .input = {3, 7, 6}, .kernel = 3, .stride = 3, .padding = 1});
  specs.push_back({.kind = KernelKind::depthwise, .input = {4, 6, 6}, .kernel = 3, .stride = 1});
  return specs;
}

std::vector<KernelSpec> other_specs() {
  return {simple(KernelKind::add, {5, 3, 3}),
          simple(KernelKind::add, {40, 4, 4}, true),
          simple(KernelKind::scale_channels, {7, 3, 2}),
          simple(KernelKind::scale_channels, {8, 3, 3}, true),
          simple(KernelKind::lookup, {9, 3, 3}, true),
          pool(KernelKind::average_pool, {12, 6, 6}, 0, 1),
          pool(KernelKind::average_pool, {5, 7, 3}, 0, 1),
          pool(KernelKind::average_pool, {8, 20, 20}, 0, 1),
          pool(KernelKind::average_pool, {4, 8, 8}, 2, 2),
          pool(KernelKind::max_pool, {6, 7, 7}, 3, 2, 1),
          pool(KernelKind::max_pool, {4, 8, 6}, 2, 2),
          {.kind = KernelKind::average_pool, .input = {4, 7, 5}, .kernel = 2, .stride = 2, .ceil_mode = true},
          {.kind = KernelKind::max_pool, .input = {3, 8, 7}, .kernel = 3, .stride = 2, .ceil_mode = true}};
}

// Every shape, and some with what changes the code: clamps, tables, shifts that differ much, no headroom.
std::vector<KernelCase> all_cases() {
  std::vector<KernelCase> cases;
  for (const auto& specs : {dense_specs(), depthwise_specs(), other_specs()})
    for (const KernelSpec& spec : specs)
      cases.push_back(random_case("k" + std::to_string(cases.size()), spec));
  const auto vary = [&cases](const KernelSpec& spec, auto change) {
    cases.push_back(random_case("k" + std::to_string(cases.size()), spec));
    change(cases.back());
  };
  const auto clamp = [](KernelCase& c) { c.params.clamp_low = 7, c.params.clamp_high = 90; };
  const auto table = [](KernelCase& c) {
    c.params.clamp_low = -100;
    c.params.table = activation_table(Activation::hard_swish, 0.05, 7, 0.03, -10);
  };
  const auto small_channel = [](KernelCase& c) {
    c.params.multipliers[0].exponent = -19;    // late zero point
    c.params.multipliers[1] = {1 << 30, -30};  // always zero
    c.params.multipliers[2] = {};
  };
  const auto large_multiplier = [](KernelCase& c) {
    c.params.multipliers[0] = {1 << 30, 0};
  };  // no short form
  const auto large_sums = [](KernelCase& c) {
    c.params.bias[0] = 1 << 25;
    c.params.bias[1] = -(1 << 25);
  };
  for (const KernelSpec& spec : {conv({8, 4, 5}, 6, 3, 1, 1), conv({12, 3, 3}, 5, 1, 1, 0), dense(48, 9),
                                 depthwise({6, 7, 7}, 3, 1, true), depthwise({6, 7, 7}, 5, 2)}) {
    vary(spec, clamp);
    vary(spec, table);
    vary(spec, small_channel);
    vary(spec, large_multiplier);
    vary(spec, large_sums);
  }
  // Packed weights: inner sizes that do and do not fill whole bytes and words, loops longer than what is
  // written out, odd numbers of channels.
  for (const std::int32_t bits : {4, 2}) {
    for (KernelSpec spec :
         {conv({16, 6, 6}, 8, 1, 1, 0), conv({5, 5, 7}, 7, 1, 1, 0), conv({1, 3, 3}, 1, 1, 1, 0),
          conv({66, 3, 2}, 10, 1, 1, 0), conv({140, 2, 2}, 6, 1, 1, 0), conv({3, 7, 7}, 5, 3, 1, 1),
          conv({16, 5, 5}, 12, 3, 2, 1), conv({30, 2, 1}, 5, 1, 1, 0), dense(320, 10), dense(17, 3),
          dense(131, 13), depthwise({5, 7, 9}, 3, 1, true), depthwise({11, 5, 6}, 5, 2),
          depthwise({4, 8, 8}, 7, 1), depthwise({3, 6, 6}, 2, 2)}) {
      spec.weight_bits = bits;
      if (spec.kernel == 2) spec.padding = 0;
      cases.push_back(random_case("k" + std::to_string(cases.size()), spec));
    }
    KernelSpec spec = conv({12, 3, 3}, 5, 1, 1, 0);
    spec.weight_bits = bits;
    vary(spec, clamp);
    vary(spec, table);
    vary(spec, small_channel);
    // Weights of few bits have large scales: multipliers near 1, which only single rounding has short code
    // for.
    const auto near_one = [](KernelCase& c) {
      for (Multiplier& m : c.params.multipliers) m.exponent = c.spec.weight_bits == 4 ? -1 : 0;
    };
    vary(spec, near_one);
    KernelSpec filter = depthwise({5, 7, 9}, 3, 1, true);
    filter.weight_bits = bits;
    vary(filter, near_one);
    vary(spec, large_sums);  // beyond what the DSP code has room for: the portable one serves
  }
  vary(simple(KernelKind::add, {6, 3, 3}), clamp);
  vary(simple(KernelKind::add, {6, 3, 3}), table);
  vary(simple(KernelKind::add, {6, 3, 3}),
       [](KernelCase& c) { std::swap(c.params.multipliers[0], c.params.multipliers[1]); });
  vary(simple(KernelKind::add, {6, 3, 3}), [](KernelCase& c) { c.params.multipliers[1].mantissa += 12345; });
  vary(simple(KernelKind::add, {6, 3, 3}), [](KernelCase& c) {
    c.params.multipliers[2].exponent = 0;
    c.params.multipliers[2].mantissa = 1 << 30;
  });
  vary(simple(KernelKind::scale_channels, {6, 3, 3}), clamp);
  vary(simple(KernelKind::scale_channels, {6, 3, 3}),
       [](KernelCase& c) { c.params.multipliers[0].exponent = -17; });
  return cases;
}

std::vector<FloatCase> float_cases() {
  std::vector<FloatCase> cases;
  for (const auto& specs : {dense_specs(), depthwise_specs(), other_specs()})
    for (KernelSpec spec : specs) {
      constexpr Activation kAll[] = {Activation::none,       Activation::relu,         Activation::relu6,
                                     Activation::hard_swish, Activation::hard_sigmoid, Activation::swish,
                                     Activation::sigmoid};
      spec.activation = kAll[cases.size() % 7];
      cases.push_back(random_float_case("f" + std::to_string(cases.size()), spec));
    }
  return cases;
}

std::string describe(const KernelSpec& s) {
  return "kind " + std::to_string(static_cast<int>(s.kind)) + " in " + std::to_string(s.input.channels) +
         "x" + std::to_string(s.input.height) + "x" + std::to_string(s.input.width) + " out " +
         std::to_string(s.out_channels) + " k" + std::to_string(s.kernel) + " s" + std::to_string(s.stride);
}

void expect_reference(const std::vector<KernelCase>& cases, const std::string& bytes, Rounding rounding) {
  std::size_t at = 0;
  for (const KernelCase& c : cases) {
    const auto expected = run_reference(c.spec, c.params, c.input, c.second, rounding);
    ASSERT_LE(at + expected.size(), bytes.size());
    std::size_t different = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      different += expected[i] != static_cast<std::int8_t>(bytes[at + i]);
    EXPECT_EQ(different, 0u) << c.name << ": " << describe(c.spec) << ", of " << expected.size();
    at += expected.size();
  }
  EXPECT_EQ(at, bytes.size());
}

void expect_close(const std::vector<FloatCase>& cases, const std::string& bytes) {
  std::size_t at = 0;
  for (const FloatCase& c : cases) {
    for (const float expected : run_reference(c.spec, c.params, c.input, c.second)) {
      float found = 0;
      ASSERT_LE(at + 4, bytes.size());
      std::memcpy(&found, bytes.data() + at, 4);
      at += 4;
      ASSERT_NEAR(found, expected, 1e-5 * std::max(1.0f, std::abs(expected)))
          << c.name << ": " << describe(c.spec);
    }
  }
  EXPECT_EQ(at, bytes.size());
}

// Where the generated C runs.
struct Machine {
  std::string name;
  std::string board;  // empty: AArch64 if `cpu`, else this machine
  std::string cpu;
  Target target = Target::portable;
  std::vector<std::string> flags;
};

std::ostream& operator<<(std::ostream& out, const Machine& machine) { return out << machine.name; }

class GeneratedKernels : public ::testing::TestWithParam<Machine> {
 protected:
  void SetUp() override {
    const Machine& m = GetParam();
    for (const char* program :
         {m.board.empty() ? "gcc" : "arm-none-eabi-gcc", m.board.empty() ? "gcc" : "qemu-system-arm",
          m.cpu.empty() ? "gcc" : "aarch64-linux-gnu-gcc", m.cpu.empty() ? "gcc" : "qemu-aarch64"})
      if (const auto found = find_program(program); !found) GTEST_SKIP() << found.error().message;
  }

  static Result<std::string> run(Program program, std::vector<std::string> extra) {
    const Machine& m = GetParam();
    program.flags = {"-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"};
    program.flags.insert(program.flags.end(), m.flags.begin(), m.flags.end());
    program.flags.insert(program.flags.end(), extra.begin(), extra.end());
    const Emulator emulator = test_emulator();
    const emulator::RunOptions options{.wanted = {"out.bin"}};
    if (m.board.empty()) {
      NAS_TRY(built, m.cpu.empty() ? emulator.build_host(program) : emulator.build_aarch64(program));
      return output_of(m.cpu.empty() ? emulator.run_host(built, options)
                                     : emulator.run_aarch64(m.cpu, built, options));
    }
    NAS_TRY(board, emulator::find_board(m.board));
    NAS_TRY(built, emulator.build(board, program));
    return output_of(emulator.run(board, built, options));
  }

  static Result<std::string> output_of(Result<emulator::EmulatedRun> run) {
    if (!run) return run.error();
    if (run->exit_code != 0) return Error{"exit " + std::to_string(run->exit_code) + ": " + run->output};
    return run->files.at("out.bin");
  }
};

// Only what the machine needs is generated; the preprocessor's choice between all of it is tested once, on
// the M4.
CodegenOptions options_for(const Machine& m) {
  const bool all = m.name == "CortexM4";
  return {.portable = all || m.target == Target::portable,
          .dsp = all || m.target == Target::dsp,
          .neon = all || m.target == Target::neon};
}

TEST_P(GeneratedKernels, EqualTheReferenceBitForBitWithSingleRounding) {
  const auto bytes = run(kernel_program(all_cases(), GetParam().target, options_for(GetParam())), {});
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  expect_reference(all_cases(), *bytes, Rounding::single);
}

using GeneratedKernelsRoundingTwice = GeneratedKernels;
TEST_P(GeneratedKernelsRoundingTwice, EqualTheReferenceBitForBit) {
  const auto program = kernel_program(all_cases(), GetParam().target, options_for(GetParam()));
  const auto bytes = run(program, {"-DNAS_DOUBLE_ROUNDING=1"});
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  expect_reference(all_cases(), *bytes, Rounding::twice);
}

using GeneratedKernelsInLittleScratch = GeneratedKernels;
TEST_P(GeneratedKernelsInLittleScratch, EqualTheReferenceBitForBit) {
  CodegenOptions little = options_for(GetParam());
  little.scratch_limit = 200;
  const auto bytes = run(kernel_program(all_cases(), GetParam().target, little), {});
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  expect_reference(all_cases(), *bytes, Rounding::single);
}

using GeneratedFloatKernels = GeneratedKernels;
TEST_P(GeneratedFloatKernels, FollowTheReferenceWithinOneInAHundredThousand) {
  const auto bytes = run(kernel_program(float_cases(), GetParam().target), {});
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  expect_close(float_cases(), *bytes);
}

const Machine kHost{"Host", "", "", Target::portable, {}};
const Machine kM3{"CortexM3", "mps2-an385", "", Target::portable, {}};
const Machine kM4{"CortexM4", "mps2-an386", "", Target::dsp, {}};
const Machine kM4Small{"CortexM4Os", "mps2-an386", "", Target::dsp, {"-Os"}};
const Machine kM7{"CortexM7", "mps2-an500", "", Target::dsp, {"-O3"}};
const Machine kM33{"CortexM33", "mps2-an505", "", Target::dsp, {}};
const Machine kM55{"CortexM55", "mps3-an547", "", Target::dsp, {}};
const Machine kA53{"CortexA53", "", "cortex-a53", Target::neon, {}};
const Machine kA76{"CortexA76", "", "cortex-a76", Target::neon, {"-march=armv8.2-a+dotprod"}};
const Machine kChecked{"HostWithSanitizers",
                       "",
                       "",
                       Target::portable,
                       {"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}};
// Text for every target, told by a macro to use the portable part.
const Machine kM4Portable{
    "CortexM4Portable", "mps2-an386", "", Target::portable, {"-DNAS_TARGET_PORTABLE=1"}};

std::string name_of(const ::testing::TestParamInfo<Machine>& machine) { return machine.param.name; }

INSTANTIATE_TEST_SUITE_P(On, GeneratedKernels,
                         ::testing::Values(kHost, kChecked, kM3, kM4, kM4Small, kM4Portable, kM7, kM33, kM55,
                                           kA53, kA76),
                         name_of);
INSTANTIATE_TEST_SUITE_P(On, GeneratedKernelsRoundingTwice, ::testing::Values(kHost, kM4, kA76), name_of);
INSTANTIATE_TEST_SUITE_P(On, GeneratedKernelsInLittleScratch, ::testing::Values(kM4, kA76), name_of);
INSTANTIATE_TEST_SUITE_P(On, GeneratedFloatKernels, ::testing::Values(kHost, kChecked, kM4, kA53), name_of);

}  // namespace
}  // namespace nas::devices::codegen
