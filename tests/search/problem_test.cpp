#include "search/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "search/plain_search.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

using testing::HasSubstr;

const std::vector<Metric> kMetrics{{"error", "%"}, {"latency_ms", "ms"}};

TEST(Judge, RefusesAnUnknownObjectiveAndSuggestsTheNearest) {
  const auto judge = Judge::make({{{"latency_m", Goal::minimise}}, {}}, kMetrics);
  ASSERT_FALSE(judge);
  EXPECT_EQ(judge.error().kind, ErrorKind::usage);
  EXPECT_THAT(judge.error().message,
              HasSubstr("unknown objective \"latency_m\"; did you mean \"latency_ms\"?"));
}

TEST(Judge, RefusesNoObjectiveAndRepeatedObjectives) {
  EXPECT_THAT(Judge::make({{}, {}}, kMetrics).error().message, HasSubstr("no objective"));
  EXPECT_THAT(Judge::make({{{"error"}, {"error"}}, {}}, kMetrics).error().message, HasSubstr("named twice"));
}

TEST(Judge, ContradictoryLimitsAreInfeasible) {
  const auto judge = Judge::make({{{"error"}}, {{"latency_ms", 5.0, {}}, {"latency_ms", {}, 3.0}}}, kMetrics);
  ASSERT_FALSE(judge);
  EXPECT_EQ(judge.error().kind, ErrorKind::infeasible);
  EXPECT_THAT(judge.error().message, HasSubstr("latency_ms must be at least 5 and at most 3, violated by 2"));
}

TEST(Judge, MeasuresViolationRelativeToTheLimit) {
  const auto judge = *Judge::make({{{"error"}}, {{"latency_ms", {}, 4.0}}}, kMetrics);
  EXPECT_DOUBLE_EQ(judge.violation(std::vector<double>{1, 5}), 0.25);
  EXPECT_EQ(judge.violation(std::vector<double>{1, 4}), 0);
  EXPECT_THAT(judge.explain(std::vector<double>{1, 5}),
              HasSubstr("latency_ms is 5, the limit asks at most 4: violated by 1"));
}

struct Tiny {
  SearchSpace space = test::block_space(1, 2, 2, 2);
  Judge judge = *Judge::make(test::two_objectives(), kMetrics);
  Strategy random{"random", RandomSearch(make_setting(space, judge, 1), 8)};
};

Evaluator from(std::function<void(const Genotype&, std::span<double>)> one) {
  Evaluator evaluator{kMetrics, ThreadSafety::concurrent, nullptr};
  evaluator.score = [one = std::move(one)](std::span<const Genotype> batch, double, Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) one(batch[i], scores.row(i));
  };
  return evaluator;
}

TEST(Run, CandidateWithNanFailsWithItsReasonAndOthersLive) {
  Tiny t;
  const auto run = run_search(t.space, t.judge, from([](const Genotype& g, std::span<double> out) {
                                out[0] = g[0] == 0 ? std::nan("") : 1.0;
                                out[1] = 2;
                              }),
                              t.random, test::evaluations(20));
  ASSERT_TRUE(run) << run.error().message;
  std::size_t failed = 0;
  for (Row row = 0; row < run->history.size(); ++row) {
    EXPECT_EQ(run->history.failed(row), run->history.genes(row)[0] == 0);
    if (!run->history.failed(row)) continue;
    EXPECT_THAT(run->history.reason(row), HasSubstr("error is nan"));
    ++failed;
  }
  EXPECT_EQ(failed, run->progress.failed);
  EXPECT_GT(failed, 0u);
  for (const Row row : run->history.front()) EXPECT_FALSE(run->history.failed(row));
}

TEST(Run, OnlyTheCandidateThatMakesTheEvaluatorThrowFails) {
  Tiny t;
  const auto run = run_search(t.space, t.judge, from([](const Genotype& g, std::span<double> out) {
                                if (g[1] == 1) throw std::runtime_error("out of memory");
                                out[0] = g[0], out[1] = 2;
                              }),
                              t.random, test::evaluations(20));
  ASSERT_TRUE(run);
  for (Row row = 0; row < run->history.size(); ++row) {
    ASSERT_EQ(run->history.failed(row), run->history.genes(row)[1] == 1);
    EXPECT_EQ(run->history.reason(row), run->history.failed(row) ? "the evaluator threw: out of memory" : "");
  }
}

