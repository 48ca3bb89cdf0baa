#include "search/exact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

#include "search/feasibility.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

using test::block_cost;
using test::block_space;

std::vector<double> brute_force(const SearchSpace& space, const std::vector<Additive>& costs) {
  std::vector<double> flat;
  for (const Genotype& g : test::all_of(space))
    for (const Additive& cost : costs) flat.push_back(cost(g));
  const Points points{flat, costs.size()};
  std::vector<std::vector<double>> front;
  for (const std::size_t i : non_dominated(points)) front.emplace_back(points[i].begin(), points[i].end());
  std::ranges::sort(front);
  std::vector<double> out;
  for (const auto& p : front) out.insert(out.end(), p.begin(), p.end());
  return out;
}

void expect_same_front(const SearchSpace& space, const std::vector<Additive>& costs) {
  const auto expected = brute_force(space, costs);
  const auto front = exact_front(space, costs);
  ASSERT_TRUE(front) << front.error().message;
  ASSERT_EQ(front->size() * costs.size(), expected.size());
  for (std::size_t i = 0; i < front->size(); ++i) {
    const Genotype g = front->genotype(i);
    ASSERT_TRUE(space.check(g)) << space.check(g).error().message;
    for (std::size_t c = 0; c < costs.size(); ++c) {
      EXPECT_NEAR(front->values(i)[c], expected[i * costs.size() + c], 1e-9);
      EXPECT_NEAR(costs[c](g), front->values(i)[c], 1e-9);
    }
  }
}

TEST(ExactFront, EqualsBruteForceInTwoDimensions) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const SearchSpace space = block_space(2, 2, 3, 3);  // 3 * (9 + 81)^2 = 24,300
    expect_same_front(space, {block_cost(space, seed, 1), block_cost(space, seed + 100, -1)});
  }
}

TEST(ExactFront, EqualsBruteForceInOneThreeAndFourDimensions) {
  const SearchSpace space = block_space(2, 2, 2, 2);  // 2 * (4 + 16)^2 = 800
  std::vector<Additive> costs{block_cost(space, 1, 1)};
  expect_same_front(space, costs);
  costs.push_back(block_cost(space, 2, -1));
  costs.push_back(block_cost(space, 3, 0.5));
  expect_same_front(space, costs);
  costs.push_back(block_cost(space, 4, -0.5));
  expect_same_front(space, costs);
}

TEST(ExactFront, RespectsActivityThroughTwoLevels) {
  std::vector<Gene> genes{{"a", "a", test::numbers(0, 3), -1, 0, 255},
                          {"b", "b", test::numbers(0, 3), 0, 1, 2},
                          {"c", "c", test::numbers(0, 3), 1, 0, 1}};
  const auto space = *SearchSpace::make("deep", "{}", genes, [](const Genotype&, Network&) {});
  Rng rng(3, "deep");
  std::vector<Additive> costs;
  for (int i = 0; i < 2; ++i) {
    std::vector<Term> terms;
    for (std::uint32_t gene = 0; gene < 3; ++gene) {
      Term term{{gene}, {}};
      for (int k = 0; k < 3; ++k) term.table.push_back(rng.uniform(-1, 1));
      terms.push_back(term);
    }
    costs.push_back(*Additive::make(space, 0, terms));
  }
  expect_same_front(space, costs);
}

TEST(ExactFront, WithinLimitsIsTheFrontCutByThem) {
  const SearchSpace space = block_space(2, 2, 3, 3);
  const std::vector<Additive> costs{block_cost(space, 5, 1), block_cost(space, 6, -1)};
  const auto all = exact_front(space, costs);
  ASSERT_TRUE(all);
  const double limit = all->values(all->size() / 2)[0];
  ExactOptions options;
  options.limits = {limit, 1e300};
  const auto cut = exact_front(space, costs, options);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->size(), all->size() / 2 + 1);
  options.limits = {all->values(0)[0] * 0.99, 1e300};
  EXPECT_EQ(exact_front(space, costs, options).error().kind, ErrorKind::infeasible);
}

TEST(Range, IsReachedAtItsEnds) {
  const SearchSpace space = block_space(2, 2, 3, 3);
  const Additive cost = block_cost(space, 7, 1);
  const auto reach = range(space, cost);
  ASSERT_TRUE(reach);
  double low = 1e300, high = -1e300;
  for (const Genotype& g : test::all_of(space)) low = std::min(low, cost(g)), high = std::max(high, cost(g));
  EXPECT_DOUBLE_EQ(reach->min, low);
  EXPECT_DOUBLE_EQ(reach->max, high);
  EXPECT_DOUBLE_EQ(cost(reach->at_min), low);
}

TEST(CompileAdditive, RecoversASumOfTermsExactly) {
  const SearchSpace space = block_space(3, 3, 3, 4);
  const std::vector<Additive> truth{block_cost(space, 8, 1), block_cost(space, 9, -1)};
  const std::vector<std::string> names{"a", "b"};
  const auto found = compile_additive(
      space, [&](const Genotype& g, std::span<double> out) { out[0] = truth[0](g), out[1] = truth[1](g); },
      names);
  ASSERT_TRUE(found[0]) << found[0].error().message;
  ASSERT_TRUE(found[1]) << found[1].error().message;
  for (std::uint64_t i = 0; i < 500; ++i) {
    Rng rng(10, "fresh", i);
    const Genotype g = space.sample(rng);
    EXPECT_NEAR((*found[0])(g), truth[0](g), 1e-9);
    EXPECT_NEAR((*found[1])(g), truth[1](g), 1e-9);
  }
}

