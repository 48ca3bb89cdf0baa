#include "search/accuracy_surrogate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "space/cost.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

TEST(DesignedSample, CoversEveryChoiceOfTheRootsEqually) {
  const SearchSpace space = test::block_space(3, 3, 3, 4);
  const auto sample = designed_sample(space, 402, 1);
  ASSERT_EQ(sample.size(), 402u);
  EXPECT_EQ(sample[0], space.smallest());
  EXPECT_EQ(sample[1], space.largest());
  EXPECT_EQ(std::set<Genotype>(sample.begin(), sample.end()).size(), 402u);
  std::vector<int> seen(4);
  for (const Genotype& g : sample) ++seen[g[0]];
  for (const int n : seen) EXPECT_NEAR(n, 100, 8);
  for (const Genotype& g : sample) ASSERT_TRUE(space.check(g));
}

TEST(DesignedSample, OfASmallSpaceIsNoLargerThanTheSpace) {
  const SearchSpace space = test::block_space(1, 1, 2, 2);  // 8 networks
  const auto sample = designed_sample(space, 50, 1);
  EXPECT_LE(sample.size(), 8u);
  EXPECT_GE(sample.size(), 7u);
}

TEST(AccuracySurrogate, BeatsTheMacsBaselineInsideMacsBins) {
  const SearchSpace space = *load_space("tiny");
  std::vector<Genotype> networks = designed_sample(space, 400, 1);
  std::vector<double> accuracy, work;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    Rng noise(2, "noise", i);
    work.push_back(static_cast<double>(macs(space.lower(networks[i])).count()));
    double a = 0.5 + 0.04 * std::log(work.back()) + 0.002 * noise.normal();
    for (std::size_t g = 0; g < networks[i].size(); ++g)
      if (space.active(networks[i], g)) a += 0.01 * networks[i][g] * (g % 3 == 0 ? 1 : -0.4);
    accuracy.push_back(a);
  }
  SurrogateOptions options;
  options.epochs = 60;
  const auto surrogate = fit_accuracy(space, networks, accuracy, work, options);
  ASSERT_TRUE(surrogate) << surrogate.error().message;
  ASSERT_EQ(surrogate->scores().size(), 4u);
  const SurrogateScore& base = surrogate->scores()[0];
  EXPECT_EQ(base.model, "macs only");
  for (const SurrogateScore& score : surrogate->scores()) {
    if (score.model != surrogate->model()) continue;
    EXPECT_LT(score.rmse, 0.5 * base.rmse);
    EXPECT_GT(score.tau_bins, base.tau_bins + 0.2);
    EXPECT_GT(score.tau, 0.85);
  }
  const auto again = fit_accuracy(space, networks, accuracy, work, options);
  EXPECT_EQ(surrogate->predict(networks), again->predict(networks));
  // The rung that is asked for is kept; ridge is a sum of terms.
  options.model = "ridge";
  const auto ridge = fit_accuracy(space, networks, accuracy, work, options);
  ASSERT_TRUE(ridge);
  EXPECT_EQ(ridge->model(), "ridge");
  const std::vector<double> predicted = ridge->predict(networks);
  for (std::size_t i = 0; i < networks.size(); ++i)
    EXPECT_NEAR(ridge->separable()(networks[i]), predicted[i], 1e-9);
  options.model = "rigde";
  EXPECT_THAT(fit_accuracy(space, networks, accuracy, work, options).error().message,
              testing::HasSubstr("required best, ridge, mlp or trees"));
}

TEST(AccuracySurrogate, RefusesTooFewNetworks) {
  const SearchSpace space = *load_space("tiny");
  const std::vector<Genotype> networks = designed_sample(space, 10, 1);
  const std::vector<double> y(10, 1.0);
  EXPECT_THAT(fit_accuracy(space, networks, y, y).error().message, testing::HasSubstr("needs 30 networks"));
}

}  // namespace
}  // namespace nas::search