TEST(Run, InfeasibleCandidatesAreKeptAndNeverOnTheFront) {
  const SearchSpace space = test::block_space(2, 2, 2, 2);
  Problem problem = test::two_objectives();
  problem.constraints = {{"latency_ms", {}, 16.0}};
  const auto judge = *Judge::make(problem, kMetrics);
  Strategy strategy("random", RandomSearch(make_setting(space, judge, 1), 16));
  const auto run =
      run_search(space, judge,
                 test::additive_evaluator({"error", "latency_ms"},
                                          {test::block_cost(space, 1, -1), test::block_cost(space, 2, 1)}),
                 strategy, test::evaluations(200));
  ASSERT_TRUE(run);
  std::size_t infeasible = 0;
  for (Row row = 0; row < run->history.size(); ++row) infeasible += run->history.info(row).violation > 0;
  EXPECT_GT(infeasible, 0u);
  for (const Row row : run->history.front()) EXPECT_LE(run->history.values(row)[1], 16.0);
  EXPECT_FALSE(run->history.front().empty());
}

TEST(Run, EndsWhenNothingNewIsLeft) {
  Tiny t;
  const auto run = run_search(
      t.space, t.judge, from([](const Genotype& g, std::span<double> out) { out[0] = g[0], out[1] = g[1]; }),
      t.random, test::evaluations(100000));
  ASSERT_TRUE(run);
  EXPECT_EQ(run->ending, Ending::exhausted);
  EXPECT_EQ(std::to_string(run->history.size()), t.space.count());
}

TEST(Run, StopsWhenTheHypervolumeStalls) {
  Tiny t;
  RunOptions options = test::evaluations(100000);
  options.stall.evaluations = 16;
  const SearchSpace space = test::block_space(3, 3, 3, 3);
  Strategy random("random", RandomSearch(make_setting(space, t.judge, 1), 8));
  const auto run =
      run_search(space, t.judge,
                 from([](const Genotype& g, std::span<double> out) { out[0] = g[0], out[1] = 2 - g[0]; }),
                 random, options);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->ending, Ending::stalled);
  EXPECT_LE(run->history.size(), 48u);
}

TEST(Run, StopsAtTheInjectedClock) {
  Tiny t;
  double now = 0;
  RunOptions options;
  options.clock = [&] { return now += 1.0; };
  options.budget.seconds = 20;
  const SearchSpace space = test::block_space(3, 3, 3, 3);
  Strategy random("random", RandomSearch(make_setting(space, t.judge, 1), 8));
  const auto run = run_search(
      space, t.judge, from([](const Genotype& g, std::span<double> out) { out[0] = g[0], out[1] = g[1]; }),
      random, options);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->ending, Ending::time);
}

// Every candidate takes two seconds of the injected clock.
TEST(Run, TheTimeLeftFollowsFromWhatTheCandidatesTook) {
  Tiny t;
  const SearchSpace space = test::block_space(3, 3, 3, 3);
  double now = 1000;
  const Evaluator slow = from([&now](const Genotype& g, std::span<double> out) {
    now += 2;
    out[0] = g[0], out[1] = 2;
  });
  for (const double allowed : {1e9, 60.0}) {
    Evaluator evaluator = slow;
    evaluator.threads = ThreadSafety::one_at_a_time;
    RunOptions options = test::evaluations(100);
    options.budget.seconds = allowed;
    options.clock = [&now] { return now; };
    std::vector<Progress> seen;
    options.progress = [&seen](const Progress& p) { seen.push_back(p); };
    Strategy random("random", RandomSearch(make_setting(space, t.judge, 1), 10));
    const auto run = run_search(space, t.judge, evaluator, random, options);
    ASSERT_TRUE(run) << run.error().message;
    ASSERT_FALSE(seen.empty());
    double best = 1e300;
    for (const Progress& p : seen) {
      EXPECT_DOUBLE_EQ(p.seconds, 2.0 * static_cast<double>(p.evaluations));
      // The nearer of both ends of the budget.
      ASSERT_TRUE(p.remaining_seconds);
      const double by_candidates = 2.0 * static_cast<double>(100 - p.evaluations);
      EXPECT_NEAR(*p.remaining_seconds, std::min(by_candidates, allowed - p.seconds), 1e-6);
      ASSERT_TRUE(p.best_value);
      EXPECT_LE(*p.best_value, best);
      best = *p.best_value;
    }
    EXPECT_EQ(run->ending, allowed < 100 ? Ending::time : Ending::budget);
  }
}

TEST(Run, RefusesABudgetOfZero) {
  Tiny t;
  const auto run = run_search(t.space, t.judge, from([](const Genotype&, std::span<double>) {}), t.random,
                              test::evaluations(0));
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().kind, ErrorKind::usage);
  EXPECT_THAT(run.error().message, HasSubstr("budget is 0"));
}

