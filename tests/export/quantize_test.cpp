#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include "devices/codegen/network.h"
#include "devices/emulator/qemu.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/quantize.h"
#include "tests/export/random_network.h"
#include "tests/network_count.h"

namespace nas {
namespace {

using supernet::FloatExecutor;
using supernet::fold;
using supernet::quantize;
using testing_support::random_images;
using testing_support::random_network;

struct Case {
  const char* space;
  int resolution;
  std::uint64_t usual = 1;  // networks of every run; more with HWNAS_TEST_NETWORKS
};
constexpr Case kCases[] = {
    {"tiny", 16}, {"cifar-mbv3", 24}, {"mcunet", 48}, {"proxylessnas", 32}, {"mnasnet-accel", 32}};

SearchSpace space_of(const Case& c) {
  return *load_space(c.space, {.classes = 10, .resolutions = {c.resolution}});
}

Genotype genotype_of(const SearchSpace& space, std::uint64_t index) {
  Rng rng(11, "export", 0, index);
  Genotype g = space.sample(rng);
  if (const int width = space.find("width"); width >= 0)
    g[static_cast<std::size_t>(width)] = 1;  // keeps mcunet small
  return g;
}

std::vector<std::int8_t> on_grid(const std::vector<float>& image, const Quantization& grid) {
  std::vector<std::int8_t> q;
  for (const float v : image) q.push_back(supernet::to_grid(v, grid));
  return q;
}

std::string bytes_of(const std::vector<std::int8_t>& values) { return {values.begin(), values.end()}; }

constexpr const char* kMain = R"(
#include "nas_board.h"
#include "net.h"
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
int nas_main(void) {
  if (nas_read_file("in.bin", net_input(arena), NET_INPUT_BYTES) != NET_INPUT_BYTES) return 1;
  nas_region_begin();
  net_run(arena);
  nas_region_end();
  return nas_write_file("out.bin", net_output(arena), NET_OUTPUTS) == NET_OUTPUTS ? 0 : 2;
}
)";

// The same with 64 bytes behind the arena that must stay as they are.
constexpr const char* kGuardedMain = R"(
#include "nas_board.h"
#include "net.h"
static int8_t arena[NET_ARENA_BYTES + 64] __attribute__((aligned(16)));
int nas_main(void) {
  int i;
  for (i = 0; i < 64; ++i) arena[NET_ARENA_BYTES + i] = 90;
  if (nas_read_file("in.bin", net_input(arena), NET_INPUT_BYTES) != NET_INPUT_BYTES) return 1;
  net_run(arena);
  for (i = 0; i < 64; ++i)
    if (arena[NET_ARENA_BYTES + i] != 90) return 3;
  return nas_write_file("out.bin", net_output(arena), NET_OUTPUTS) == NET_OUTPUTS ? 0 : 2;
}
)";

devices::emulator::Emulator emulator() {
  return devices::emulator::Emulator(std::filesystem::temp_directory_path() / "hwnas-test-cache");
}

