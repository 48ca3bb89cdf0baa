#include "search/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "search/gradient_search.h"
#include "search/reinforce.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

const std::vector<Metric> kMetrics{{"error", "%"}, {"latency_ms", "ms"}};

TEST(Baseline, IsTheDecayedMeanOfTheRewardsBefore) {
  Baseline baseline(0.9);
  EXPECT_FALSE(baseline.known());
  const double rewards[] = {1, 2, 3, -4};
  const double expected[] = {1, 1.1, 1.29, 0.761};
  for (int i = 0; i < 4; ++i) {
    baseline.update(rewards[i]);
    EXPECT_NEAR(baseline.value(), expected[i], 1e-12);
  }
}

// Probabilities of all networks sum to one, samples occur as often as their probability says, and the
// derivative of log p agrees with finite differences.
template <class P>
void expect_sound(P policy, const SearchSpace& space) {
  for (std::size_t i = 0; i < policy.parameters().size(); ++i)
    policy.parameters()[i] += 0.7 * std::sin(static_cast<double>(i));
  std::vector<double> ignored(policy.parameters().size());
  const auto all = test::all_of(space);
  double sum = 0;
  for (const Genotype& g : all) sum += std::exp(policy.log_probability(g, 0, 0, ignored));
  EXPECT_NEAR(sum, 1, 1e-9);
  const Genotype target = all[all.size() / 2];
  const double p = std::exp(policy.log_probability(target, 0, 0, ignored));
  int hits = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng(1, "draws", static_cast<std::uint64_t>(i));
    hits += policy.sample(rng) == target;
  }
  EXPECT_NEAR(hits, kDraws * p, 5 * std::sqrt(kDraws * p) + 1);
  std::vector<double> gradient(policy.parameters().size(), 0.0);
  policy.log_probability(target, 1.0, 0, gradient);
  for (std::size_t i = 0; i < gradient.size(); i += 1 + gradient.size() / 200) {
    const double before = policy.parameters()[i];
    policy.parameters()[i] = before + 1e-5;
    const double up = policy.log_probability(target, 0, 0, ignored);
    policy.parameters()[i] = before - 1e-5;
    const double down = policy.log_probability(target, 0, 0, ignored);
    policy.parameters()[i] = before;
    EXPECT_NEAR((up - down) / 2e-5, gradient[i], 1e-6);
  }
}

TEST(FactorisedPolicy, IsADistributionWithItsTrueGradient) {
  const SearchSpace space = test::block_space(1, 2, 2, 2);
  expect_sound(FactorisedPolicy(GeneForest(space)), space);
}

TEST(LstmPolicy, IsADistributionWithItsTrueGradient) {
  const SearchSpace space = test::block_space(1, 2, 2, 2);
  expect_sound(LstmPolicy(GeneForest(space), 6, 3), space);
}

TEST(FactorisedPolicy, EntropyBonusPullsTowardsUniform) {
  const SearchSpace space = test::block_space(1, 1, 2, 2);
  FactorisedPolicy policy{GeneForest(space)};
  policy.parameters()[0] = 2;
  std::vector<double> gradient(policy.parameters().size(), 0.0);
  policy.log_probability(Genotype(space.genes().size()), 0, 1.0, gradient);
  EXPECT_LT(gradient[0], 0);
  EXPECT_GT(gradient[1], 0);
  EXPECT_NEAR(gradient[2], 0, 1e-12);
}

double best_after(Strategy strategy, const SearchSpace& space, const Judge& judge, const Additive& error,
                  const Additive& latency, std::size_t budget) {
  const auto run =
      run_search(space, judge, test::additive_evaluator({"error", "latency_ms"}, {error, latency}), strategy,
                 test::evaluations(budget));
  EXPECT_TRUE(run);
  return run->history.values(*run->history.best())[0];
}

