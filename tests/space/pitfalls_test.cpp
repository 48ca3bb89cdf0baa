// Mistakes seen in systems of this kind: rounding and widths, inactive genes, memory by max(in + out). The
// oracles are written from the papers' tables, with nothing of the library's lowering or liveness.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "space/cost.h"
#include "space/encoding.h"
#include "space/kernel.h"
#include "space/memory.h"
#include "space/network_builder.h"
#include "space/search_space.h"
#include "tests/space/small_space.h"

namespace nas {
namespace {

// What a once-for-all MobileNetV3 costs, from its table of stages and its rules in words.
struct OnceForAll {
  double multiplier;
  std::int64_t macs = 0, params = 0;
  std::vector<int> widths{};  // out channels of every convolution in execution order

  static int rounded(double v) {  // to 8, never below 0.9 of v
    int n = std::max(8, static_cast<int>(v + 4) / 8 * 8);
    return n < 0.9 * v ? n + 8 : n;
  }
  static int halved(int side, int stride) { return (side - 1) / stride + 1; }

  void conv(int in, int out, int kernel, int side, int groups) {
    macs += std::int64_t{in} * out / groups * kernel * kernel * side * side;
    params += std::int64_t{in} * out / groups * kernel * kernel + 2 * out;  // with batch norm
    widths.push_back(out);
  }
  void squeeze(int channels) {
    const int hidden = rounded(channels / 4);
    macs += 2LL * channels * hidden;
    params += 2LL * channels * hidden + channels + hidden;
  }
  void block(int& in, int out, int kernel, double expand, int stride, int& side, bool se) {
    const int middle = rounded(std::nearbyint(in * expand));
    if (expand != 1) conv(in, middle, 1, side, 1);
    side = halved(side, stride);
    conv(middle, middle, kernel, side, middle);
    if (se) squeeze(middle);
    conv(middle, out, 1, side, 1);
    in = out;
  }
  int scaled(int channels) const { return rounded(channels * multiplier); }