TEST(CompileAdditive, SaysSoWhenACostIsNoSum) {
  const SearchSpace space = block_space(3, 3, 3, 4);
  const Additive sum = block_cost(space, 8, 1);
  const std::vector<std::string> names{"square"};
  CompileOptions options;
  options.max_table = 10000;
  const auto found = compile_additive(
      space, [&](const Genotype& g, std::span<double> out) { out[0] = sum(g) * sum(g); }, names, options);
  ASSERT_FALSE(found[0]);
  EXPECT_THAT(found[0].error().message, testing::HasSubstr("square is no sum"));
}

TEST(CompileAdditive, CompilesTheWorkOfARealSpace) {
  const SearchSpace space = *load_space("ofa-mbv3-w1.0");
  std::atomic<int> lowered = 0;
  const auto work = [&](const Genotype& g, std::span<double> out) {
    ++lowered;
    out[0] = 0;
    for (const Layer& layer : space.lower(g).layers)
      out[0] += static_cast<double>(layer.out.elements()) * layer.kernel * layer.kernel;
  };
  const std::vector<std::string> names{"work"};
  const auto found = compile_additive(space, work, names);
  ASSERT_TRUE(found[0]) << found[0].error().message;
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(11, "fresh", i);
    const Genotype g = space.sample(rng);
    double expected = 0;
    work(g, {&expected, 1});
    EXPECT_NEAR((*found[0])(g), expected, 1e-9 * expected);
  }
}

Judge judge_with(std::vector<Constraint> constraints) {
  Problem problem = test::two_objectives();
  problem.constraints = std::move(constraints);
  return *Judge::make(problem, {{"error", ""}, {"latency_ms", "ms"}, {"flash_kb", "KiB"}});
}

TEST(Feasibility, ImpossibleLimitEndsWithTheTightestReachableValue) {
  const SearchSpace space = *load_space("ofa-mbv3-w1.0");
  const std::vector<std::string> names{"latency_ms"};
  auto compiled = compile_additive(
      space,
      [&](const Genotype& g, std::span<double> out) {
        out[0] = 0;
        for (const Layer& layer : space.lower(g).layers)
          out[0] += 1e-6 * static_cast<double>(layer.out.elements());
      },
      names);
  ASSERT_TRUE(compiled[0]);
  const std::vector<KnownCost> known{{"latency_ms", *compiled[0]}};
  const auto before = std::chrono::steady_clock::now();
  const auto result = check_feasible(space, judge_with({{"latency_ms", {}, 1.0}}), known);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::infeasible);
  const double least = (*compiled[0])(space.smallest());
  char expected[200];
  std::snprintf(expected, sizeof expected,
                "latency_ms: the tightest reachable is %.6g; the limit asks 1; violated by %.6g", least,
                least - 1);
  EXPECT_EQ(result.error().message, expected);
  EXPECT_LT(took.count(), 1.0);
}

TEST(Feasibility, LimitsThatOnlyFailTogetherAreNamed) {
  const SearchSpace space = block_space(2, 2, 3, 3);
  const std::vector<KnownCost> known{{"latency_ms", block_cost(space, 1, 1)},
                                     {"flash_kb", block_cost(space, 2, -1)}};
  const auto latency = *range(space, known[0].cost), flash = *range(space, known[1].cost);
  const double low_latency = latency.min + 0.02 * (latency.max - latency.min);
  const double low_flash = flash.min + 0.02 * (flash.max - flash.min);
  EXPECT_TRUE(check_feasible(space, judge_with({{"latency_ms", {}, low_latency}}), known));
  EXPECT_TRUE(check_feasible(space, judge_with({{"flash_kb", {}, low_flash}}), known));
  const auto both = check_feasible(
      space, judge_with({{"latency_ms", {}, low_latency}, {"flash_kb", {}, low_flash}}), known);
  ASSERT_FALSE(both);
  double tightest = 1e300;
  for (const Genotype& g : test::all_of(space))
    if (known[0].cost(g) <= low_latency) tightest = std::min(tightest, known[1].cost(g));
  char expected[100];
  std::snprintf(expected, sizeof expected, "is %.6g; the limit asks %.6g", tightest, low_flash);
  EXPECT_THAT(both.error().message,
              testing::HasSubstr("flash_kb: the tightest reachable with latency_ms <="));
  EXPECT_THAT(both.error().message, testing::HasSubstr(expected));
}

TEST(Feasibility, TheScreensTightestNetworkKeepsAllLimits) {
  const SearchSpace space = block_space(2, 2, 3, 3);
  const std::vector<KnownCost> known{{"latency_ms", block_cost(space, 1, 1)},
                                     {"flash_kb", block_cost(space, 2, -1)}};
  const auto latency = *range(space, known[0].cost), flash = *range(space, known[1].cost);
  const auto middle = [](const Range& r) { return 0.5 * (r.min + r.max); };
  const auto result = check_feasible(
      space, judge_with({{"latency_ms", {}, middle(latency)}, {"flash_kb", flash.min, middle(flash)}}),
      known);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(result->screen->passes(result->screen->tightest()));
}

TEST(Feasibility, BoundsDecideWhereTheySuffice) {
  const SearchSpace space = block_space(1, 1, 2, 2);
  const std::vector<BoundedCost> bounds{{"flash_kb", 100, 300}};
  const auto impossible = check_feasible(space, judge_with({{"flash_kb", {}, 50}}), {}, {}, bounds);
  ASSERT_FALSE(impossible);
  EXPECT_EQ(impossible.error().message,
            "flash_kb: the tightest reachable (bound) is 100; the limit asks 50; violated by 50");
  EXPECT_TRUE(check_feasible(space, judge_with({{"flash_kb", {}, 150}}), {}, {}, bounds));
}

}  // namespace
}  // namespace nas::search
