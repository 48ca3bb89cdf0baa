#include "search/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "search/additive_fit.h"
#include "search/certificate.h"
#include "search/genetic.h"
#include "search/plain_search.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

using testing::HasSubstr;

const std::vector<Metric> kMetrics{{"error", "%"}, {"latency_ms", "ms"}};

struct TwoCosts {
  SearchSpace space = test::block_space(2, 2, 3, 3);  // 24,300 networks
  Additive error = test::block_cost(space, 1, -1);
  Additive latency = test::block_cost(space, 2, 1);
  Evaluator evaluator = test::additive_evaluator({"error", "latency_ms"}, {error, latency});
  // Worst and best of a cost by looking at every network.
  std::pair<double, double> ends(const Additive& cost) const {
    double low = 1e300, high = -1e300;
    for (const Genotype& g : test::all_of(space))
      low = std::min(low, cost(g)), high = std::max(high, cost(g));
    return {low, high};
  }
};

TEST(Reference, LiesATenthBeyondTheWorstReachable) {
  const TwoCosts two;
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  const std::vector<KnownCost> known{{"error", two.error}, {"latency_ms", two.latency}};
  const auto feasible = *check_feasible(two.space, judge, known);
  const auto reference = problem_reference(two.space, judge, feasible.reach, two.evaluator, nullptr);
  ASSERT_EQ(reference.losses.size(), 2u);
  const auto [low, high] = two.ends(two.latency);
  EXPECT_NEAR(reference.losses[1], high + 0.1 * (high - low), 1e-9);
  EXPECT_THAT(reference.why[1], HasSubstr("worst reachable"));
}

TEST(Reference, IsTheLimitWhereThatIsTighterAndTheDeclaredNumberWhereThereIsOne) {
  const TwoCosts two;
  Problem problem = test::two_objectives();
  problem.objectives[0].worst = 9.5;
  problem.constraints = {{"latency_ms", {}, 20}};
  const auto judge = *Judge::make(problem, kMetrics);
  const std::vector<KnownCost> known{{"error", two.error}, {"latency_ms", two.latency}};
  const auto feasible = *check_feasible(two.space, judge, known);
  const auto reference = problem_reference(two.space, judge, feasible.reach, two.evaluator, nullptr);
  const auto [low, high] = two.ends(two.latency);
  ASSERT_GT(high, 20);
  EXPECT_EQ(reference.losses[0], 9.5);
  EXPECT_NEAR(reference.losses[1], 20 + 0.1 * (20 - low), 1e-9);
}

TEST(Reference, OfUnknownMetricsComesFromNetworksThatEveryRunShares) {
  const TwoCosts two;
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  const auto sampled = problem_reference(two.space, judge, {}, two.evaluator, nullptr);
  EXPECT_THAT(sampled.why[0], HasSubstr("64 sampled"));
  EXPECT_EQ(problem_reference(two.space, judge, {}, two.evaluator, nullptr).losses, sampled.losses);
  const auto listing =
      std::make_shared<const Listing>(std::vector<Genotype>{two.space.smallest(), two.space.largest()});
  const auto listed = problem_reference(two.space, judge, {}, two.evaluator, listing);
  const double slow = two.latency(two.space.largest()), fast = two.latency(two.space.smallest());
  EXPECT_NEAR(listed.losses[1], slow + 0.1 * (slow - fast), 1e-9);
  // An evaluator that scores nothing leaves the choice to the run.
  Evaluator broken = two.evaluator;
  broken.score = [](std::span<const Genotype>, double, Scores&) { throw std::runtime_error("no"); };
  EXPECT_TRUE(problem_reference(two.space, judge, {}, broken, nullptr).losses.empty());
}

TEST(Listed, LimitsAreDecidedByLookingAtAllNetworks) {
  const TwoCosts two;
  const Listing listing(test::all_of(two.space));
  const auto with = [&](std::vector<Constraint> constraints) {
    Problem problem = test::two_objectives();
    problem.constraints = std::move(constraints);
    return check_listed(*Judge::make(problem, kMetrics), two.evaluator, listing);
  };
  const auto [low, high] = two.ends(two.latency);
  const auto [least, most] = two.ends(two.error);
  const auto free = with({});
  ASSERT_TRUE(free);
  EXPECT_EQ((*free)[1].min, low);
  EXPECT_EQ((*free)[1].max, high);
  EXPECT_TRUE(with({{"latency_ms", {}, low + 1}}));
  const auto alone = with({{"latency_ms", {}, low - 1}});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().kind, ErrorKind::infeasible);
  EXPECT_THAT(alone.error().message, HasSubstr("the tightest reachable is"));
  EXPECT_THAT(alone.error().message, HasSubstr("violated by 1"));
  // The fastest networks are not the most accurate ones: each limit can be met, both together cannot.
  const auto both = with({{"error", {}, least + 0.01}, {"latency_ms", {}, low + 0.01}});
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message, HasSubstr("with error within its limits"));
  EXPECT_TRUE(with({{"error", {}, most}, {"latency_ms", {}, high}}));
}

