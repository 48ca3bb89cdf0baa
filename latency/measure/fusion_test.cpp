#include "latency/measure/fusion_test.h"

#include <algorithm>
#include <cmath>

namespace nas::latency {
namespace {

constexpr double kThreshold = 0.5;
constexpr int kReplicates = 2000;

double pair_statistic(std::span<const std::vector<double>> groups) {
  const double first = median_of(groups[0]), second = median_of(groups[1]), both = median_of(groups[2]);
  return (first + second - both) / std::min(first, second);
}

Result<void> check_groups(std::span<const std::vector<double>> groups, std::size_t least) {
  for (const std::vector<double>& group : groups) {
    if (group.size() < least)
      return usage_error("a fusion test needs " + std::to_string(least) + " times of each, found " +
                         std::to_string(group.size()));
    if (!std::ranges::all_of(group, [](double t) { return t > 0 && std::isfinite(t); }))
      return usage_error("the times of a fusion test must be above 0");
  }
  return {};
}

void decide(FusionTest& test) {
  if (test.interval.low > kThreshold) test.outcome = FusionOutcome::fused;
  if (test.interval.high < kThreshold) test.outcome = FusionOutcome::not_fused;
}

}  // namespace

std::string_view to_string(FusionOutcome outcome) {
  switch (outcome) {
    case FusionOutcome::fused:
      return "fused";
    case FusionOutcome::not_fused:
      return "not fused";
    case FusionOutcome::undecided:
      break;
  }
  return "undecided";
}

Result<FusionTest> test_fusion(std::span<const double> first, std::span<const double> second,
                               std::span<const double> both, double confidence) {
  const std::vector<double> groups[3] = {
      {first.begin(), first.end()}, {second.begin(), second.end()}, {both.begin(), both.end()}};
  NAS_CHECK(check_groups(groups, 5));
  FusionTest test;
  test.statistic = pair_statistic(groups);
  test.interval = bootstrap_interval(groups, confidence, kReplicates, 1, pair_statistic);
  decide(test);
  return test;
}

Result<FusionTest> test_fusion_rounds(std::span<const double> first, std::span<const double> second,
                                      std::span<const double> both, double confidence) {
  const std::vector<double> groups[3] = {
      {first.begin(), first.end()}, {second.begin(), second.end()}, {both.begin(), both.end()}};
  constexpr std::size_t kRounds = 10;
  NAS_CHECK(check_groups(groups, kRounds));
  // A kernel that ended early leaves rounds without a partner.
  const std::size_t rounds = std::min({first.size(), second.size(), both.size()});
  std::vector<double> statistics;
  for (std::size_t i = 0; i < rounds; ++i)
    statistics.push_back((first[i] + second[i] - both[i]) / std::min(first[i], second[i]));
  const auto interval = median_interval(statistics, confidence);
  if (!interval) return usage_error("too few rounds for an interval, found " + std::to_string(rounds));
  FusionTest test{median_of(statistics), *interval};
  decide(test);
  return test;
}

}  // namespace nas::latency
