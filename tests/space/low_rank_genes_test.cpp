// Genes of low rank: what they make of networks, counts, costs and texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "space/cost.h"
#include "space/low_rank.h"
#include "tests/space/small_space.h"

namespace nas {
namespace {

using testing::HasSubstr;

SearchSpace space_of(const std::string& text) {
  auto space = parse_space(text, "rank.json");
  EXPECT_TRUE(space) << to_string(space.error());
  return *space;
}

// One block, a head and a classifier with a rank each.
std::string one_block(const std::string& block, const std::string& head, const std::string& classifier) {
  return R"({"name": "rank", "classes": 30, "resolution": [8, 16], "stem": {"channels": 16, "stride": 2},
    "stages": [{"channels": 24, "depth": [1, 2], "expand": [2, 6], "squeeze_excite": [false, true])" +
         block + R"(}], "head": [{"kind": "conv", "channels": 64)" + head + R"(}, {"kind": "pool"}],
    "classifier": {)" +
         classifier + "}}";
}
const std::string kRank = R"("rank": [1, 0.5, 0.25])";
std::string with_ranks() { return one_block(", " + kRank, ", " + kRank, kRank); }
std::string without_ranks() { return one_block("", "", ""); }

bool same(const Layer& a, const Layer& b) {
  const auto parts = [](const Layer& l) {
    return std::tie(l.kind, l.activation, l.weight_bits, l.activation_bits, l.bias, l.site, l.inputs, l.in,
                    l.side, l.out, l.kernel, l.stride, l.padding, l.groups, l.hidden, l.heads);
  };
  return parts(a) == parts(b);
}
bool same(const Network& a, const Network& b) {
  return std::ranges::equal(a.layers, b.layers, [](const Layer& x, const Layer& y) { return same(x, y); });
}

// The genotype of the space without rank genes that makes the same choices.
Genotype plain_of(const SearchSpace& plain, const SearchSpace& space, const Genotype& g) {
  Genotype out(plain.genes().size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = g[static_cast<std::size_t>(space.find(plain.genes()[i].name))];
  return plain.canonical(out);
}

double rank_of(const SearchSpace& space, const Genotype& g, const std::string& place) {
  return space.value(g, space.find(place + ".rank"));
}

// Multiplications a position of a matrix of `out` rows and `in` columns at a share of its rank, by hand.
std::int64_t matrix(std::int64_t out, std::int64_t in, double share) {
  const auto rank = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::floor(share * static_cast<double>(std::min(out, in)) + 0.5)));
  return std::min(out * in, rank * (out + in));
}

TEST(RankGenes, CostWhatTheTwoFactorsCost) {
  const SearchSpace space = space_of(with_ranks());
  std::size_t checked = 0;
  space.enumerate([&](const Genotype& g) {
    const Network network = space.lower(g);
    EXPECT_TRUE(validate(network));
    const std::int64_t side = static_cast<std::int64_t>(space.value(g, space.find("resolution"))) / 2;
    const int depth = static_cast<int>(space.value(g, space.find("stage1.depth")));
    std::int64_t weights = 16 * 27, vectors = 2 * 16, work = 16 * 27 * side * side;
    for (int k = 1; k <= depth; ++k) {
      const std::string block = "stage1.block" + std::to_string(k);
      const std::int64_t in = k == 1 ? 16 : 24;
      const auto middle = static_cast<std::int64_t>(space.value(g, space.find(block + ".expand"))) * in;
      const double share = rank_of(space, g, block);
      const std::int64_t dense = matrix(middle, in, share) + middle * 9 + matrix(24, middle, share);
      weights += dense;
      work += dense * side * side;
      vectors += 4 * middle + 2 * 24;  // batch norm of expand, depthwise and project
      if (g[static_cast<std::size_t>(space.find(block + ".squeeze_excite"))] == 1) {
        const std::int64_t hidden = (middle / 4 + 4) / 8 * 8 < 8 ? 8 : (middle / 4 + 4) / 8 * 8;
        weights += 2 * hidden * middle;
        vectors += hidden + middle;
        work += 2 * hidden * middle;
      }
    }
    const std::int64_t head = matrix(64, 24, rank_of(space, g, "head1"));
    const std::int64_t classifier = matrix(30, 64, rank_of(space, g, "classifier"));
    weights += head + classifier;
    vectors += 2 * 64 + 30;
    work += head * side * side + classifier;
    EXPECT_EQ(macs(network).count(), work) << space.text(g);
    EXPECT_EQ(params(network).count(), weights + vectors) << space.text(g);
    ++checked;
    return true;
  });
  // 2 resolutions * (12 + 12 * 12) settings of depth, expand, squeeze-excite, rank * 3 * 3.
  EXPECT_EQ(checked, 2u * (12 + 144) * 9);
  EXPECT_EQ(space.count(), std::to_string(checked));
  EXPECT_EQ(by_brute_force(space).size(), checked);
}

TEST(RankGenes, OfOneChangeNothingAndOthersOnlySplitLayers) {
  const SearchSpace space = space_of(with_ranks()), plain = space_of(without_ranks());
  int unchanged = 0, split = 0;
  space.enumerate([&](const Genotype& g) {
    const Network network = space.lower(g), whole = plain.lower(plain_of(plain, space, g));
    bool full = true;
    for (std::size_t i = 0; i < g.size(); ++i)
      full = full && (space.genes()[i].family != "rank" || !space.active(g, i) || g[i] == 2);
    EXPECT_EQ(full, same(network, whole)) << space.text(g);
    ++(full ? unchanged : split);
    const Joined back = joined(network);
    EXPECT_TRUE(same(back.network, whole)) << space.text(g);
    const auto again = factored(whole, back.ranks);
    EXPECT_TRUE(again && same(*again, network)) << space.text(g);
    return true;
  });
  EXPECT_GT(unchanged, 0);
  EXPECT_GT(split, unchanged);
}

TEST(RankGenes, AreThoseRanksThatCompressGives) {
  const SearchSpace space = space_of(with_ranks()), plain = space_of(without_ranks());
  Genotype g = space.largest();
  for (const std::uint8_t choice : {std::uint8_t{0}, std::uint8_t{1}}) {
    for (std::size_t i = 0; i < g.size(); ++i)
      if (space.genes()[i].family == "rank") g[i] = choice;
    const Network whole = plain.lower(plain.largest());
    const LayerRanks ranks = ranks_at(whole, choice == 0 ? 0.25 : 0.5);
    EXPECT_TRUE(same(space.lower(g), *factored(whole, ranks)));
    EXPECT_TRUE(ranks_at(space.lower(g), 0.5).empty()) << "a factor is not split again";
  }
}

TEST(RankGenes, AreWrittenAndReadLikeOthersAndLeaveOldTextsAlone) {
  const SearchSpace space = space_of(with_ranks()), plain = space_of(without_ranks());
  EXPECT_EQ(plain.text(plain.largest()), "r=16:d=2:e=6,6:se=1,1");
  EXPECT_EQ(space.text(space.largest()), "r=16:d=2:e=6,6:se=1,1:rank=1,1,1,1");
  EXPECT_EQ(space.text(space.smallest()), "r=8:d=1:e=2,-:se=0,-:rank=0.25,-,0.25,0.25");
  for (std::uint64_t i = 0; i < 50; ++i) {
    Rng rng(1, "rank text", 0, i);
    const Genotype g = space.mutate(space.sample(rng), rng, 0.3);
    EXPECT_EQ(*space.parse(space.text(g)), g);
    EXPECT_EQ(*space.from_json(space.to_json(g), "test"), g);
    EXPECT_EQ(*plain.parse(plain.text(plain_of(plain, space, g))), plain_of(plain, space, g));
  }
  EXPECT_THAT(space.parse("r=16:d=2:e=6,6:se=1,1:rank=1,1,1,0.3").error().message, HasSubstr("0.3"));
}

TEST(RankGenes, OneRankIsFixedAndAStageCanHaveOneGene) {
  const SearchSpace fixed = space_of(one_block(R"(, "rank": 0.5)", "", ""));
  EXPECT_EQ(fixed.genes().size(), space_of(without_ranks()).genes().size());
  EXPECT_EQ(joined(fixed.lower(fixed.largest())).ranks.size(), 4u);
  const SearchSpace stage = space_of(one_block(R"(, "genes": "stage", "rank": [1, 0.5])", "", ""));
  EXPECT_EQ(stage.text(stage.largest()), "r=16:d=2:e=6:se=1:rank=1");
  Genotype g = stage.largest();
  g[static_cast<std::size_t>(stage.find("stage1.rank"))] = 0;
  EXPECT_EQ(joined(stage.lower(g)).ranks.size(), 4u);
}

TEST(RankGenes, FactorBottlenecksWithTheirShortcutsAndTransformersMlps) {
  const SearchSpace bottleneck = space_of(R"({"name": "b", "classes": 4, "resolution": 16,
    "stem": {"channels": 16, "stride": 1},
    "stages": [{"block": "bottleneck", "channels": 64, "expand": 0.5, "stride": 2, "rank": [1, 0.25]}],
    "head": [{"kind": "pool"}]})");
  // conv1 16 -> 32, conv3 32 -> 64, shortcut 16 -> 64 with its stride in the first factor.
  const Network thin = bottleneck.lower(bottleneck.smallest());
  EXPECT_EQ(params(bottleneck.lower(bottleneck.largest())).count() - params(thin).count(),
            16 * 32 - 4 * 48 + 32 * 64 - 8 * 96 + 16 * 64 - 4 * 80);
  EXPECT_EQ(joined(thin).ranks.size(), 3u);
  const SearchSpace transformer = space_of(R"({"name": "t", "family": "autoformer", "classes": 4,
    "resolution": 32, "patch": 16, "width": 64, "depth": [1, 2], "heads": 1, "mlp_ratio": 4,
    "rank": [1, 0.5]})");
  EXPECT_EQ(transformer.genes().size(), 9u);
  EXPECT_EQ(params(transformer.lower(transformer.largest())).count() -
                params(transformer.lower(*transformer.parse("r=32:w=64:d=2:h=1,1:m=4,4:rank=0.5,1"))).count(),
            2 * (64 * 256 - 32 * 320));
}