TEST(FoldedNetwork, ComputesWhatTheLayersDefine) {
  // Oracle: one convolution, batch norm and activation at one output pixel, written out from the definition.
  const SearchSpace space = space_of(kCases[0]);
  const auto trained = random_network(space, space.largest(), 1);
  const auto folded = fold(trained);
  ASSERT_TRUE(folded) << to_string(folded.error());
  const auto image = random_images(trained.network.layers[0].out, 1, 2)[0];
  std::vector<float> stem;
  (void)FloatExecutor(*folded).run(image,
                                   [&](std::size_t tensor, bool before, std::span<const float> values) {
                                     if (tensor == 1 && !before) stem.assign(values.begin(), values.end());
                                   });
  const Layer& conv = trained.network.layers[1];
  const auto part = [&](std::size_t layer, const char* name) { return trained.find(layer, name)->values; };
  for (int o = 0; o < conv.out.channels; ++o)
    for (const auto& [y, x] : {std::pair{0, 0}, std::pair{3, 5}}) {
      double sum = 0;
      for (int c = 0; c < 3; ++c)
        for (int ky = 0; ky < 3; ++ky)
          for (int kx = 0; kx < 3; ++kx) {
            const int iy = 2 * y + ky - 1, ix = 2 * x + kx - 1;
            if (iy < 0 || ix < 0) continue;
            sum += image[static_cast<std::size_t>((iy * conv.in.width + ix) * 3 + c)] *
                   part(1, "weight")[static_cast<std::size_t>(((o * 3 + c) * 3 + ky) * 3 + kx)];
          }
      const auto k = static_cast<std::size_t>(o);
      const double normal =
          (sum - part(2, "mean")[k]) / std::sqrt(part(2, "variance")[k] + trained.batch_norm_epsilon);
      const double expected = std::clamp(normal * part(2, "scale")[k] + part(2, "shift")[k], 0.0, 6.0);
      EXPECT_NEAR(stem[static_cast<std::size_t>((y * conv.out.width + x) * conv.out.channels + o)], expected,
                  1e-5);
    }
}

TEST(FoldedNetwork, GoesBackIntoTheLayersItCameFrom) {
  // ofa's last convolution has neither batch norm nor bias, mcunet's squeezes have both parts.
  for (const Case& c :
       {Case{"tiny", 16}, Case{"cifar-mbv3", 24}, Case{"ofa-mbv3-w1.0", 32}, Case{"mcunet", 48}}) {
    const SearchSpace space = space_of(c);
    const auto trained = random_network(space, genotype_of(space, 1), 3);
    auto changed = *fold(trained);
    for (std::size_t i = 0; i < changed.weights.size(); ++i) {
      Rng rng(8, "changed", i);
      for (float& v : changed.weights[i].values) v *= static_cast<float>(rng.uniform(0.5, 1.5));
      for (float& v : changed.weights[i].bias) v += static_cast<float>(rng.uniform(-0.1, 0.1));
    }
    const auto back = supernet::unfold(trained, changed);
    const auto again = fold(back);
    ASSERT_TRUE(again) << c.space << ": " << to_string(again.error());
    ASSERT_EQ(again->weights.size(), changed.weights.size());
    for (std::size_t i = 0; i < changed.weights.size(); ++i) {
      for (std::size_t k = 0; k < changed.weights[i].values.size(); ++k)
        ASSERT_FLOAT_EQ(again->weights[i].values[k], changed.weights[i].values[k]) << c.space << " " << i;
      ASSERT_EQ(again->weights[i].bias, changed.weights[i].bias) << c.space << " " << i;
    }
  }
}

TEST(Quantize, KeepsTheLogitsCloseToTheFloatNetwork) {
  for (const Case& c : kCases) {
    const SearchSpace space = space_of(c);
    const auto folded = fold(random_network(space, genotype_of(space, 0), 3));
    ASSERT_TRUE(folded) << to_string(folded.error());
    const auto images = random_images(folded->deployment.input, 16, 4);
    const auto quantized = quantize(*folded, images, {.calibration = supernet::Calibration::mse});
    ASSERT_TRUE(quantized) << to_string(quantized.error());
    const FloatExecutor executor(*folded);
    double error = 0, power = 0;
    for (const auto& image : images) {
      const auto exact = executor.run(image);
      const auto rounded = devices::codegen::run_reference(*quantized, on_grid(image, quantized->tensors[0]));
      ASSERT_TRUE(rounded) << to_string(rounded.error());
      for (std::size_t k = 0; k < exact.size(); ++k) {
        const double off = supernet::from_grid((*rounded)[k], quantized->tensors.back()) - exact[k];
        error += off * off;
        power += exact[k] * exact[k];
      }
    }
    EXPECT_LT(std::sqrt(error / power), 0.25) << c.space;  // random weights, up to 60 operations deep
  }
}

