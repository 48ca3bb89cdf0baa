#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "space/rounding.h"
#include "space/search_space.h"
#include "tests/space/small_space.h"

namespace nas {
namespace {

SearchSpace space_of(const std::string& name) {
  auto space = load_space(name);
  EXPECT_TRUE(space) << to_string(space.error());
  return *space;
}

TEST(Rounding, MatchesTheReferenceTable) {
  const std::pair<double, int> kCases[] = {{19.2, 24}, {28.8, 32}, {18, 24},   {134.4, 136}, {36, 40},
                                           {41.6, 40}, {51.2, 48}, {83.2, 80}, {57.6, 56}};
  for (const auto& [value, rounded] : kCases) EXPECT_EQ(make_divisible(value), rounded) << value;
}

TEST(Rounding, SqueezesActiveWidths) {
  const int mid[] = {48, 72, 96, 120, 144, 160, 240, 336, 480, 672, 960};
  const int squeezed[] = {16, 24, 24, 32, 40, 40, 64, 88, 120, 168, 240};
  for (std::size_t i = 0; i < std::size(mid); ++i)
    EXPECT_EQ(squeezed_channels(mid[i]), squeezed[i]) << mid[i];
}

TEST(BuiltinSpaces, HaveTheCountsOfTheReference) {
  EXPECT_EQ(space_of("ofa-mbv3-w1.0").count_without_resolution(), "21758655492572485851");
  EXPECT_EQ(space_of("ofa-mbv3-w1.0").count(), "543966387314312146275");
  EXPECT_EQ(space_of("ofa-mbv3-w1.2").count_without_resolution(), "21758655492572485851");
  EXPECT_EQ(space_of("ofa-proxyless-w1.3").count_without_resolution(),
            "195827899433152372659");                                                // 7371^5 * 9
  EXPECT_EQ(space_of("ofa-resnet50d").count_without_resolution(), "2458914796962");  // 2 * 117^3 * 1053 * 3^6
  EXPECT_EQ(space_of("proxylessnas").count(), "221502229807900608");                 // 6^6 * 7^15
  EXPECT_EQ(space_of("nasbench201").count(), "15625");
  EXPECT_EQ(space_of("hat-wmt").count_genotypes(), "2437438960041984");  // 2 * 6^6 * 2 * 6 * 36^6
  EXPECT_EQ(space_of("attentivenas").count(), "440301256704");
}

TEST(BuiltinSpaces, LowerToValidNetworksAllOverTheSpace) {
  for (const std::string& name : every_space()) {
    const SearchSpace space = space_of(name);
    for (std::uint64_t i = 0; i < 50; ++i) {
      Rng rng(1, "lower", 0, i);
      const Genotype g = i == 0 ? space.smallest() : i == 1 ? space.largest() : space.sample(rng);
      const auto valid = validate(space.lower(g));
      ASSERT_TRUE(valid) << name << " " << space.text(g) << ": " << valid.error().message;
    }
  }
}

TEST(BuiltinSpaces, RoundTripThroughTextAndJson) {
  for (const std::string& name : every_space()) {
    const SearchSpace space = space_of(name);
    for (std::uint64_t i = 0; i < 20; ++i) {
      Rng rng(2, "text", 0, i);
      const Genotype g = space.sample(rng);
      const auto from_text = space.parse(space.text(g));
      ASSERT_TRUE(from_text) << to_string(from_text.error());
      EXPECT_EQ(*from_text, g);
      const auto from_json = space.from_json(space.to_json(g), "test");
      ASSERT_TRUE(from_json) << to_string(from_json.error());
      EXPECT_EQ(*from_json, g);
    }
  }
}

TEST(SearchSpaceType, EnumeratesEveryCanonicalGenotypeOnceInOrder) {
  const SearchSpace space = small_space();
  std::set<Genotype> seen;
  Genotype last;
  space.enumerate([&](const Genotype& g) {
    EXPECT_EQ(space.canonical(g), g);
    EXPECT_LT(last, g);
    last = g;
    return seen.insert(g).second;
  });
  // 2 resolutions * 2 widths * (4 + 16 + 64) settings of depth, kernel, expand * 2 depths * 2 bit widths.
  EXPECT_EQ(seen.size(), 2u * 2 * 84 * 2 * 2);
  EXPECT_EQ(space.count(), std::to_string(seen.size()));
  EXPECT_EQ(by_brute_force(space), seen);
}

TEST(SearchSpaceType, SamplesCanonicalNetworksUniformly) {
  const SearchSpace space = small_space();
  std::map<Genotype, int> count;
  const int n = 134400;
  for (int i = 0; i < n; ++i) {
    Rng rng(3, "uniform", 0, static_cast<std::uint64_t>(i));
    ++count[space.sample_canonical(rng)];
  }
  EXPECT_EQ(count.size(), 1344u);
  double chi2 = 0;
  const double expected = n / 1344.0;
  for (const auto& [g, c] : count) chi2 += (c - expected) * (c - expected) / expected;
  EXPECT_LT(chi2, 1343 + 4 * std::sqrt(2 * 1343.0));
}

TEST(SearchSpaceType, KeepsInactiveGenesOutOfEverything) {
  const SearchSpace space = space_of("ofa-mbv3-w1.0");
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(4, "inactive", 0, i);
    const Genotype g = space.sample(rng);
    Genotype noisy = g;
    for (std::size_t k = 0; k < g.size(); ++k)
      if (!space.active(g, k))
        noisy[k] = static_cast<std::uint8_t>(rng.below(space.genes()[k].choices.size()));
    EXPECT_EQ(space.canonical(noisy), g);
    EXPECT_EQ(space.text(noisy), space.text(g));
    EXPECT_EQ(space.to_json(noisy), space.to_json(g));
  }
}

TEST(SearchSpaceType, BreedsOnlyValidChildren) {
  for (const char* name : {"ofa-mbv3-w1.0", "ofa-resnet50d", "attentivenas", "hat-wmt"}) {
    const SearchSpace space = space_of(name);
    for (std::uint64_t i = 0; i < 200; ++i) {
      Rng rng(5, "breed", 0, i);
      const Genotype a = space.sample(rng), b = space.sample(rng);
      EXPECT_TRUE(space.check(space.crossover(a, b, rng)));
      EXPECT_TRUE(space.check(space.mutate(a, rng, 0.2)));
      EXPECT_EQ(space.mutate(a, rng, 0), a);
      EXPECT_EQ(space.crossover(a, a, rng), a);
    }
  }
}

TEST(SearchSpaceType, MutationWithProbabilityOneChangesEveryActiveGene) {
  const SearchSpace space = small_space();
  Rng rng(6, "mutate");
  const Genotype g = space.largest();
  const Genotype m = space.mutate(g, rng, 1);
  for (std::size_t i = 0; i < g.size(); ++i)
    if (space.active(m, i)) {
      EXPECT_NE(m[i], g[i]) << space.genes()[i].name;
    }
}

TEST(SearchSpaceType, ListsNeighboursThatDifferInOneActiveGene) {
  const SearchSpace space = small_space();
  const Genotype g = space.smallest();
  // resolution 1, width 1, depth 2, kernel 1, expand 1, depth 1, bits 1.
  EXPECT_EQ(space.neighbours(g).size(), 8u);
  for (const Genotype& n : space.neighbours(g)) EXPECT_TRUE(space.check(n));
}

TEST(SearchSpaceType, SharesWeightsOfEqualSitesOnly) {
  // A block keeps its site whatever is chosen elsewhere; two places never share one.
  const SearchSpace space = small_space();
  const Network big = space.lower(space.largest());
  std::set<std::pair<Site, LayerKind>> sites;
  for (const Layer& layer : big.layers)
    if (has_weights(layer)) {
      EXPECT_TRUE(sites.insert({layer.site, layer.kind}).second) << layer_name(layer);
    }
  for (const Layer& layer : space.lower(space.smallest()).layers)
    if (has_weights(layer)) {
      EXPECT_TRUE(sites.contains({layer.site, layer.kind})) << layer_name(layer);
    }
}

TEST(SearchSpaceType, SaysInOneLineWhatIsWrongWithAnArchitectureText) {
  const SearchSpace space = small_space();
  const auto message = [&](const std::string& text) {
    const auto g = space.parse(text);
    return g ? std::string("accepted") : g.error().message;
  };
  EXPECT_EQ(message("r=8:c=8:d=1,1:k=3,-,-:e=2,-,-:wb=4"), "accepted");
  EXPECT_THAT(message("r=8:c=8:d=1,1:k=3,-:e=2,-,-:wb=4"), testing::HasSubstr("k= needs 3 values, found 2"));
  EXPECT_THAT(message("r=9:c=8:d=1,1:k=3,-,-:e=2,-,-:wb=4"),
              testing::HasSubstr("resolution must be one of 8, 16; found \"9\""));
  EXPECT_THAT(message("r=8:c=8:d=2,1:k=3,-,-:e=2,2,-:wb=4"),
              testing::HasSubstr("stage1.block2.kernel is active and needs a value"));
  EXPECT_THAT(message("r=8:c=8:d=1,1:k=3,-,-:e=2,-,-"), testing::HasSubstr("the part wb= is missing"));
  EXPECT_THAT(message("nonsense"), testing::HasSubstr("needs parts key=value"));
}

}  // namespace
}  // namespace nas
