#include "search/strategy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "search/evolution.h"
#include "search/exact.h"
#include "search/genetic.h"
#include "search/hypervolume.h"
#include "search/local_search.h"
#include "search/plain_search.h"
#include "search/predictor_search.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

const std::vector<Metric> kMetrics{{"error", "%"}, {"latency_ms", "ms"}};

TEST(Exhaustive, VisitsEveryNetworkOnceAndKnowsHowMany) {
  const SearchSpace space = test::block_space(2, 2, 2, 3);
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  ExhaustiveSearch all(make_setting(space, judge, 1), 50);
  EXPECT_EQ(std::to_string(static_cast<long long>(all.count())), space.count());
  Strategy strategy("exhaustive", all);
  const auto run =
      run_search(space, judge,
                 test::additive_evaluator({"error", "latency_ms"},
                                          {test::block_cost(space, 1, -1), test::block_cost(space, 2, 1)}),
                 strategy, test::evaluations(100000));
  ASSERT_TRUE(run);
  EXPECT_EQ(run->ending, Ending::exhausted);
  const auto expected = test::all_of(space);
  ASSERT_EQ(run->history.size(), expected.size());
  for (Row row = 0; row < expected.size(); ++row) EXPECT_EQ(run->history.genotype(row), expected[row]);
}

TEST(Grid, TakesEvenlySpacedChoicesWithBothEnds) {
  std::vector<Gene> genes{{"a", "a", test::numbers(0, 7), -1, 0, 255},
                          {"b", "b", test::numbers(0, 2), -1, 0, 255}};
  const auto space = *SearchSpace::make("grid", "{}", genes, [](const Genotype&, Network&) {});
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  ExhaustiveSearch grid(make_setting(space, judge, 1), 100, 3);
  EXPECT_EQ(grid.count(), 6);
  History history(2, judge);
  Ask ask;
  grid.ask(history, ask);
  ASSERT_EQ(ask.count, 6u);
  std::vector<int> first;
  for (std::size_t i = 0; i < ask.count; i += 2) first.push_back(ask.proposals[i].genotype[0]);
  EXPECT_THAT(first, testing::ElementsAre(0, 3, 6));
}

// The optimum of one objective under a limit, by brute force, against a strategy with a tenth of the space.
struct OneObjective {
  SearchSpace space = test::block_space(2, 2, 3, 3);  // 24,300 networks
  Additive error = test::block_cost(space, 21, -1);
  Additive latency = test::block_cost(space, 22, 1);
  double limit = 20;
  Judge judge = *Judge::make({{{"error"}}, {{"latency_ms", {}, limit}}}, kMetrics);
  double optimum() const {
    double best = 1e300;
    for (const Genotype& g : test::all_of(space))
      if (latency(g) <= limit) best = std::min(best, error(g));
    return best;
  }
  template <class Make>
  int hits(const Make& make, std::size_t budget) const {
    const double target = optimum();
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Strategy strategy = make(make_setting(space, judge, seed));
      RunOptions options = test::evaluations(budget);
      options.track_hypervolume = false;
      const auto run =
          run_search(space, judge, test::additive_evaluator({"error", "latency_ms"}, {error, latency}),
                     strategy, options);
      EXPECT_TRUE(run);
      const auto best = run->history.best();
      found += best && run->history.values(*best)[0] <= target + 1e-12;
    }
    return found;
  }
};

TEST(OfaEvolution, FindsTheConstrainedOptimumInATenthOfTheSpace) {
  const OneObjective problem;
  EXPECT_GE(
      problem.hits([](Setting s) { return Strategy("ofa", OfaEvolution(std::move(s), OfaOptions{})); }, 2430),
      19);
}

TEST(AgeingEvolution, FindsTheConstrainedOptimumInATenthOfTheSpace) {
  const OneObjective problem;
  EXPECT_GE(
      problem.hits(
          [](Setting s) { return Strategy("ageing", AgeingEvolution(std::move(s), AgeingOptions{})); }, 2430),
      19);
}

TEST(Nsga2, FindsTheConstrainedOptimumInATenthOfTheSpace) {
  const OneObjective problem;
  EXPECT_GE(
      problem.hits([](Setting s) { return Strategy("nsga2", GeneticSearch(std::move(s), GeneticOptions{})); },
                   2430),
      19);
}

TEST(OfaEvolution, EndsUnderALimitNothingCanKeep) {
  // The released finder loops for ever here; without a screen ours evaluates and reports no feasible
  // candidate.
  OneObjective problem;
  problem.judge = *Judge::make({{{"error"}}, {{"latency_ms", {}, 1.0}}}, kMetrics);
  Strategy strategy("ofa", OfaEvolution(make_setting(problem.space, problem.judge, 1), OfaOptions{}));
  const auto run =
      run_search(problem.space, problem.judge,
                 test::additive_evaluator({"error", "latency_ms"}, {problem.error, problem.latency}),
                 strategy, test::evaluations(500));
  ASSERT_TRUE(run);
  EXPECT_EQ(run->history.size(), 500u);
  EXPECT_FALSE(run->history.best());
}

TEST(OfaEvolution, ProposalsKeepTheScreensLimits) {
  const OneObjective problem;
  std::vector<Screen::Limit> limits{{problem.latency, -1e300, 14.0}};
  auto screen = std::make_shared<const Screen>(limits, problem.space.smallest());
  ASSERT_TRUE(screen->passes(problem.space.smallest()));
  Strategy strategy("ofa", OfaEvolution(make_setting(problem.space, problem.judge, 1, screen), OfaOptions{}));
  const auto run =
      run_search(problem.space, problem.judge,
                 test::additive_evaluator({"error", "latency_ms"}, {problem.error, problem.latency}),
                 strategy, test::evaluations(500));
  ASSERT_TRUE(run);
  for (Row row = 0; row < run->history.size(); ++row) EXPECT_LE(run->history.values(row)[1], 14.0);
}