TEST(Quantize, DoesNotDependOnTheOrderOfImagesOrOnThreads) {
  const SearchSpace space = space_of(kCases[0]);
  const auto folded = *fold(random_network(space, space.largest(), 3));
  auto images = random_images(folded.deployment.input, 12, 4);
  const auto one = *quantize(folded, images);
  std::reverse(images.begin(), images.end());
  const auto two = *quantize(folded, images);
  for (std::size_t t = 0; t < one.tensors.size(); ++t) {
    EXPECT_EQ(one.tensors[t].scale, two.tensors[t].scale);
    EXPECT_EQ(one.tensors[t].zero, two.tensors[t].zero);
  }
}

TEST(Quantize, RefusesMissingWrongAndBrokenImages) {
  const SearchSpace space = space_of(kCases[0]);
  const auto folded = *fold(random_network(space, space.smallest(), 3));
  EXPECT_THAT(quantize(folded, {}).error().message, testing::HasSubstr("at least one calibration image"));
  const std::vector<std::vector<float>> small(1, std::vector<float>(7));
  EXPECT_THAT(quantize(folded, small).error().message, testing::HasSubstr("need 768 values, found 7"));
  auto broken = random_images(folded.deployment.input, 1, 4);
  broken[0][5] = std::nanf("");
  EXPECT_THAT(quantize(folded, broken).error().message, testing::HasSubstr("not finite"));
}

TEST(GeneratedNetwork, RunsItsFirstOperationsInPatchesWithTheSameResultAndLessMemory) {
  const auto runner = emulator();
  const auto m4 = devices::emulator::find_board("mps2-an386");
  ASSERT_TRUE(m4);
  std::int32_t windows = 0;
  for (const Case& c : kCases) {
    const SearchSpace space = space_of(c);
    const auto folded = *fold(random_network(space, genotype_of(space, 1), 5));
    const auto images = random_images(folded.deployment.input, 2, 6);
    const auto quantized =
        *quantize(folded, images, {.calibration = supernet::Calibration::min_max, .equalise = false});
    const auto whole = *devices::codegen::generate_network(quantized, {.neon = false});
    const auto input = on_grid(images[0], quantized.tensors[0]);
    const auto expected = *devices::codegen::run_reference(quantized, input);
    // Each space one way, in turn: firmware takes its time.
    for (const std::int32_t grid : {2 + windows++ % 2}) {
      const auto stage = devices::codegen::choose_patches(quantized, {.neon = false}, grid);
      ASSERT_TRUE(stage) << c.space << ": " << to_string(stage.error());
      const auto made = devices::codegen::generate_network(quantized, {.neon = false}, *stage);
      ASSERT_TRUE(made) << to_string(made.error());
      EXPECT_GE(made->patch_macs, 1) << c.space;
      EXPECT_EQ(made->weight_bytes, whole.weight_bytes);
      std::printf("%s: %zu operations in %d x %d windows: arena %lld of %lld bytes, %.2f times their MACs\n",
                  c.space, stage->operations, grid, grid, static_cast<long long>(made->arena_bytes),
                  static_cast<long long>(whole.arena_bytes), made->patch_macs);
      const auto program = [&](std::vector<std::string> flags) {
        return devices::emulator::Program{
            {{"net.h", made->header}, {"net.c", made->source}, {"main.c", kGuardedMain}}, std::move(flags)};
      };
      devices::emulator::RunOptions options;
      options.files["in.bin"] = bytes_of(input);
      options.wanted = {"out.bin"};
      const auto host = runner.build_host(program({"-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic"}));
      ASSERT_TRUE(host) << to_string(host.error());
      const auto on_host = runner.run_host(*host, options);
      ASSERT_TRUE(on_host) << to_string(on_host.error());
      EXPECT_EQ(on_host->exit_code, 0);
      EXPECT_EQ(on_host->files.at("out.bin"), bytes_of(expected)) << c.space << " " << grid;
      const auto firmware = runner.build(*m4, program({"-std=c99", "-O2"}));
      if (!firmware) continue;
      const auto on_board = runner.run(*m4, *firmware, options);
      ASSERT_TRUE(on_board) << to_string(on_board.error());
      EXPECT_EQ(on_board->exit_code, 0);
      EXPECT_EQ(on_board->files.at("out.bin"), bytes_of(expected)) << c.space << " " << grid;
    }
    // Memory enough for whole layers asks for no stage.
    const auto needed = devices::codegen::choose_patches(quantized, {.neon = false}, 0, whole.arena_bytes);
    EXPECT_EQ(needed->operations, 0U);
    const auto impossible = devices::codegen::choose_patches(quantized, {.neon = false}, 0, 16);
    EXPECT_EQ(impossible.error().kind, ErrorKind::infeasible);
  }
}