TEST(Run, ResultIsTheSameForAnyBatchSizeAndEvaluatorThreading) {
  const SearchSpace space = test::block_space(2, 2, 3, 3);
  const auto judge = *Judge::make(test::two_objectives(), kMetrics);
  std::vector<std::vector<std::uint8_t>> seen;
  for (const std::size_t batch : {1, 7, 1000}) {
    Evaluator evaluator = test::additive_evaluator(
        {"error", "latency_ms"}, {test::block_cost(space, 1, -1), test::block_cost(space, 2, 1)});
    evaluator.threads = batch == 7 ? ThreadSafety::one_at_a_time : ThreadSafety::concurrent;
    Strategy random("random", RandomSearch(make_setting(space, judge, 1), 33));
    RunOptions options = test::evaluations(300);
    options.batch = batch;
    const auto run = run_search(space, judge, evaluator, random, options);
    auto& genes = seen.emplace_back();
    for (Row row = 0; row < run->history.size(); ++row)
      genes.insert(genes.end(), run->history.genes(row).begin(), run->history.genes(row).end());
  }
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST(Budget, ReadsEvaluationsAndTime) {
  const auto both = parse_budget("2h|500evals");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->evaluations, 500u);
  EXPECT_EQ(both->seconds, 7200);
  EXPECT_EQ(parse_budget("90s")->seconds, 90);
  EXPECT_EQ(parse_budget("1.5min")->seconds, 90);
  for (const char* bad : {"", "2", "evals", "1.5evals", "2 h", "-3s", "2h|", "1e3evals"})
    EXPECT_EQ(parse_budget(bad).error().kind, ErrorKind::usage) << bad;
  EXPECT_THAT(parse_budget("0evals").error().message, HasSubstr("nothing would be evaluated"));
}

TEST(Decorators, CacheScoresEveryDifferentGenotypeOnce) {
  std::vector<Genotype> scored;
  Evaluator counting{kMetrics, ThreadSafety::one_at_a_time, nullptr};
  counting.score = [&](std::span<const Genotype> batch, double, Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) scored.push_back(batch[i]), scores.row(i)[0] = batch[i][0];
  };
  auto cache = std::make_shared<ScoreCache>(2);
  const Evaluator evaluator = cached(counting, cache);
  const std::vector<Genotype> batch{{1, 2}, {3, 4}, {1, 2}};
  Scores scores;
  for (int round = 0; round < 2; ++round) {
    scores.reset(3, 2);
    evaluator.score(batch, 1, scores);
    EXPECT_EQ(scores.row(2)[0], 1);
    EXPECT_EQ(scores.row(1)[0], 3);
  }
  EXPECT_EQ(scored.size(), 2u);
  EXPECT_EQ(cache->size(), 2u);
  scores.reset(3, 2);
  evaluator.score(batch, 0.5, scores);  // another fidelity is another question
  EXPECT_EQ(scored.size(), 4u);
}

TEST(Decorators, RetryAsksAgainOnlyForWhatFailed) {
  int calls = 0;
  std::vector<std::size_t> sizes;
  Evaluator flaky{kMetrics, ThreadSafety::one_at_a_time, nullptr};
  flaky.score = [&](std::span<const Genotype> batch, double, Scores& scores) {
    ++calls;
    sizes.push_back(batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      scores.row(i)[0] = batch[i][0];
      if (batch[i][0] == 9 || (batch[i][0] == 2 && calls == 1)) scores.fail(i, "board silent");
    }
  };
  Scores scores;
  scores.reset(3, 2);
  with_retry(flaky, 3).score(std::vector<Genotype>{{1}, {2}, {9}}, 1, scores);
  EXPECT_THAT(sizes, testing::ElementsAre(3, 2, 1));
  EXPECT_FALSE(scores.failed(1));
  EXPECT_EQ(scores.row(1)[0], 2);
  EXPECT_EQ(scores.reason(2), "board silent");
}

TEST(Decorators, CombinedPutsMetricsSideBySide) {
  const Evaluator both =
      combined({from([](const Genotype& g, std::span<double> out) { out[0] = g[0], out[1] = 1; }),
                from([](const Genotype& g, std::span<double> out) { out[0] = 2.0 * g[0], out[1] = 3; })});
  Scores scores;
  scores.reset(1, 4);
  both.score(std::vector<Genotype>{{5}}, 1, scores);
  EXPECT_THAT(scores.row(0), testing::ElementsAre(5, 1, 10, 3));
}

}  // namespace
}  // namespace nas::search
