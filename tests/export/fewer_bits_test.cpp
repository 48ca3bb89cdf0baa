#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "devices/codegen/network.h"
#include "devices/emulator/qemu.h"
#include "devices/kernel_writer.h"
#include "devices/process.h"
#include "space/cost.h"
#include "supernet/low_rank/low_rank.h"
#include "supernet/prune/importance.h"
#include "supernet/quantize/integer_file.h"
#include "supernet/quantize/mixed_precision.h"
#include "supernet/quantize/quantize.h"
#include "tests/export/compression_support.h"

namespace nas::supernet {
namespace {

QuantizedNetwork integer_network(const TrainedNetwork& t, std::span<const Values> images) {
  return *quantize(*fold(t), images, {.calibration = Calibration::mse});
}

TEST(FewerBits, TheFileTakesWhatTheCostModelSaysAndComesBackTheSame) {
  for (const char* name : {"tiny", "cifar-mbv3"}) {
    TrainedNetwork t = network_of(name, name[0] == 't' ? 16 : 24);
    const auto images = random_images(t.network.layers[0].out, 2, 4);
    for (const std::int32_t bits : {8, 4, 2}) {
      t.network = *with_weight_bits(t.network, bits);
      t.network = *with_weight_bits(t.network, 4, "classifier");
      const QuantizedNetwork q = integer_network(t, images);
      EXPECT_EQ(integer_payload(q), weight_bytes(t.network, {8, 8}).count()) << name << " " << bits;
      const std::string bytes = integer_bytes(q);
      const auto back = integers_from_bytes(bytes, t.network, "file");
      ASSERT_TRUE(back) << to_string(back.error());
      EXPECT_EQ(integer_bytes(*back), bytes);
      for (std::size_t i = 0; i < q.weights.size(); ++i)
        EXPECT_EQ(back->weights[i].values, q.weights[i].values);
    }
  }
}

TEST(FewerBits, AChangedFileIsRefusedOrReadTheSame) {
  TrainedNetwork t = network_of("tiny", 16);
  t.network = *with_weight_bits(t.network, 4);
  const std::string bytes = integer_bytes(integer_network(t, random_images(t.network.layers[0].out, 2, 4)));
  Rng rng(1, "fuzz");
  for (int i = 0; i < 1500; ++i) {
    std::string changed = bytes;
    const std::size_t many = 1 + rng.below(3);
    for (std::size_t k = 0; k < many; ++k) {
      const std::size_t at =
          rng.below(rng.chance(0.7) ? std::min<std::size_t>(changed.size(), 3000) : changed.size());
      if (rng.chance(0.2))
        changed.resize(at + 1);
      else
        changed[std::min(at, changed.size() - 1)] = static_cast<char>(rng.below(256));
    }
    const auto read = integers_from_bytes(changed, t.network, "file");
    if (read) {
      EXPECT_EQ(read->weights.size(), read->deployment.ops.size());
    }
  }
  EXPECT_FALSE(integers_from_bytes(bytes, network_of("cifar-mbv3", 24).network, "file"));
}

TEST(FewerBits, MixedPrecisionHoldsTheLimitAndBeatsTheSameBitsEverywhere) {
  const TrainedNetwork t = network_of("tiny", 16);
  const auto images = random_images(t.network.layers[0].out, 8, 4);
  const BitSensitivity found = bit_sensitivity(*fold(t), images);
  // Room for more than 4 bits everywhere, not for 8.
  const Bytes limit((weight_bytes(*with_weight_bits(t.network, 4), {8, 8}).count() +
                     weight_bytes(*with_weight_bits(t.network, 8), {8, 8}).count()) /
                    2);
  const auto mixed = mixed_precision(t.network, found, limit);
  ASSERT_TRUE(mixed) << to_string(mixed.error());
  EXPECT_LE(weight_bytes(*mixed, {8, 8}), limit);
  double chosen = 0, same = 0;
  for (std::size_t i = 0; i < found.layers.size(); ++i) {
    const int bits = mixed->layers[static_cast<std::size_t>(found.layers[i])].weight_bits;
    chosen += found.error[i][bits == 8 ? 0 : bits == 4 ? 1 : 2];
    same += found.error[i][1];
    EXPECT_LE(found.error[i][0], found.error[i][2]);
  }
  EXPECT_LT(chosen, same);
  const auto none = mixed_precision(t.network, found, Bytes(100));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::infeasible);
}

TEST(FewerBits, BitsWithoutAKernelAreRefusedByName) {
  TrainedNetwork t = network_of("tiny", 16);
  EXPECT_THAT(with_weight_bits(t.network, 3).error().message, ::testing::HasSubstr("3 bits"));
  EXPECT_THAT(with_weight_bits(t.network, 4, "stage9").error().message, ::testing::HasSubstr("stage9"));
  EXPECT_THAT(with_activation_bits(t.network, 6).error().message, ::testing::HasSubstr("6 bits"));
  t.network.layers[1].weight_bits = 5;
  const auto refused = quantize(*fold(t), random_images(t.network.layers[0].out, 1, 4));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("operation 0"));
  const auto kernel = parse_signature("conv k1 s1 p0 g1 8x4x4->8x4x4 bn w3a8 i8");
  ASSERT_TRUE(kernel);
  const auto code = devices::write_kernel(*kernel, "int8", "f");
  ASSERT_FALSE(code);
  EXPECT_THAT(code.error().message, ::testing::HasSubstr("w3a8"));
  EXPECT_TRUE(
      devices::write_kernel(*parse_signature("conv k1 s1 p0 g1 8x4x4->8x4x4 bn w4a8 i8"), "int8", "f"));
}