TEST(RankGenes, AreRefusedWhereTheyMeanNothingWithTheirPlace) {
  const auto message = [](const std::string& block) {
    const auto space = parse_space(one_block(block, "", ""), "bad.json");
    return space ? std::string("accepted") : to_string(space.error());
  };
  EXPECT_THAT(message(R"(, "rank": [0, 1])"),
              HasSubstr("stages[0].rank: needs a list of numbers from 0.01 to 1, found [0,1]"));
  EXPECT_THAT(message(R"(, "rank": 1.5)"), HasSubstr("bad.json:2:"));
  EXPECT_THAT(message(R"(, "rank": [0.5, 0.5])"), HasSubstr("stages[0].rank: holds a value twice"));
  EXPECT_THAT(message(R"(, "rank": "half")"), HasSubstr("stages[0].rank"));
  EXPECT_THAT(message(R"(, "rnak": 0.5)"), HasSubstr("did you mean \"rank\"?"));
  EXPECT_THAT(
      message(R"(, "block": "basic", "rank": [1, 0.5])"),
      HasSubstr("stages[0].rank: belongs to blocks of 1x1 convolutions (mbconv, separable, bottleneck), "
                "found basic"));
}

TEST(LowRank, RefusesFactorsOfFactors) {
  const SearchSpace space = space_of(with_ranks());
  const Network thin = space.lower(space.smallest());
  const LayerRanks ranks = joined(thin).ranks;
  ASSERT_FALSE(ranks.empty());
  const std::int32_t first = ranks.begin()->first;  // nothing is split before it
  for (const std::int32_t layer : {first, first + 1})
    EXPECT_THAT(factored(thin, {{layer, 1}}).error().message, HasSubstr("is a factor already"));
  EXPECT_THAT(factored(thin, {{1, 1}}).error().message, HasSubstr("is no 1x1 convolution"));
}

}  // namespace
}  // namespace nas