TEST(OfaEvolution, CountsTheLastGeneration) {
  const OneObjective problem;
  OfaOptions options;
  options.generations = 3;
  Strategy strategy("ofa", OfaEvolution(make_setting(problem.space, problem.judge, 5), options));
  const auto run =
      run_search(problem.space, problem.judge,
                 test::additive_evaluator({"error", "latency_ms"}, {problem.error, problem.latency}),
                 strategy, test::evaluations(100000));
  ASSERT_TRUE(run);
  EXPECT_EQ(run->progress.proposals, 400u);
  Row best = 0;
  for (Row row = 0; row < run->history.size(); ++row)
    if (run->history.better(row, best)) best = row;
  EXPECT_EQ(*run->history.best(), best);
  EXPECT_EQ(run->history.info(static_cast<Row>(run->history.size() - 1)).generation, 3u);
}

TEST(PredictorSearch, FindsTheConstrainedOptimumInAThirtiethOfTheSpace) {
  const OneObjective problem;
  PredictorOptions options;
  options.initial = 100;
  options.batch = 70;
  options.members = 2;
  EXPECT_GE(
      problem.hits([&](Setting s) { return Strategy("predictor", PredictorSearch(std::move(s), options)); },
                   800),
      19);
}

TEST(LocalSearch, EndsWhereNoNeighbourIsBetter) {
  const OneObjective problem;
  const Evaluator evaluator =
      test::additive_evaluator({"error", "latency_ms"}, {problem.error, problem.latency});
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Strategy strategy("local", LocalSearch(make_setting(problem.space, problem.judge, seed), 16));
    const auto run = run_search(problem.space, problem.judge, evaluator, strategy, test::evaluations(2430));
    const double best = run->history.values(*run->history.best())[0];
    for (const Genotype& g : problem.space.neighbours(run->history.genotype(*run->history.best()))) {
      EXPECT_TRUE(problem.latency(g) > problem.limit || problem.error(g) >= best);
    }
  }
}

TEST(LocalSearch, WithTwoObjectivesComesToTheTrueFront) {
  const SearchSpace space = test::block_space(1, 3, 3, 3);  // 3 * (9 + 81 + 729)
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  const std::vector<Additive> costs{test::block_cost(space, 1, -1), test::block_cost(space, 2, 1)};
  const auto truth = exact_front(space, costs);
  RunOptions options = test::evaluations(1000);
  options.reference = {10.1, 60};
  Strategy strategy("local", LocalSearch(make_setting(space, judge, 1), 8));
  const auto run =
      run_search(space, judge, test::additive_evaluator({"error", "latency_ms"}, costs), strategy, options);
  ASSERT_TRUE(run);
  EXPECT_GE(run->progress.hypervolume, 0.995 * hypervolume(truth->points(), options.reference));
}

TEST(SuccessiveHalving, PromotesTheBestAndCrownsOnlyFullFidelity) {
  const SearchSpace space = test::block_space(2, 3, 3, 3);
  const auto judge = *Judge::make({{{"error"}}, {}}, {kMetrics[0]});
  const Additive error = test::block_cost(space, 1, -1);
  std::vector<double> effort;
  Evaluator evaluator{{kMetrics[0]}, ThreadSafety::one_at_a_time, nullptr};
  evaluator.score = [&](std::span<const Genotype> batch, double fidelity, Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      effort.push_back(fidelity);
      scores.row(i)[0] = error(batch[i]);
    }
  };
  Strategy strategy("halving", SuccessiveHalving(make_setting(space, judge, 1), {27, 3, 3}));
  const auto run = run_search(space, judge, evaluator, strategy, test::evaluations(39));
  ASSERT_TRUE(run);
  EXPECT_EQ(std::ranges::count_if(effort, [](double f) { return std::abs(f - 1.0 / 9) < 1e-12; }), 27);
  EXPECT_EQ(std::ranges::count_if(effort, [](double f) { return std::abs(f - 1.0 / 3) < 1e-12; }), 9);
  EXPECT_EQ(std::ranges::count(effort, 1.0), 3);
  double best = 1e300;
  for (Row row = 0; row < 27; ++row) best = std::min(best, run->history.values(row)[0]);
  EXPECT_EQ(run->history.values(*run->history.best())[0], best);
  EXPECT_EQ(run->history.info(*run->history.best()).fidelity, 1);
}

TEST(SmsEmoa, CoversAtLeastTheVolumeOfRandomSearch) {
  const SearchSpace space = test::block_space(2, 3, 3, 3);
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  const std::vector<Additive> costs{test::block_cost(space, 1, -1), test::block_cost(space, 2, 1)};
  const Evaluator evaluator = test::additive_evaluator({"error", "latency_ms"}, costs);
  const auto truth = exact_front(space, costs);
  ASSERT_TRUE(truth);
  const auto cheapest = truth->values(0), best_error = truth->values(truth->size() - 1);
  int better = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    RunOptions options = test::evaluations(600);
    options.reference = {std::max(cheapest[0], best_error[0]), std::max(cheapest[1], best_error[1])};
    const Setting setting = make_setting(space, judge, seed);
    Strategy random("random", RandomSearch(setting, 40));
    Strategy sms("sms-emoa", GeneticSearch(setting, {40, 0.9, 0, Survival::hypervolume}));
    const auto a = run_search(space, judge, evaluator, random, options);
    const auto b = run_search(space, judge, evaluator, sms, options);
    better += b->progress.hypervolume > a->progress.hypervolume;
  }
  EXPECT_GE(better, 9);
}

}  // namespace
}  // namespace nas::search
