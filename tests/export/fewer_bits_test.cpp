#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "apps/export/layer_in_message.h"
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

// A file whose sum is right may still hold what no writer writes.
TEST(FewerBits, CodesAndScalesOutOfRangeAreRefusedInAFileThatIsWhole) {
  TrainedNetwork t = network_of("tiny", 16);
  t.network = *with_weight_bits(t.network, 4);
  const QuantizedNetwork good = integer_network(t, random_images(t.network.layers[0].out, 2, 4));
  Rng rng(2, "fuzz");
  for (int i = 0; i < 60; ++i) {
    QuantizedNetwork q = good;
    std::size_t op = rng.below(q.weights.size());
    while (q.weights[op].values.empty()) op = rng.below(q.weights.size());
    QuantizedWeights& w = q.weights[op];
    const std::size_t row = rng.below(w.scales.size());
    switch (i % 3) {
      case 0:
        w.values[rng.below(w.values.size())] = -8;
        break;
      case 1:
        w.scales[row] = i % 2 == 0 ? 0.0 : -1.0;
        break;
      default:
        w.scales[row] = std::numeric_limits<double>::infinity();
    }
    const auto read = integers_from_bytes(integer_bytes(q), t.network, "file");
    ASSERT_FALSE(read) << i;
    EXPECT_THAT(read.error().message, ::testing::HasSubstr("out of range"));
  }
}

CostLimit flash_limit(double bytes) {
  return {"flash", "bytes",
          [](const Network& n) -> Result<double> {
            return static_cast<double>(weight_bytes(n, {8, 8}).count());
          },
          bytes};
}

double error_of(const BitSensitivity& s, const Network& network) {
  double sum = 0;
  for (std::size_t i = 0; i < s.layers.size(); ++i) {
    const int bits = network.layers[static_cast<std::size_t>(s.layers[i])].weight_bits;
    sum += s.error[i][bits == 8 ? 0 : bits == 4 ? 1 : 2];
  }
  return sum;
}

TEST(FewerBits, MixedPrecisionHoldsTheLimitAndBeatsTheSameBitsEverywhere) {
  const TrainedNetwork t = network_of("tiny", 16);
  const auto images = random_images(t.network.layers[0].out, 8, 4);
  const BitSensitivity found = bit_sensitivity(*fold(t), images);
  // Room for more than 4 bits everywhere, not for 8.
  const Network fours = *with_weight_bits(t.network, 4);
  const Bytes limit(
      (weight_bytes(fours, {8, 8}).count() + weight_bytes(*with_weight_bits(t.network, 8), {8, 8}).count()) /
      2);
  const std::vector<CostLimit> limits{flash_limit(static_cast<double>(limit.count()))};
  const auto mixed = mixed_precision(t.network, found, limits);
  ASSERT_TRUE(mixed) << to_string(mixed.error());
  EXPECT_LE(weight_bytes(*mixed, {8, 8}), limit);
  EXPECT_LT(error_of(found, *mixed), error_of(found, fours));
  for (const auto& error : found.error) EXPECT_LE(error[0], error[2]);
  const std::vector<CostLimit> small{flash_limit(100)};
  const auto none = mixed_precision(t.network, found, small);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::infeasible);
}

// A made-up sensitivity of five layers: all 243 choices can be tried.
struct FiveLayers {
  TrainedNetwork trained = network_of("tiny", 16);
  BitSensitivity s{{}, {8, 4, 2}, {}};
  FiveLayers() {
    Rng rng(3, "five layers");
    for (std::size_t i = 0; i < trained.network.layers.size() && s.layers.size() < 5; ++i) {
      trained.network.layers[i].weight_bits = 8;
      if (trained.network.layers[i].kind != LayerKind::conv) continue;
      s.layers.push_back(static_cast<std::int32_t>(i));
      const double e = 1e-4 + rng.uniform();
      s.error.push_back({0.001 * e, 0.05 * e, e});
    }
  }
  template <class Visit>
  void all(Visit visit) const {
    Network n = trained.network;
    for (int code = 0; code < 243; ++code) {
      for (int i = 0, rest = code; i < 5; ++i, rest /= 3)
        n.layers[static_cast<std::size_t>(s.layers[static_cast<std::size_t>(i)])].weight_bits =
            static_cast<std::uint8_t>(s.bits[static_cast<std::size_t>(rest % 3)]);
      visit(n);
    }
  }
  double best(std::span<const CostLimit> limits) const {
    double least = 1e9;
    all([&](const Network& n) {
      for (const CostLimit& limit : limits)
        if (*limit.cost(n) > limit.limit) return;
      least = std::min(least, error_of(s, n));
    });
    return least;
  }
};