  void run(int resolution, const std::vector<int>& depth, const std::vector<int>& kernel,
           const std::vector<int>& expand) {
    const int kOut[] = {24, 40, 80, 112, 160}, kStride[] = {2, 2, 2, 1, 2};
    const bool kSqueeze[] = {false, true, false, true, true};
    int side = halved(resolution, 2), in = scaled(16);
    conv(3, in, 3, side, 1);
    block(in, scaled(16), 3, 1, 1, side, false);
    for (std::size_t s = 0; s < 5; ++s)
      for (int k = 0; k < depth[s]; ++k)
        block(in, scaled(kOut[s]), kernel[4 * s + static_cast<std::size_t>(k)],
              expand[4 * s + static_cast<std::size_t>(k)], k == 0 ? kStride[s] : 1, side, kSqueeze[s]);
    conv(in, scaled(960), 1, side, 1);
    const int mix = scaled(1280);
    macs += std::int64_t{scaled(960)} * mix + 1000LL * mix;
    params += std::int64_t{scaled(960)} * mix + 1000LL * mix + 1000;
    widths.push_back(mix);
  }
};

std::vector<int> values(const SearchSpace& space, const Genotype& g, const std::string& what, int inactive) {
  std::vector<int> out;
  for (std::size_t i = 0; i < g.size(); ++i)
    if (space.genes()[i].name.ends_with("." + what))
      out.push_back(space.active(g, i) ? static_cast<int>(space.value(g, static_cast<int>(i))) : inactive);
  return out;
}

void expect_once_for_all(const std::string& name, double multiplier, int resolution, std::uint64_t seed) {
  const SearchSpace space = *load_space(name, {.classes = 0, .resolutions = {resolution}});
  Rng rng(seed, "pitfall widths");
  const Genotype g = space.sample(rng);
  OnceForAll expected{.multiplier = multiplier};
  expected.run(resolution, values(space, g, "depth", 0), values(space, g, "kernel", 0),
               values(space, g, "expand", 0));
  const Network network = space.lower(g);
  std::vector<int> widths;
  for (const Layer& l : network.layers)
    if (l.kind == LayerKind::conv) widths.push_back(l.out.channels);
  ASSERT_EQ(widths, expected.widths) << space.text(g);
  ASSERT_EQ(macs(network).count(), expected.macs) << space.text(g);
  ASSERT_EQ(params(network).count(), expected.params) << space.text(g);
}

TEST(RoundingPitfall, WidthsAndCostsOfAThousandNetworksFollowTheTablesInWords) {
  const int kSides[] = {128, 127, 129, 160, 176, 192, 224, 225};  // odd sides too
  for (std::uint64_t i = 0; i < 500; ++i) {
    expect_once_for_all("ofa-mbv3-w1.0", 1.0, kSides[i % 8], i);
    expect_once_for_all("ofa-mbv3-w1.2", 1.2, kSides[i % 8], i);
    if (HasFatalFailure()) return;
  }
}

TEST(RoundingPitfall, OddMapsAreHalvedUpwards) {
  for (const int side : {127, 129, 225}) {
    const SearchSpace space = *load_space("ofa-mbv3-w1.0", {.classes = 0, .resolutions = {side}});
    int expected = side;
    for (const Layer& l : space.lower(space.smallest()).layers)
      if (l.kind == LayerKind::conv && l.stride == 2) {
        expected = (expected - 1) / 2 + 1;
        EXPECT_EQ(l.out.height, expected) << side;
        EXPECT_EQ(l.out.width, expected) << side;
      }
  }
}

// Inactive genes set to anything.
Genotype noisy(const SearchSpace& space, const Genotype& g, Rng& rng) {
  Genotype out = g;
  for (std::size_t k = 0; k < g.size(); ++k)
    if (!space.active(g, k)) out[k] = static_cast<std::uint8_t>(rng.below(space.genes()[k].choices.size()));
  return out;
}

TEST(InactiveGenePitfall, NothingThatReadsAGenotypeSeesInactiveGenes) {
  for (const std::string& name : every_space()) {
    const SearchSpace space = *load_space(name);
    const Encoding hot = *Encoding::make(space, EncodingForm::one_hot);
    const Encoding compact = *Encoding::make(space, EncodingForm::compact);
    const Encoding ordinal = *Encoding::make(space, EncodingForm::ordinal);
    for (std::uint64_t i = 0; i < 20; ++i) {
      Rng rng(1, "pitfall inactive", 0, i);
      const Genotype g = space.sample(rng), other = noisy(space, g, rng);
      ASSERT_EQ(space.hash(space.canonical(other)), space.hash(g)) << name;
      for (const Encoding* encoding : {&hot, &compact, &ordinal}) {
        std::vector<float> x(encoding->size()), y(encoding->size());
        ASSERT_TRUE(encoding->encode(g, x) && encoding->encode(other, y));
        ASSERT_EQ(x, y) << name;
      }
      const auto keys = [&](const Genotype& from) {  // of latency tables
        std::multiset<std::string> found;
        for (const Kernel& k : kernels(space.lower(from), {})) found.insert(signature(k));
        return found;
      };
      ASSERT_EQ(keys(g), keys(space.canonical(other))) << name;
    }
  }
}

TEST(InactiveGenePitfall, ChildrenOfParentsOfDifferentDepthsAreValidAndCanonical) {
  for (const std::string& name : every_space()) {
    const SearchSpace space = *load_space(name);
    for (std::uint64_t i = 0; i < 100; ++i) {
      Rng rng(2, "pitfall crossover", 0, i);
      const Genotype a = i % 2 == 0 ? space.smallest() : space.sample(rng);
      const Genotype b = i % 3 == 0 ? space.largest() : space.sample(rng);
      const Genotype child = space.crossover(a, b, rng);
      ASSERT_TRUE(space.check(child)) << name;
      ASSERT_EQ(space.canonical(child), child) << name;
      ASSERT_TRUE(validate(space.lower(child))) << name;
      // Every active choice is a parent's.
      for (std::size_t k = 0; k < child.size(); ++k)
        ASSERT_TRUE(!space.active(child, k) || child[k] == a[k] || child[k] == b[k]) << name;
    }
  }
}

TEST(InactiveGenePitfall, DepthCountsBlocksFromTheFrontInAnyOrderOfItsList) {
  // Two blocks by hand: 8 channels at 16x16, expand 2, kernel 3 and 5; the second block has a shortcut.
  for (const char* depths : {"[1, 2]", "[2, 1]"}) {
    const auto space = parse_space(std::string(R"({"name": "two", "classes": 2, "resolution": 16,
      "stem": {"channels": 8, "stride": 1},
      "stages": [{"channels": 8, "depth": )") +
                                       depths + R"(, "kernel": [3, 5], "expand": [2, 4]}],
      "head": [{"kind": "pool"}]})",
                                   "two.json");
    ASSERT_TRUE(space) << to_string(space.error());
    const auto count = [&](const std::string& text) {
      return macs(space->lower(*space->parse(text))).count();
    };
    constexpr std::int64_t kPixels = 256, kStem = kPixels * 3 * 8 * 9, kEnd = 8 * 2;
    constexpr std::int64_t kFirst = kPixels * (8 * 16 + 16 * 9 + 16 * 8);
    constexpr std::int64_t kSecond = kPixels * (8 * 32 + 32 * 25 + 32 * 8);
    EXPECT_EQ(count("r=16:d=1:k=3,-:e=2,-"), kStem + kFirst + kEnd);
    EXPECT_EQ(count("r=16:d=2:k=3,5:e=2,4"), kStem + kFirst + kSecond + kEnd);
    int joins = 0;
    for (const Layer& l : space->lower(*space->parse("r=16:d=2:k=3,5:e=2,4")).layers)
      joins += l.kind == LayerKind::add;
    EXPECT_EQ(joins, 2);  // of the two blocks; one that is left out takes its shortcut with it
    EXPECT_EQ(space->genes()[1].choices.front().label, "1");
  }
}

TEST(InactiveGenePitfall, TheResNetStemHasItsExtraLayerWhenItsDepthIsTwo) {
  const SearchSpace space = *load_space("ofa-resnet50d");
  Genotype g = space.smallest();
  const auto stem = static_cast<std::size_t>(space.find("stem.depth"));
  const auto convolutions = [&](std::uint8_t choice) {
    g[stem] = choice;
    int n = 0;
    for (const Layer& l : space.lower(space.canonical(g)).layers)
      n += l.kind == LayerKind::conv && l.site.stage == 0;
    return n;
  };
  EXPECT_EQ(space.genes()[stem].choices[1].label, "2");
  EXPECT_EQ(convolutions(1), convolutions(0) + 1);
}

// An inverted residual: 4 channels at 8x8 in, expanded to 24, back to 4, plus the input.
Network inverted_residual() {
  Network network;
  NetworkBuilder b(network);
  const std::int32_t image = b.input({4, 8, 8});
  const std::int32_t start = b.conv(image, {1, 1, Role::stem}, 4, 3, 1);
  const std::int32_t wide = b.conv(start, {1, 2, Role::expand}, 24, 1, 1);
  const std::int32_t deep = b.conv(wide, {1, 2, Role::depthwise}, 24, 3, 1, 24);
  const std::int32_t thin = b.conv(deep, {1, 2, Role::project}, 4, 1, 1);
  b.add(thin, start, {1, 2, Role::join});
  return network;
}

TEST(MemoryPitfall, TheResidualTheImageAndScratchCount) {
  const Network network = inverted_residual();
  constexpr std::int64_t kThin = 4 * 64, kWide = 24 * 64;
  // max(in + out) says 2 x 24 x 64; the block's input waits for the sum beside both.
  EXPECT_EQ(peak_memory(network, *memory_model("plain")).bytes.count(), kThin + 2 * kWide);
  const std::vector<std::int64_t> live = live_bytes(memory_program(network, {}));
  EXPECT_EQ(live, (std::vector<std::int64_t>{kThin, 2 * kThin, kThin + kWide, kThin + 2 * kWide,
                                             kThin + kWide + kThin, 3 * kThin}));
  // In place the projection is the peak: its input, its output and the residual.
  EXPECT_EQ(peak_memory(network, *memory_model("in-place")).bytes.count(), kThin + kWide + kThin);
  EXPECT_EQ(live_bytes(memory_program(network, *memory_model("in-place,depthwise=plane")))[3],
            kThin + kWide + 2 * 10 * 10);
  // The image in the arena or outside.
  EXPECT_EQ(live_bytes(memory_program(network, *memory_model("plain,input=outside")))[1], kThin);
  // Two columns of 3x3x4 16-bit values beside the stem.
  EXPECT_EQ(live_bytes(memory_program(network, *memory_model("plain,im2col=2")))[1], 2 * kThin + 2 * 2 * 36);
}

}  // namespace
}  // namespace nas
