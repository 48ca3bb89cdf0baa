#include "search/peak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "search/certificate.h"
#include "search/exact.h"
#include "search/feasibility.h"
#include "search/memory_parts.h"
#include "search/strategies.h"
#include "space/cost.h"
#include "tests/search/fixtures.h"
#include "tests/space/small_space.h"

// Peak memory as the largest of small tables, against lowering every network.
namespace nas::search {
namespace {

double bytes_of(const SearchSpace& space, const Genotype& g, const MemoryOptions& options) {
  return static_cast<double>(peak_memory(space.lower(g), options).bytes.count());
}

SearchSpace tiny() {
  SpaceOverrides change;
  change.resolutions = {16, 24};
  return *load_space("tiny", change);
}

class OfPreset : public testing::TestWithParam<const char*> {};

TEST_P(OfPreset, TheTablesGiveEveryNetworksPeakAndTheLeastOfAll) {
  const MemoryOptions options = *memory_preset(GetParam());
  for (const SearchSpace& space : {tiny(), *load_space("nasbench201")}) {
    const auto peak = compile_peak(space, memory_parts(space, options));
    ASSERT_TRUE(peak) << peak.error().message;
    ASSERT_TRUE(peak->exact());
    double least = 1e300;
    std::size_t networks = 0, wrong = 0;
    space.enumerate([&](const Genotype& g) {
      const double truth = bytes_of(space, g, options);
      least = std::min(least, truth);
      wrong += (*peak)(g) != truth;
      // A quarter of the largest space: lowering is all the time it takes.
      return ++networks < 20000;
    });
    EXPECT_EQ(wrong, 0u) << space.name();
    const auto lowest = lowest_peak(space, *peak);
    ASSERT_TRUE(lowest) << lowest.error().message;
    EXPECT_LE((*peak)(*lowest), least);
    EXPECT_EQ(bytes_of(space, *lowest, options), (*peak)(*lowest));
  }
}
INSTANTIATE_TEST_SUITE_P(Presets, OfPreset, testing::Values("plain", "in-place", "overlap", "tinyengine"),
                         [](const auto& preset) {
                           std::string name = preset.param;
                           std::erase(name, '-');
                           return name;
                         });

// Where no one can look at all networks: no sampled one is below, and the one that is named has it.
class OfSpace : public testing::TestWithParam<std::string> {};

TEST_P(OfSpace, NoSampledNetworkNeedsLessThanTheLeast) {
  const SearchSpace space = *load_space(GetParam());
  const MemoryOptions options = *memory_preset("in-place");
  const auto before = std::chrono::steady_clock::now();
  const auto peak = compile_peak(space, memory_parts(space, options));
  ASSERT_TRUE(peak) << peak.error().message;
  const auto lowest = lowest_peak(space, *peak);
  ASSERT_TRUE(lowest) << lowest.error().message;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  if (peak->exact()) {
    EXPECT_EQ(bytes_of(space, *lowest, options), (*peak)(*lowest));
  }
  // Exact in the spaces that peak memory limits are asked of.
  for (const char* known : {"ofa", "mcunet", "tiny", "cifar", "proxyless", "nasbench", "fbnet", "attentive"})
    if (GetParam().starts_with(known)) {
      EXPECT_TRUE(peak->exact());
    }
  for (std::uint64_t i = 0; i < 400; ++i) {
    Rng rng(3, "sampled peaks", i);
    const Genotype g = i % 2 == 0 ? space.sample(rng) : space.mutate(*lowest, rng, 0.2);
    const double truth = bytes_of(space, g, options);
    EXPECT_GE(truth, (*peak)(*lowest));
    EXPECT_LE((*peak)(g), truth);
    if (peak->exact()) {
      EXPECT_EQ((*peak)(g), truth);
    }
  }
  std::printf("%s: at least %.0f bytes, %zu tables, %.2f s\n", GetParam().c_str(), (*peak)(*lowest),
              peak->terms().size(), took.count());
}
INSTANTIATE_TEST_SUITE_P(Builtin, OfSpace, testing::ValuesIn(every_space()), [](const auto& preset) {
  std::string name = preset.param;
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

const std::vector<Metric> kMetrics{{"error", "%"}, {"ram", "B"}, {"macs", ""}};

Judge judge_with(std::vector<Constraint> constraints) {
  return *Judge::make({{{"error"}}, std::move(constraints)}, kMetrics);
}

// A small space whose networks can all be looked at.
struct Small {
  SearchSpace space = [] {
    SpaceOverrides change;
    change.resolutions = {24};
    return *load_space("tiny", change);
  }();
  MemoryOptions options = *memory_preset("in-place");
  Peak ram = *compile_peak(space, memory_parts(space, options));
  Additive macs = [this] {
    const std::vector<std::string> names{"macs"};
    const Costs costs = [this](const Genotype& g, std::span<double> out) {
      out[0] = static_cast<double>(nas::macs(space.lower(g)).count());
    };
    return *compile_additive(space, costs, names)[0];
  }();
  std::vector<KnownPeak> peaks{{"ram", ram}};
  std::vector<KnownCost> known{{"macs", macs}};
  double least_ram = ram(*lowest_peak(space, ram));
};

TEST(PeakLimits, AnImpossibleOneEndsWithTheTightestReachable) {
  const Small s;
  const double asked = s.least_ram - 100;
  const auto result = check_feasible(s.space, judge_with({{"ram", {}, asked}}), s.known, s.peaks);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::infeasible);
  EXPECT_EQ(result.error().message, "ram: the tightest reachable is " + std::to_string(int(s.least_ram)) +
                                        "; the limit asks " + std::to_string(int(asked)) +
                                        "; violated by 100");
  EXPECT_TRUE(check_feasible(s.space, judge_with({{"ram", {}, s.least_ram}}), s.known, s.peaks));
  // Nothing needs so much either.
  EXPECT_EQ(check_feasible(s.space, judge_with({{"ram", 1e9, {}}}), s.known, s.peaks).error().kind,
            ErrorKind::infeasible);
}

TEST(PeakLimits, TogetherWithASumTheyAreDecidedAsByLookingAtEveryNetwork) {
  const Small s;
  const double limit = s.least_ram;
  double most_macs = 0;
  for (const Genotype& g : test::all_of(s.space))
    if (bytes_of(s.space, g, s.options) <= limit) most_macs = std::max(most_macs, s.macs(g));
  ASSERT_LT(most_macs, range(s.space, s.macs)->max);
  const auto ask = [&](double macs) {
    return check_feasible(s.space, judge_with({{"ram", {}, limit}, {"macs", macs, {}}}), s.known, s.peaks);
  };
  const auto met = ask(most_macs);
  ASSERT_TRUE(met) << met.error().message;
  EXPECT_TRUE(met->screen->passes(met->screen->tightest()));
  EXPECT_FALSE(met->screen->passes(s.space.largest()));
  const auto missed = ask(most_macs + 1);
  ASSERT_FALSE(missed);
  EXPECT_THAT(missed.error().message, testing::HasSubstr("macs: the tightest reachable with ram <= "));
  EXPECT_THAT(missed.error().message, testing::HasSubstr("violated by 1"));
}

TEST(PeakLimits, WhatIsOnlyABoundSaysSo) {
  const Small s;
  PeakOptions options;
  options.max_table = 3;  // most blocks depend on more
  const Peak bound = *compile_peak(s.space, memory_parts(s.space, s.options), options);
  ASSERT_FALSE(bound.exact());
  const double least = bound(*lowest_peak(s.space, bound));
  EXPECT_GT(least, 0);
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(1, "bound", i);
    const Genotype g = s.space.sample(rng);
    EXPECT_LE(bound(g), s.ram(g));
  }
  const std::vector<KnownPeak> peaks{{"ram", bound}};
  const auto result = check_feasible(s.space, judge_with({{"ram", {}, least - 1}}), {}, peaks);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::HasSubstr("the tightest reachable (bound) is "));
}

TEST(PeakLimits, ExactKeepsThemAndTheGapIsToTheBestThatDoes) {
  const Small s;
  const Additive error = [&] {
    std::vector<Term> terms;
    for (std::uint32_t gene = 0; gene < s.space.genes().size(); ++gene) {
      Rng rng(1, "error", gene);
      Term term{{gene}, {}};
      for (std::size_t c = 0; c < s.space.genes()[gene].choices.size(); ++c)
        term.table.push_back(-static_cast<double>(c) * rng.uniform(0.5, 1.5));
      terms.push_back(std::move(term));
    }
    return *Additive::make(s.space, 50, std::move(terms));
  }();
  const double limit = s.least_ram + 500;
  double best = 1e300, best_of_all = 1e300;
  for (const Genotype& g : test::all_of(s.space)) {
    best_of_all = std::min(best_of_all, error(g));
    if (bytes_of(s.space, g, s.options) <= limit) best = std::min(best, error(g));
  }
  ASSERT_GT(best, best_of_all);
  const Judge judge = judge_with({{"ram", {}, limit}});
  const std::vector<KnownCost> known{{"error", error}};
  const auto feasible = *check_feasible(s.space, judge, known, s.peaks);
  StrategyConfig config;
  config.name = "exact";
  const Models models{judge, known, s.peaks};
  auto strategy = make_strategy(config, make_setting(s.space, judge, 1, feasible.screen), &models);
  ASSERT_TRUE(strategy) << strategy.error().message;
  Evaluator evaluator{kMetrics, ThreadSafety::concurrent, nullptr};
  evaluator.score = [&](std::span<const Genotype> batch, double, Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      scores.row(i)[0] = error(batch[i]);
      scores.row(i)[1] = bytes_of(s.space, batch[i], s.options);
      scores.row(i)[2] = s.macs(batch[i]);
    }
  };
  const auto run = run_search(s.space, judge, evaluator, *strategy, test::evaluations(100));
  ASSERT_TRUE(run && run->history.best());
  EXPECT_NEAR(run->history.values(*run->history.best())[0], best, 1e-9);
  const auto certificate = *certify(s.space, run->history, known, {}, s.peaks);
  ASSERT_TRUE(certificate);
  EXPECT_NEAR(certificate->optimum, best, 1e-9);
  EXPECT_EQ(certificate->gap(), 0);
}

}  // namespace
}  // namespace nas::search
