// Numbers that two sessions must agree on, from a machine that changes its speed.
#include "latency/measure/drift.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "space/base/rng.h"

namespace nas::latency {
namespace {

TEST(Drift, TheBaselineIsTheUndisturbedSpeedHoweverRareItWas) {
  ReferenceVisits visits;
  for (int i = 0; i < 200; ++i) {
    visits.times.push_back(0.1 * i);
    visits.values.push_back((i / 20 % 5 == 0 ? 1.0 : 1.7) * (1 + 0.01 * (i % 3 - 1)));
  }
  const Baseline baseline = baseline_of(visits);
  EXPECT_NEAR(baseline.value, 1, 1e-12);
  EXPECT_LT(baseline.wander, 0.01);
  // A session that only saw the slow speed knows better from what it saw before it was interrupted.
  std::erase_if(visits.values, [](double v) { return v < 1.5; });
  visits.times.resize(visits.values.size());
  EXPECT_NEAR(baseline_of(visits).value, 1.7, 1e-12);
  EXPECT_NEAR(baseline_of(visits, std::vector<double>(60, 1.0)).value, 1, 1e-12);
}

TEST(Drift, AFewVisitsFarApartHaveABaselineToo) {
  // The lowest tenth of five values lies between the first and the second, near neither.
  const Baseline baseline = baseline_of({{0, 1, 2, 3, 4}, {1.0, 2.0, 4.0, 8.0, 16.0}});
  EXPECT_EQ(baseline.value, 1);
  EXPECT_EQ(baseline_of({{0, 1}, {5.0, 1.0}}).value, 1);
}

TEST(Drift, TheWanderOfTheSpeedIsThatOfItsLevels) {
  ReferenceVisits visits;
  std::vector<double> levels;
  for (int tenth = 0; tenth < 10; ++tenth) {
    levels.push_back(0.02 * Rng(3, "level", static_cast<std::uint64_t>(tenth)).normal());
    for (int i = 0; i < 20; ++i) {
      visits.times.push_back(tenth + i / 20.0);
      visits.values.push_back(std::exp(levels.back()));
    }
  }
  visits.times.back() = 10;
  double mean = 0, squares = 0;
  for (const double level : levels) mean += level / 10;
  for (const double level : levels) squares += (level - mean) * (level - mean);
  EXPECT_NEAR(baseline_of(visits).wander, std::sqrt(squares / 9), 1e-3);
}

TEST(Drift, TheReferenceAtATimeIsTheMedianOfTheThreeNearestVisits) {
  const ReferenceVisits visits{{0, 1, 2, 3, 10}, {5, 1, 2, 9, 4}};
  EXPECT_EQ(reference_at(std::vector<double>{-1, 1.4, 1.9, 9, 20}, visits),
            (std::vector<double>{2, 2, 2, 4, 4}));
  EXPECT_EQ(reference_at(std::vector<double>{7}, {{1}, {3}}), (std::vector<double>{3}));
}

TEST(Drift, VisitsAtAnotherSpeedDoNotCountWhileThereAreOthers) {
  // The reference slows down to 1.7, this kernel to 1.4: dividing would be wrong by a fifth.
  std::vector<double> medians, references;
  for (int i = 0; i < 20; ++i) {
    const bool slow = i % 2 == 0;
    references.push_back((slow ? 1.7 : 1.0) * (1 + 0.02 * (i % 5 - 2)));
    medians.push_back(30 * (slow ? 1.4 : 1.0) * (1 + 0.02 * (i % 5 - 2)));
  }
  const DriftFree some = drift_free(medians, references, {1, 0}, 0.95);
  EXPECT_NEAR(some.value, 30, 1e-9);
  EXPECT_EQ(some.values.size(), 10U);
  EXPECT_LE(some.interval.low, some.own.low);
  EXPECT_GE(some.interval.high, some.own.high);
  // Nothing but the slow speed: the interval says how little the number is worth.
  std::vector<double> slow_medians, slow_references;
  for (std::size_t i = 0; i < 20; i += 2) {
    slow_medians.push_back(medians[i]);
    slow_references.push_back(references[i]);
  }
  const DriftFree none = drift_free(slow_medians, slow_references, {1, 0}, 0.95);
  EXPECT_NEAR(none.value, 30 * 1.4 / 1.7, 0.5);
  EXPECT_LE(none.interval.low, 30);
  EXPECT_GE(none.interval.high, 30);
}

// ---- recorded ----

struct Recorded {
  ReferenceVisits reference;
  std::map<std::string, ReferenceVisits> kernels;  // times and values of each
};

ReferenceVisits read_visits(std::istream& words) {
  ReferenceVisits visits;
  double time = 0, value = 0;
  for (char colon = 0; words >> time >> colon >> value;) {
    visits.times.push_back(time);
    visits.values.push_back(value);
  }
  return visits;
}

std::vector<Recorded> recorded_sessions() {
  std::ifstream file(std::string(HWNAS_SOURCE_DIR) + "/tests/latency/data/recorded_visits.txt");
  std::vector<Recorded> sessions;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "session") sessions.emplace_back();
    if (kind == "reference") sessions.back().reference = read_visits(words);
    if (kind == "kernel") {
      const std::size_t bar = line.find(" | ");
      std::istringstream rest(line.substr(bar + 3));
      sessions.back().kernels[line.substr(7, bar - 7)] = read_visits(rest);
    }
  }
  return sessions;
}

std::map<std::string, DriftFree> estimates(const Recorded& session, bool corrected) {
  std::map<std::string, DriftFree> found;
  const Baseline baseline = corrected ? baseline_of(session.reference) : Baseline{};
  for (const auto& [name, visits] : session.kernels)
    found[name] = drift_free(visits.values,
                             corrected ? reference_at(visits.times, session.reference)
                                       : std::vector<double>(visits.values.size(), 1.0),
                             baseline, 0.95);
  return found;
}

struct PairsAgree {
  int pairs = 0, agreeing = 0;  // agreeing: 90 % of the kernels' intervals meet
  double ratio = 0;             // 90 % of the kernels' ratios between two sessions are below, as a logarithm
};

PairsAgree compare(bool corrected) {
  std::vector<std::map<std::string, DriftFree>> sessions;
  for (const Recorded& session : recorded_sessions()) sessions.push_back(estimates(session, corrected));
  PairsAgree result;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < sessions.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      double meet = 0;
      for (const auto& [name, a] : sessions[i]) {
        const DriftFree& b = sessions[j].at(name);
        meet += a.interval.low <= b.interval.high && b.interval.low <= a.interval.high;
        ratios.push_back(std::abs(std::log(a.value / b.value)));
      }
      ++result.pairs;
      result.agreeing += meet >= 0.9 * static_cast<double>(sessions[i].size());
    }
  std::ranges::sort(ratios);
  result.ratio = sorted_quantile(ratios, 0.9);
  return result;
}

TEST(Drift, RecordedSessionsOfALoadedMachineAgreeWithinTheirIntervalsAndWithoutCorrectionDoNot) {
  ASSERT_EQ(recorded_sessions().size(), 8U);
  const PairsAgree with = compare(true), without = compare(false);
  std::printf("pairs that agree: %d of 28 with the reference, %d without; 90 %% of ratios below %.3f, %.3f\n",
              with.agreeing, without.agreeing, std::exp(with.ratio), std::exp(without.ratio));
  EXPECT_EQ(with.pairs, 28);
  EXPECT_GE(with.agreeing, 27);
  EXPECT_LT(without.agreeing, 20);
  EXPECT_LT(with.ratio, without.ratio / 3);
}

}  // namespace
}  // namespace nas::latency