// Oracle: every depth with every grid, one after the other.
TEST(GeneratedNetwork, ChoosesThePatchesWithTheFewestExtraMacsThatFit) {
  for (const Case& c : {kCases[1], kCases[2]}) {
    const SearchSpace space = space_of(c);
    const auto folded = *fold(random_network(space, genotype_of(space, 2), 5));
    const auto network = *quantize(folded, random_images(folded.deployment.input, 1, 6),
                                   {.calibration = supernet::Calibration::min_max, .equalise = false});
    const Deployment& d = network.deployment;
    const auto whole = *devices::codegen::planned_arena(network, {.neon = false}, {});
    struct Tried {
      devices::codegen::PatchStage stage;
      std::int64_t arena = 0, extra = 0;
    };
    std::vector<Tried> all;
    for (const std::size_t n : devices::codegen::patch_stages(d))
      for (std::int32_t g = 2; g <= std::min(d.ops[n - 1].out.height, d.ops[n - 1].out.width); ++g) {
        const auto geometry = devices::codegen::patch_geometry(d, {n, g});
        if (!geometry) continue;
        all.push_back({{n, g},
                       *devices::codegen::planned_arena(network, {.neon = false}, {n, g}),
                       geometry->macs - geometry->plain_macs});
      }
    ASSERT_GT(all.size(), 10U);
    const auto smallest = std::ranges::min(all, {}, &Tried::arena).arena;
    ASSERT_LT(smallest, whole) << c.space;
    std::set<std::pair<std::size_t, std::int32_t>> chosen;
    for (const std::int32_t grid : {0, 2, 3})
      for (int part = 0; part <= 8; ++part) {
        const std::int64_t ram = smallest + (whole - 1 - smallest) * part / 8;
        std::optional<Tried> best;
        for (const Tried& t : all)
          if ((grid == 0 || t.stage.grid == grid) && t.arena <= ram &&
              (!best || std::pair(t.extra, t.arena) < std::pair(best->extra, best->arena)))
            best = t;
        const auto found = devices::codegen::choose_patches(network, {.neon = false}, grid, ram);
        ASSERT_EQ(static_cast<bool>(found), best.has_value()) << c.space << " " << grid << " " << ram;
        if (!best) continue;
        EXPECT_EQ(found->operations, best->stage.operations) << c.space << " " << grid << " " << ram;
        EXPECT_EQ(found->grid, best->stage.grid) << c.space << " " << grid << " " << ram;
        if (grid == 0) chosen.insert({found->operations, found->grid});
      }
    EXPECT_GT(chosen.size(), 1U) << c.space;  // the choice does depend on the memory
    std::printf("%s: %zu stages; arena %lld whole, %lld at least; %zu chosen\n", c.space, all.size(),
                static_cast<long long>(whole), static_cast<long long>(smallest), chosen.size());
  }
}