TEST(Certificate, IsTheDistanceToTheOptimumOfBruteForce) {
  const TwoCosts two;
  const auto judge = *Judge::make({{{"error"}}, {{"latency_ms", {}, 20}}}, kMetrics);
  Strategy random("random", RandomSearch(make_setting(two.space, judge, 1), 16));
  const auto run = run_search(two.space, judge, two.evaluator, random, test::evaluations(200));
  ASSERT_TRUE(run && run->history.best());
  double optimum = 1e300;
  for (const Genotype& g : test::all_of(two.space))
    if (two.latency(g) <= 20) optimum = std::min(optimum, two.error(g));
  const std::vector<KnownCost> known{{"error", two.error}, {"latency_ms", two.latency}};
  const auto found = *certify(two.space, run->history, known, {});
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->stand_in);
  EXPECT_NEAR(found->optimum, optimum, 1e-9);
  EXPECT_NEAR(found->gap(), run->history.values(*run->history.best())[0] - optimum, 1e-9);
  EXPECT_GT(found->gap(), 0);
  // A stand-in for the error: the gap is by the stand-in.
  const std::vector<KnownCost> latency{{"latency_ms", two.latency}};
  const std::vector<KnownCost> stand_in{{"error", two.error.scaled(0.5)}};
  const auto by_stand_in = *certify(two.space, run->history, latency, stand_in);
  ASSERT_TRUE(by_stand_in && by_stand_in->stand_in);
  EXPECT_NEAR(by_stand_in->gap(), 0.5 * found->gap(), 1e-9);
  // No model of the limited metric: nothing is certified.
  EXPECT_FALSE(*certify(two.space, run->history, {}, stand_in));
}

// Every network's encoded line against the sum of terms made of it.
TEST(AdditiveFeatures, TheSumOfTermsIsTheFittedLineOnEveryNetwork) {
  const SearchSpace space = test::block_space(2, 2, 3, 3);
  for (const auto kind : {AdditiveFeatures::Kind::genes, AdditiveFeatures::Kind::blocks_and_area}) {
    const AdditiveFeatures features(space, kind);
    Rng rng(1, "line");
    learn::Linear line{0.5, {}};
    for (std::size_t i = 0; i < features.columns(); ++i) line.coefficients.push_back(rng.uniform(-1, 1));
    const Additive sum = features.additive(line);
    std::vector<double> row(features.columns());
    for (const Genotype& g : test::all_of(space)) {
      features.encode(g, row);
      ASSERT_NEAR(sum(g), line.predict(row), 1e-9);
    }
  }
}

TEST(FitLatency, RecoversBlocksThatCostAStartAndAnArea) {
  const SearchSpace space = test::block_space(2, 3, 3, 4);
  const AdditiveFeatures features(space, AdditiveFeatures::Kind::blocks_and_area);
  Rng rng(2, "truth");
  learn::Linear truth{5, {}};
  for (std::size_t i = 0; i < features.columns(); ++i) truth.coefficients.push_back(rng.uniform(0.1, 1));
  std::vector<Genotype> networks;
  std::vector<double> latency, row(features.columns());
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Rng draw(3, "network", i);
    networks.push_back(space.sample(draw));
    features.encode(networks.back(), row);
    latency.push_back(truth.predict(row) * (1 + 0.01 * draw.normal()));
  }
  const auto fit = fit_latency(space, networks, latency);
  ASSERT_TRUE(fit) << fit.error().message;
  EXPECT_LT(fit->held_out.mape, 1.5);  // the noise alone is 0.8
  EXPECT_FALSE(fit_latency(space, std::span(networks).first(10), std::span(latency).first(10)));
}

}  // namespace
}  // namespace nas::search