constexpr const char* kMain = R"(
#include "nas_board.h"
#include "net.h"
static int8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));
int nas_main(void) {
  if (nas_read_file("in.bin", net_input(arena), NET_INPUT_BYTES) != NET_INPUT_BYTES) return 1;
  net_run(arena);
  return nas_write_file("out.bin", net_output(arena), NET_OUTPUTS) == NET_OUTPUTS ? 0 : 2;
}
)";

// All results of the C code on this machine, an emulated Cortex-M4 and AArch64 equal the integer reference.
void expect_same_everywhere(const TrainedNetwork& t) {
  const auto images = random_images(t.network.layers[0].out, 3, 4);
  const QuantizedNetwork q = integer_network(t, images);
  const auto made = devices::codegen::generate_network(q);
  ASSERT_TRUE(made) << to_string(made.error());
  std::string in;
  std::vector<std::int8_t> input;
  for (const float v : images[2]) input.push_back(to_grid(v, q.tensors[0]));
  const auto expected = devices::codegen::run_reference(q, input);
  ASSERT_TRUE(expected);
  using namespace devices::emulator;
  const Emulator emulator(std::filesystem::temp_directory_path() / "hwnas-test-cache");
  const Program program{{{"net.h", made->header}, {"net.c", made->source}, {"main.c", kMain}},
                        {"-std=c99", "-O2"}};
  RunOptions options;
  options.files["in.bin"] = {input.begin(), input.end()};
  options.wanted = {"out.bin"};
  const auto same = [&](const char* where, const Result<EmulatedRun>& run) {
    ASSERT_TRUE(run) << where << ": " << to_string(run.error());
    EXPECT_EQ(run->files.at("out.bin"), std::string(expected->begin(), expected->end())) << where;
  };
  const auto host = emulator.build_host(program);
  ASSERT_TRUE(host) << to_string(host.error());
  same("host", emulator.run_host(*host, options));
  if (!devices::find_program("qemu-system-arm") || !devices::find_program("arm-none-eabi-gcc")) return;
  const auto board = *find_board("mps2-an386");
  const auto m4 = emulator.build(board, program);
  ASSERT_TRUE(m4) << to_string(m4.error());
  same("Cortex-M4", emulator.run(board, *m4, options));
}

TEST(FewerBits, TheExportedCComputesWhatTheIntegerReferenceDoes) {
  TrainedNetwork t = network_of("cifar-mbv3", 24);
  t.network = *with_weight_bits(t.network, 4);
  expect_same_everywhere(t);
  // All bits in one network, activations of 4 bits, pruned channels and low rank together.
  t = network_of("tiny", 16);
  const auto groups = channel_groups(t.network);
  KeptChannels kept;
  for (const auto& g : groups)
    kept.push_back(
        best_channels(weight_importance(t, {g}, Importance::l1)[0], std::max(1, g.channels * 2 / 3)));
  t = *prune_channels(t, groups, kept, {});
  t = *factor(t, {{factorable_layers(t.network).back(), 3}});
  t.network = *with_weight_bits(*with_weight_bits(t.network, 4), 2, "stage2");
  t.network = *with_activation_bits(t.network, 4);
  expect_same_everywhere(t);
}

}  // namespace
}  // namespace nas::supernet