// Fewer bits are unpacked first: they cost time, and save bytes.
double made_up_time(const Network& n) {
  double sum = 0;
  for (const Layer& l : n.layers)
    if (l.kind == LayerKind::conv)
      sum += static_cast<double>(macs(l).count()) * (l.weight_bits == 2 ? 1.5 : l.weight_bits == 4 ? 1.2 : 1);
  return sum;
}

TEST(FewerBits, UnderOneLimitTheMixIsTheBestOfAllAndUnderTwoNearIt) {
  const FiveLayers five;
  double most = 0, least = 1e18;
  five.all([&](const Network& n) {
    most = std::max(most, static_cast<double>(weight_bytes(n, {8, 8}).count()));
    least = std::min(least, static_cast<double>(weight_bytes(n, {8, 8}).count()));
  });
  const auto time = [](const Network& n) -> Result<double> { return made_up_time(n); };
  for (const double share : {0.2, 0.4, 0.6, 0.8}) {
    const CostLimit flash = flash_limit(std::floor(least + share * (most - least)));
    const std::vector<CostLimit> one{flash};
    const auto mixed = mixed_precision(five.trained.network, five.s, one);
    ASSERT_TRUE(mixed) << to_string(mixed.error());
    EXPECT_DOUBLE_EQ(error_of(five.s, *mixed), five.best(one)) << share;
    // Less time than that takes, but more than the least within the flash.
    double fastest = 1e18;
    five.all([&](const Network& n) {
      if (*flash.cost(n) <= flash.limit) fastest = std::min(fastest, made_up_time(n));
    });
    const double limit = fastest + 0.5 * (made_up_time(*mixed) - fastest);
    const std::vector<CostLimit> two{flash, {"time", "units", time, limit}};
    const auto both = mixed_precision(five.trained.network, five.s, two);
    ASSERT_TRUE(both) << share << " " << to_string(both.error());
    EXPECT_LE(*flash.cost(*both), flash.limit);
    EXPECT_LE(made_up_time(*both), limit);
    EXPECT_GE(error_of(five.s, *both), five.best(two) * (1 - 1e-12));
    EXPECT_LE(error_of(five.s, *both), five.best(two) * 2) << share;
  }
}

TEST(FewerBits, CostsThatDoNotAddUpAreHeldAndUnknownOnesNamed) {
  const FiveLayers five;
  // Two layers of few bits together cost more than each alone.
  const auto crooked = [&](const Network& n) -> Result<double> {
    int few = 0;
    for (const std::int32_t l : five.s.layers) few += n.layers[static_cast<std::size_t>(l)].weight_bits < 8;
    return static_cast<double>(weight_bytes(n, {8, 8}).count()) + 2.0 * few * few;
  };
  const Network& whole = five.trained.network;
  double least = 1e18;
  five.all([&](const Network& n) { least = std::min(least, *crooked(n)); });
  const double limit = least + 0.4 * (*crooked(whole) - least);
  const std::vector<CostLimit> limits{{"crooked", "", crooked, limit}};
  const auto mixed = mixed_precision(whole, five.s, limits);
  ASSERT_TRUE(mixed) << to_string(mixed.error());
  EXPECT_LE(*crooked(*mixed), limits[0].limit);
  const std::vector<CostLimit> unknown{{"time", "",
                                        [&](const Network& n) -> Result<double> {
                                          for (const Layer& l : n.layers)
                                            if (l.weight_bits == 2)
                                              return usage_error("no 2-bit conv was measured");
                                          return 1.0;
                                        },
                                        2}};
  const auto refused = mixed_precision(whole, five.s, unknown);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("with weights of 2 bits: no 2-bit conv"));
  EXPECT_THAT(refused.error().message,
              ::testing::HasSubstr(layer_name(whole.layers[static_cast<std::size_t>(five.s.layers[0])])));
  const std::vector<CostLimit> apart{
      flash_limit(limit),
      {"time", "units", [](const Network& n) -> Result<double> { return made_up_time(n); },
       made_up_time(whole)}};
  const auto neither = mixed_precision(whole, five.s, apart);
  ASSERT_FALSE(neither);
  EXPECT_EQ(neither.error().kind, ErrorKind::infeasible);
  EXPECT_THAT(neither.error().message, ::testing::HasSubstr("together with the limit on flash"));
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
  EXPECT_THAT(apps::with_layer_name(refused.error(), t.network).message,
              ::testing::HasSubstr("layer " + layer_name(t.network.layers[1]) + ": operation 0"));
  // Generated C says it by the function's name.
  const Error in_code = apps::with_layer_name({"too wide", "net_op0"}, t.network);
  EXPECT_EQ(in_code.message, "layer " + layer_name(t.network.layers[1]) + ": too wide");
  EXPECT_TRUE(in_code.where.empty());
  EXPECT_EQ(apps::with_layer_name({"operation 999: bad"}, t.network).message, "operation 999: bad");
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