// Builds and runs the program and compares its output with the reference's.
template <class Build, class Run>
void expect_bytes(const std::string& title, const devices::emulator::Program& program,
                  const std::string& input, const std::string& expected, const Build& build, const Run& run) {
  const auto built = build(program);
  if (!built) {
    // Firmware of the larger networks is beyond the board's 4 MB: the linker says by how much.
    const std::string why = to_string(built.error());
    std::printf("%s: not built: %s\n", title.c_str(), why.substr(0, 200).c_str());
    EXPECT_THAT(why, testing::AnyOf(testing::HasSubstr("overflowed by"), testing::HasSubstr("not found"),
                                    testing::HasSubstr("cannot be found")))
        << title;
    return;
  }
  devices::emulator::RunOptions options;
  options.timeout = std::chrono::minutes(10);
  options.files["in.bin"] = input;
  options.wanted = {"out.bin"};
  const auto ran = run(*built, options);
  ASSERT_TRUE(ran) << title << to_string(ran.error());
  EXPECT_EQ(ran->files.at("out.bin"), expected) << title;
}

class GeneratedSpaces : public testing::TestWithParam<Case> {};

TEST_P(GeneratedSpaces, ComputesOnHostCortexM4AndAarch64WhatTheReferenceComputes) {
  const std::uint64_t count = testing_support::network_count(GetParam().usual);
  if (count == 0) GTEST_SKIP() << "takes minutes: with HWNAS_TEST_NETWORKS only";
  const auto runner = emulator();
  const auto m4 = devices::emulator::find_board("mps2-an386");
  ASSERT_TRUE(m4);
  const SearchSpace space = space_of(GetParam());
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::string title = std::string(GetParam().space) + " " + std::to_string(n) + " ";
    const auto folded = *fold(random_network(space, genotype_of(space, n), 5 + n));
    const auto images = random_images(folded.deployment.input, 4, 6);
    const auto quantized =
        *quantize(folded, images,
                  {.calibration = supernet::Calibration::min_max, .equalise = false, .correct_bias = false});
    const auto made = devices::codegen::generate_network(quantized);  // portable, DSP and NEON
    ASSERT_TRUE(made) << to_string(made.error());
    EXPECT_EQ(made->source, devices::codegen::generate_network(quantized)->source);
    EXPECT_EQ(made->arena_bytes, *devices::codegen::planned_arena(quantized, {}, {}));
    EXPECT_THAT(made->header,
                testing::HasSubstr("NET_ARENA_BYTES " + std::to_string(made->arena_bytes) + "\n"));
    EXPECT_LE(static_cast<double>(made->arena_bytes), 1.05 * static_cast<double>(made->arena_bound)) << title;
    const auto input = on_grid(images[0], quantized.tensors[0]);
    const std::string expected = bytes_of(*devices::codegen::run_reference(quantized, input));
    const devices::emulator::Program program{
        {{"net.h", made->header}, {"net.c", made->source}, {"main.c", kMain}},
        {"-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic"}};
    const auto check = [&](const char* where, const auto& build, const auto& run) {
      expect_bytes(title + where, program, bytes_of(input), expected, build, run);
    };
    check(
        "host", [&](const auto& p) { return runner.build_host(p); },
        [&](const auto& built, const auto& o) { return runner.run_host(built, o); });
    check(
        "Cortex-M4", [&](const auto& p) { return runner.build(*m4, p); },
        [&](const auto& built, const auto& o) { return runner.run(*m4, built, o); });
    check(
        "aarch64", [&](const auto& p) { return runner.build_aarch64(p); },
        [&](const auto& built, const auto& o) { return runner.run_aarch64("cortex-a76", built, o); });
  }
}

INSTANTIATE_TEST_SUITE_P(Spaces, GeneratedSpaces,
                         testing::Values(kCases[0], kCases[1], kCases[2], kCases[3], kCases[4],
                                         Case{"ofa-mbv3-w1.0", 32, 0}, Case{"ofa-resnet50d", 32, 0},
                                         Case{"attentivenas", 32, 0}),
                         [](const auto& one) {
                           std::string name = one.param.space;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace nas