TEST(Reinforce, LearnsTheOptimumOfASmallSpaceUnderALimit) {
  const SearchSpace space = test::block_space(2, 2, 3, 3);
  const Additive error = test::block_cost(space, 21, -1), latency = test::block_cost(space, 22, 1);
  const auto judge = *Judge::make({{{"error"}}, {{"latency_ms", {}, 20.0}}}, kMetrics);
  double optimum = 1e300, worst = -1e300;
  for (const Genotype& g : test::all_of(space))
    if (latency(g) <= 20) optimum = std::min(optimum, error(g)), worst = std::max(worst, error(g));
  for (const std::size_t hidden : {0, 16}) {
    int close = 0;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      ReinforceOptions options;
      options.hidden = hidden;
      options.rate = hidden > 0 ? 0.02 : 0.1;
      const double best =
          best_after(Strategy("reinforce", Reinforce(make_setting(space, judge, seed), options)), space,
                     judge, error, latency, 1500);
      // The recurrent controller has far more to learn from the same 1500 rewards.
      close += best - optimum <= (hidden > 0 ? 0.12 : 0.03) * (worst - optimum);
    }
    EXPECT_GE(close, 3) << hidden;
  }
}

TEST(ExpectedCost, EqualsTheWeightedSumOverAllNetworks) {
  const SearchSpace space = test::block_space(1, 2, 2, 2);
  const GeneForest forest(space);
  const Additive cost = test::block_cost(space, 1, 1);
  std::vector<double> logits(forest.offset(forest.size())), p(logits.size()), gradient(logits.size());
  FactorisedPolicy policy(forest);
  for (std::size_t i = 0; i < logits.size(); ++i)
    policy.parameters()[i] = logits[i] = std::cos(3.0 * static_cast<double>(i));
  for (std::size_t g = 0; g < forest.size(); ++g)
    softmax(std::span(logits).subspan(forest.offset(g), forest.choices(g)),
            std::span(p).subspan(forest.offset(g), forest.choices(g)));
  double sum = 0;
  for (const Genotype& g : test::all_of(space))
    sum += std::exp(policy.log_probability(g, 0, 0, gradient)) * cost(g);
  EXPECT_NEAR(expected(space, cost)(p, gradient), sum, 1e-9);
}

TEST(GradientSearch, RelaxedLossHasItsTrueGradientInBothForms) {
  const SearchSpace space = test::block_space(1, 2, 3, 2);
  const auto judge = *Judge::make({{{"error"}}, {}}, {kMetrics[0]});
  for (const CostForm form : {CostForm::add, CostForm::mul}) {
    const GradientSearch search(make_setting(space, judge, 1),
                                {expected(space, test::block_cost(space, 1, 0.3)),
                                 expected(space, test::block_cost(space, 2, 1)), form, 0.6, 20.0},
                                {});
    const GeneForest forest(space);
    const std::size_t n = forest.offset(forest.size());
    std::vector<double> logits(n), gumbel(n), gradient(n), ignored(n);
    Rng rng(2, "point");
    for (std::size_t i = 0; i < n; ++i) logits[i] = rng.normal(), gumbel[i] = rng.normal();
    search.relaxed_loss(logits, gumbel, 0.8, gradient);
    for (std::size_t i = 0; i < n; ++i) {
      auto up = logits, down = logits;
      up[i] += 1e-5, down[i] -= 1e-5;
      const double difference =
          search.relaxed_loss(up, gumbel, 0.8, ignored) - search.relaxed_loss(down, gumbel, 0.8, ignored);
      EXPECT_NEAR(difference / 2e-5, gradient[i], 1e-6);
    }
  }
}

TEST(GradientSearch, FindsTheOptimumOfASeparableLoss) {
  const SearchSpace space = test::block_space(2, 2, 3, 3);
  const Additive error = test::block_cost(space, 21, -1), latency = test::block_cost(space, 22, 1);
  const auto judge = *Judge::make({{{"error"}}, {}}, kMetrics);
  const double optimum = range(space, error)->min;
  int hits = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Strategy strategy("gradient",
                      GradientSearch(make_setting(space, judge, seed), {expected(space, error)}, {}));
    hits += best_after(std::move(strategy), space, judge, error, latency, 300) <= optimum + 1e-9;
  }
  EXPECT_GE(hits, 9);
}

}  // namespace
}  // namespace nas::search
