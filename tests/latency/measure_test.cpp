#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "latency/measure/fusion_test.h"
#include "latency/measure/kernel_set.h"
#include "latency/measure/schedule.h"
#include "latency/measure/statistics.h"
#include "space/base/rng.h"

namespace nas::latency {
namespace {

TEST(Statistics, QuantilesAreLinearBetweenOrderStatistics) {
  const std::vector<double> x{1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(sorted_quantile(x, 0.5), 3);
  EXPECT_DOUBLE_EQ(sorted_quantile(x, 0), 1);
  EXPECT_DOUBLE_EQ(sorted_quantile(x, 1), 8);
  EXPECT_DOUBLE_EQ(sorted_quantile(x, 0.9), 6.8);
}

TEST(Statistics, MedianIntervalTakesTheTabulatedOrderStatistics) {
  std::vector<double> x;
  for (int i = 1; i <= 5; ++i) x.push_back(i);
  EXPECT_FALSE(median_interval(x, 0.95));  // 1 - 2/32 is below 95 %
  x.push_back(6);
  EXPECT_EQ(median_interval(x, 0.95)->low, 1);
  for (int i = 7; i <= 20; ++i) x.push_back(i);
  // n = 20: [x(6), x(15)] covers 95.9 % (any table of the sign test).
  EXPECT_EQ(median_interval(x, 0.95)->low, 6);
  EXPECT_EQ(median_interval(x, 0.95)->high, 15);
}

TEST(Statistics, MedianIntervalCoversAsOftenAsItSays) {
  int covered = 0;
  constexpr int kTrials = 4000;
  for (int t = 0; t < kTrials; ++t) {
    Rng rng(5, "coverage", static_cast<std::uint64_t>(t));
    std::vector<double> x(15);
    for (double& v : x) v = std::exp(rng.normal());  // median 1
    const auto interval = median_interval(x, 0.9);
    covered += interval->low <= 1 && 1 <= interval->high;
  }
  EXPECT_GT(covered, 0.9 * kTrials - 60);
  EXPECT_LT(covered, 0.97 * kTrials);
}

TEST(Statistics, OutliersAreCounted) {
  std::vector<double> x(50, 10.0);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += 0.01 * static_cast<double>(i % 5);
  x[3] = 30;
  x[4] = 25;
  EXPECT_EQ(summarise(x).outliers, 2u);
}

// A device whose kernels take 1, 2, 3, … microseconds, with noise and a slow drift; time passes only when it
// runs.
struct Simulated {
  double clock = 0;
  double noise = 0.005;
  double drift = 0;  // relative slow-down per second
  double spell = 0;  // relative slow-down during every other 20 ms
  std::uint64_t draws = 0;
  std::vector<std::size_t> order = {};
  double speed() const { return 1 + drift * clock + (std::fmod(clock, 0.04) > 0.02 ? spell : 0.0); }
  Bench bench() {
    Bench b;
    b.timer_step = 1e-7;
    b.now = [this] { return clock; };
    b.run = [this](std::size_t kernel, std::uint32_t inner, std::uint32_t samples,
                   std::uint32_t warmups) -> Result<std::vector<double>> {
      if (order.empty() || order.back() != kernel) order.push_back(kernel);
      const double base = 1e-6 * static_cast<double>(kernel + 1);
      clock += base * warmups;
      std::vector<double> seconds;
      for (std::uint32_t s = 0; s < samples; ++s) {
        Rng rng(6, "device", draws++);
        seconds.push_back(base * inner * speed() * std::max(0.1, 1 + noise * rng.normal()));
        clock += seconds.back();
      }
      return seconds;
    };
    return b;
  }
};

std::vector<Measured> measured(Simulated& device, std::size_t kernels, const MeasureOptions& options) {
  std::vector<std::size_t> indices(kernels);
  for (std::size_t i = 0; i < kernels; ++i) indices[i] = i;
  std::vector<Measured> results(kernels);
  MeasureHooks hooks;
  hooks.done = [&](const Measured& m) { results[m.kernel] = m; };
  const Bench bench = device.bench();
  const auto done = measure(bench, indices, kernels / 2, options, hooks);
  EXPECT_TRUE(done) << done.error().message;
  return results;
}

TEST(Schedule, FindsTheTimesWithinTheirIntervals) {
  Simulated device;
  const std::vector<Measured> results = measured(device, 60, {});
  // The speed of the session as a whole is common to all of its kernels.
  std::vector<double> ratios;
  for (const Measured& m : results) ratios.push_back(m.estimate / (1e-6 * static_cast<double>(m.kernel + 1)));
  const double common = median_of(ratios);
  EXPECT_NEAR(common, 1, 0.01);
  int inside = 0;
  for (const Measured& m : results) {
    const double truth = common * 1e-6 * static_cast<double>(m.kernel + 1);
    EXPECT_NEAR(m.estimate, truth, 0.02 * truth);
    EXPECT_TRUE(m.steady);
    EXPECT_GE(m.inner * truth, 45e-6);
    EXPECT_GE(m.summary.count, 50u);
    inside += m.interval.low <= truth && truth <= m.interval.high;
  }
  EXPECT_GT(inside, 45);
}

double worst_error(const std::vector<Measured>& results) {
  double worst = 0, sum = 0;
  for (const Measured& m : results) sum += m.estimate / static_cast<double>(m.kernel + 1);
  const double unit = sum / static_cast<double>(results.size());
  for (const Measured& m : results)
    worst = std::max(worst, std::abs(m.estimate / static_cast<double>(m.kernel + 1) / unit - 1));
  return worst;
}

TEST(Schedule, DividesDriftOut) {
  MeasureOptions with, without;
  with.block = without.block = 20;
  without.reference_every = 0;
  Simulated first, second;
  first.drift = second.drift = 1;
  const double corrected = worst_error(measured(first, 100, with));
  const double raw = worst_error(measured(second, 100, without));
  EXPECT_LT(corrected, 0.03);
  EXPECT_LT(corrected, raw / 3);
}

TEST(Schedule, ShortSpellsAreDividedOutToo) {
  MeasureOptions with, without;
  with.reference_every = 5;
  without.reference_every = 0;
  Simulated first, second;
  first.spell = second.spell = 0.5;
  EXPECT_LT(worst_error(measured(first, 50, with)), worst_error(measured(second, 50, without)));
}

TEST(Schedule, VisitsInRandomOrderWithTheReferenceBetween) {
  Simulated device;
  MeasureOptions options;
  options.reference_every = 10;
  measured(device, 40, options);
  std::size_t since = 0, longest = 0, ascending = 0;
  for (std::size_t i = 1; i < device.order.size(); ++i) {
    since = device.order[i] == 20 ? 0 : since + 1;
    longest = std::max(longest, since);
    ascending += device.order[i] == device.order[i - 1] + 1;
  }
  EXPECT_LE(longest, 10u);
  EXPECT_LT(ascending, device.order.size() / 5);
}

TEST(Schedule, TheSameSeedMeasuresInTheSameOrder) {
  Simulated first, second;
  measured(first, 30, {});
  measured(second, 30, {});
  EXPECT_EQ(first.order, second.order);
}

TEST(Schedule, ANoisyKernelStopsAtItsBudgetAndIsUnsteady) {
  Simulated device;
  device.noise = 0.3;
  MeasureOptions options;
  options.max_secs = 0.05;
  options.half_width = 0.001;
  for (const Measured& m : measured(device, 5, options)) {
    EXPECT_FALSE(m.steady);
    EXPECT_LT(m.spent, 0.2);
  }
}

// Stopped after `visits` of the device, or lost there.
std::vector<Measured> interrupted(Simulated& device, std::size_t visits, bool lost,
                                  const MeasureOptions& options) {
  std::vector<Measured> told;
  MeasureHooks hooks;
  hooks.done = [&](const Measured& m) {
    if (m.failure.empty()) told.push_back(m);
  };
  Bench bench = device.bench();
  const auto sound = bench.run;
  if (lost)
    bench.run = [&, sound](std::size_t kernel, std::uint32_t inner, std::uint32_t samples,
                           std::uint32_t warmups) -> Result<std::vector<double>> {
      if (device.order.size() > visits) return Error{"not responding", "", ErrorKind::device};
      return sound(kernel, inner, samples, warmups);
    };
  else
    hooks.stop = [&] { return device.order.size() > visits; };
  const auto done = measure(bench, std::vector<std::size_t>{0, 1, 2, 3, 4, 5}, 3, options, hooks);
  EXPECT_EQ(static_cast<bool>(done), !lost);
  return told;
}

TEST(Schedule, AnInterruptedSessionTellsWhatItHasAndGoesOnFromThere) {
  for (const bool lost : {false, true}) {
    Simulated device, fresh;
    MeasureOptions options;
    options.baseline_secs = 0;
    std::vector<EarlierVisits> earlier;
    std::size_t before = 0;
    for (const Measured& m : interrupted(device, 40, lost, options)) {
      EXPECT_TRUE(m.provisional);
      EXPECT_NEAR(m.estimate, 1e-6 * static_cast<double>(m.kernel + 1), 0.05 * m.estimate);
      earlier.push_back({m.kernel, m.visit_medians, m.visit_references, m.spent});
      before += m.visits;
    }
    ASSERT_EQ(earlier.size(), 6U);
    std::map<std::size_t, Measured> after;
    MeasureHooks hooks;
    hooks.done = [&](const Measured& m) { after[m.kernel] = m; };
    const Bench bench = fresh.bench();
    ASSERT_TRUE(measure(bench, std::vector<std::size_t>{0, 1, 2, 3, 4, 5}, 3, options, hooks, earlier));
    ASSERT_EQ(after.size(), 6U);
    std::size_t visits = 0;
    for (const EarlierVisits& visited : earlier) {
      const Measured& m = after.at(visited.kernel);
      EXPECT_FALSE(m.provisional);
      EXPECT_TRUE(m.steady);
      ASSERT_GT(m.visits, visited.medians.size());
      EXPECT_TRUE(
          std::ranges::equal(visited.medians, std::span(m.visit_medians).first(visited.medians.size())));
      visits += m.visits;
    }
    EXPECT_GT(visits, before);
    EXPECT_LT(visits, before + 6 * 10) << "visits of before must count";
  }
}

TEST(Schedule, AKernelThatFailsIsRecordedAndTheOthersGoOn) {
  Simulated device;
  Bench bench = device.bench();
  const auto sound = bench.run;
  bench.run = [&](std::size_t kernel, std::uint32_t inner, std::uint32_t samples,
                  std::uint32_t warmups) -> Result<std::vector<double>> {
    if (kernel == 3) return Error{"crashed: with signal 11", "", ErrorKind::device};
    return sound(kernel, inner, samples, warmups);
  };
  std::vector<std::size_t> kernels{0, 1, 2, 3, 4};
  std::size_t good = 0, bad = 0;
  MeasureHooks hooks;
  hooks.done = [&](const Measured& m) { ++(m.failure.empty() ? good : bad); };
  hooks.recover = [](const Error&) { return true; };
  EXPECT_TRUE(measure(bench, kernels, 1, {}, hooks));
  EXPECT_EQ(good, 4u);
  EXPECT_EQ(bad, 1u);
  hooks.recover = [](const Error&) { return false; };
  EXPECT_FALSE(measure(bench, kernels, 1, {}, hooks));
}

TEST(Schedule, TellsEveryVisitToTheReference) {
  Simulated device;
  const Bench bench = device.bench();
  std::vector<double> told;
  MeasureHooks hooks;
  hooks.done = [](const Measured&) {};
  hooks.reference = [&](std::size_t kernel, double seconds) {
    EXPECT_EQ(kernel, 2u);
    told.push_back(seconds);
  };
  MeasureOptions options;
  options.baseline_secs = 0;
  ASSERT_TRUE(measure(bench, std::vector<std::size_t>{0, 1, 3, 4}, 2, options, hooks));
  // In turns with the others, so each entry of `order` is one visit.
  EXPECT_GE(told.size(), static_cast<std::size_t>(std::ranges::count(device.order, 2u)));
  EXPECT_GE(told.size(), 5u);
  for (const double seconds : told) EXPECT_NEAR(seconds, 3e-6, 0.05 * 3e-6);
}

TEST(Schedule, ATimerThatShowsZeroIsAnErrorNotALoop) {
  Bench bench;
  bench.now = [] { return 0.0; };
  bench.run = [](std::size_t, std::uint32_t, std::uint32_t samples,
                 std::uint32_t) -> Result<std::vector<double>> { return std::vector<double>(samples, 0.0); };
  const std::vector<std::size_t> kernels{0};
  const auto result =
      measure(bench, kernels, 0, {}, {.done = [](const Measured&) {}, .recover = {}, .stop = {}});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("timer shows no progress"), std::string::npos);
}

std::vector<double> noisy(double middle, double noise, std::uint64_t stream) {
  std::vector<double> x(40);
  Rng rng(8, "fusion", stream);
  for (double& v : x) v = middle * (1 + noise * rng.normal());
  return x;
}

TEST(FusionTest, DecidesClearPairsAndLeavesNoisyOnesOpen) {
  EXPECT_EQ(test_fusion(noisy(100, .02, 1), noisy(30, .02, 2), noisy(102, .02, 3))->outcome,
            FusionOutcome::fused);
  EXPECT_EQ(test_fusion(noisy(100, .02, 1), noisy(30, .02, 2), noisy(129, .02, 3))->outcome,
            FusionOutcome::not_fused);
  EXPECT_EQ(test_fusion(noisy(100, .3, 1), noisy(30, .3, 2), noisy(115, .3, 3))->outcome,
            FusionOutcome::undecided);
  EXPECT_FALSE(test_fusion(noisy(1, 0, 1), noisy(1, 0, 2), std::vector<double>{1, 1, 1, 1, 0}));
}

TEST(FusionTest, RoundsDivideOutDriftThatWouldDrownThePair) {
  // The device's speed wanders by a factor of four; within a round all three see the same.
  std::vector<double> first, second, fused, apart;
  for (int i = 0; i < 40; ++i) {
    Rng rng(8, "fusion rounds", static_cast<std::uint64_t>(i));
    const double speed = rng.uniform(1, 4);
    const auto time = [&](double t) { return t * speed * (1 + 0.005 * rng.normal()); };
    first.push_back(time(100));
    second.push_back(time(30));
    fused.push_back(time(102));
    apart.push_back(time(129));
  }
  EXPECT_EQ(test_fusion_rounds(first, second, fused)->outcome, FusionOutcome::fused);
  EXPECT_EQ(test_fusion_rounds(first, second, apart)->outcome, FusionOutcome::not_fused);
  EXPECT_NEAR(test_fusion_rounds(first, second, fused)->statistic, 28.0 / 30, 0.05);
  EXPECT_NE(test_fusion(first, second, fused)->outcome, FusionOutcome::fused) << "unpaired it is lost";
  const std::vector<double> few(9, 1.0);
  EXPECT_FALSE(test_fusion_rounds(few, few, few));
}

TEST(KernelSet, WalkFindsWhatEnumerationFinds) {
  const auto space = load_space("tiny");
  ASSERT_TRUE(space);
  ReachOptions all, walk;
  all.enumerate_up_to = 100000000;
  walk.enumerate_up_to = 0;
  walk.random_networks = 500;
  const KernelSet exact = reachable_kernels(*space, {}, {8, 8}, all);
  const KernelSet walked = reachable_kernels(*space, {}, {8, 8}, walk);
  EXPECT_TRUE(exact.exact);
  EXPECT_FALSE(walked.exact);
  std::set<std::string> a, b;
  for (const Kernel& k : exact.kernels) a.insert(signature(k));
  for (const Kernel& k : walked.kernels) b.insert(signature(k));
  EXPECT_EQ(a, b);
  EXPECT_GT(walked.coverage, 0.999);
}

TEST(KernelSet, CoversEveryNetworkOfABigSpace) {
  const auto space = load_space("cifar-mbv3");
  ASSERT_TRUE(space);
  const KernelSet set = reachable_kernels(*space, {}, {8, 8}, {.random_networks = 500});
  std::set<std::string> known;
  for (const Kernel& k : set.kernels) known.insert(signature(k));
  std::size_t missing = 0, seen = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Rng rng(77, "other networks", i);
    for (const Kernel& k : kernels(with_precision(space->lower(space->sample(rng)), {8, 8}), {})) {
      ++seen;
      missing += !known.contains(signature(k));
    }
  }
  EXPECT_EQ(missing, 0u) << "of " << seen;
}

TEST(KernelSet, SpaceFillingKeepsEveryKindAndSpreads) {
  const auto space = load_space("cifar-mbv3");
  ASSERT_TRUE(space);
  const KernelSet set = reachable_kernels(*space, {}, {8, 8}, {.random_networks = 100});
  const auto chosen = space_filling(set.kernels, 60);
  EXPECT_LE(chosen.size(), 60u);
  std::set<LayerKind> kinds, kept;
  for (const Kernel& k : set.kernels) kinds.insert(k.anchor.kind);
  for (const Kernel& k : chosen) kept.insert(k.anchor.kind);
  EXPECT_EQ(kinds, kept);
  std::set<std::string> different;
  for (const Kernel& k : chosen) different.insert(signature(k));
  EXPECT_EQ(different.size(), chosen.size());
}

}  // namespace
}  // namespace nas::latency
