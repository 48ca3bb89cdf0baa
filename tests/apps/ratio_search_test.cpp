#include "apps/compress/ratio_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "space/base/rng.h"

// The search for pruning ratios against every solution there is, on made-up losses and costs.
namespace nas::apps {
namespace {

// Groups in a chain: cost a product of neighbours' widths as of dense layers, loss falling with width and
// with a part that no single group shows.
struct Chain {
  std::vector<double> weight, cost_weight, ratio;
  double tie = 0;
  RatioProblem problem;
  std::vector<ChannelCounts> measured;

  Chain(std::uint64_t seed, std::size_t groups, std::int32_t widths) {
    Rng rng(seed, "chain");
    for (std::size_t g = 0; g < groups; ++g) {
      weight.push_back(rng.uniform(0.2, 3));
      cost_weight.push_back(rng.uniform(0.5, 2));
      ratio.push_back(rng.uniform(0.4, 2.5));
      problem.choices.emplace_back();
      for (std::int32_t n = 1; n <= widths; ++n) problem.choices.back().push_back(4 * n);
    }
    tie = rng.uniform(0.02, 0.1);
    problem.limit = 0.55 * cost(ChannelCounts(groups, 4 * widths));
    problem.cost = [this](const ChannelCounts& kept) -> Result<double> { return cost(kept); };
    problem.loss = [this](const ChannelCounts& kept) -> Result<double> {
      measured.push_back(kept);
      return loss(kept);
    };
    problem.guess = [this](const ChannelCounts& kept) {
      double sum = 0;  // every group by itself: as sensitivity sees it
      for (std::size_t g = 0; g < kept.size(); ++g) sum += weight[g] / kept[g];
      return sum;
    };
    problem.starts = {even(), by_guess()};
  }

  double cost(const ChannelCounts& kept) const {
    double sum = 0;
    for (std::size_t g = 0; g < kept.size(); ++g)
      sum += cost_weight[g] * kept[g] * (g + 1 < kept.size() ? kept[g + 1] + 8 : 8);
    return sum;
  }
  double loss(const ChannelCounts& kept) const {
    double sum = 0;
    for (std::size_t g = 0; g < kept.size(); ++g) {
      sum += weight[g] / kept[g];
      if (g > 0) sum += tie * std::abs(std::log(ratio[g] * kept[g] / kept[g - 1]));
    }
    return sum;
  }
  template <class Visit>
  void every(const Visit& visit, ChannelCounts kept = {}) const {
    if (kept.size() == problem.choices.size()) return visit(kept);
    for (const std::int32_t n : problem.choices[kept.size()]) {
      kept.push_back(n);
      every(visit, kept);
      kept.pop_back();
    }
  }
  ChannelCounts even() const {
    ChannelCounts widest;
    for (const std::int32_t n : problem.choices.front())
      if (cost(ChannelCounts(problem.choices.size(), n)) <= problem.limit)
        widest = ChannelCounts(problem.choices.size(), n);
    return widest;
  }
  ChannelCounts by_guess() const {
    return least([&](const ChannelCounts& kept) { return problem.guess(kept); });
  }
  template <class Of>
  ChannelCounts least(const Of& of) const {
    ChannelCounts best;
    double lowest = std::numeric_limits<double>::infinity();
    every([&](const ChannelCounts& kept) {
      if (cost(kept) > problem.limit || of(kept) >= lowest) return;
      lowest = of(kept);
      best = kept;
    });
    return best;
  }
};

TEST(RatioSearch, ComesWithinATenthOfTheWayFromItsBestStartToTheOptimum) {
  int better = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Chain chain(seed, 5, 10);
    const auto found = search_ratios(chain.problem, 150, seed);
    ASSERT_TRUE(found);
    const double start = std::min(found->start_loss[0], found->start_loss[1]);
    const double optimum = chain.loss(chain.least([&](const ChannelCounts& k) { return chain.loss(k); }));
    better += optimum < start ? 1 : 0;
    EXPECT_LE(found->loss - optimum, 0.1 * (start - optimum)) << "seed " << seed;
    EXPECT_EQ(found->loss, chain.loss(found->kept));
    EXPECT_EQ(found->evaluations, 150U);
    EXPECT_EQ(chain.measured.size(), 150U);
  }
  EXPECT_GE(better, 9) << "there is something to find";
}

TEST(RatioSearch, MeasuresOnlyNewNetworksThatHoldTheLimitAndCouldNotBeWider) {
  Chain chain(5, 5, 12);
  ASSERT_TRUE(search_ratios(chain.problem, 200, 3));
  ASSERT_EQ(chain.measured.size(), 200U);
  for (std::size_t i = 0; i < chain.measured.size(); ++i) {
    const ChannelCounts& kept = chain.measured[i];
    EXPECT_LE(chain.cost(kept), chain.problem.limit);
    EXPECT_EQ(std::ranges::count(chain.measured, kept), 1);
    for (std::size_t g = 0; i >= chain.problem.starts.size() && g < kept.size(); ++g) {
      ChannelCounts wider = kept;
      if ((wider[g] += 4) > chain.problem.choices[g].back()) continue;
      EXPECT_GT(chain.cost(wider), chain.problem.limit) << "group " << g << " of network " << i;
    }
  }
}

TEST(RatioSearch, IsNeverWorseThanItsStartsAndTheSameEveryTime) {
  Chain chain(9, 5, 9);
  for (const std::size_t evaluations : {2U, 3U, 10U, 40U}) {
    const auto found = search_ratios(chain.problem, evaluations, 7),
               again = search_ratios(chain.problem, evaluations, 7);
    ASSERT_TRUE(found && again);
    EXPECT_LE(found->loss, std::min(found->start_loss[0], found->start_loss[1]));
    EXPECT_EQ(found->kept, again->kept);
    EXPECT_EQ(found->loss, again->loss);
  }
  const auto other = search_ratios(chain.problem, 10, 8);
  ASSERT_TRUE(other);
  const std::vector<ChannelCounts> last(chain.measured.end() - 10, chain.measured.end());
  const std::vector<ChannelCounts> before(chain.measured.end() - 60, chain.measured.end() - 50);
  EXPECT_NE(last, before) << "the seed matters";
}

TEST(RatioSearch, EndsWhereNothingNewIsLeftAndPassesErrorsOn) {
  Chain chain(2, 1, 12);  // one group: its widest choice is all there is
  const auto found = search_ratios(chain.problem, 50, 1);
  ASSERT_TRUE(found);
  EXPECT_LE(found->evaluations, 3U);
  chain.problem.loss = [](const ChannelCounts&) -> Result<double> { return usage_error("no images"); };
  EXPECT_EQ(search_ratios(chain.problem, 50, 1).error().message, "no images");
  chain.problem.loss = [](const ChannelCounts&) -> Result<double> { return 1.0; };
  chain.problem.cost = [](const ChannelCounts&) -> Result<double> { return usage_error("no table"); };
  EXPECT_EQ(search_ratios(chain.problem, 50, 1).error().message, "no table");
}

}  // namespace
}  // namespace nas::apps
