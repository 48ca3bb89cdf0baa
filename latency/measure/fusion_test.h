#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "latency/measure/statistics.h"
#include "space/base/result.h"

namespace nas::latency {

enum class FusionOutcome { fused, not_fused, undecided };
std::string_view to_string(FusionOutcome outcome);  // "fused", "not fused", "undecided"

// The statistic of nn-Meter's pair test, s = (T1 + T2 - T12) / min(T1, T2) over medians: 0 when two layers
// cost as much together as apart, towards 1 when the cheaper one vanishes. nn-Meter calls a pair fused above
// 0.5, from averages and without regard to noise; here the bootstrap interval of s decides, and a pair whose
// interval holds 0.5 needs more samples.
struct FusionTest {
  double statistic = 0;
  Range interval;
  FusionOutcome outcome = FusionOutcome::undecided;
};

// Times of the first layer alone, of the second alone, and of both in a row, each at least 5, positive.
Result<FusionTest> test_fusion(std::span<const double> first, std::span<const double> second,
                               std::span<const double> both, double confidence = 0.95);

// The same where the three were visited in turn, value i of each close in time: the statistic of every round
// has the device's drift divided out, and the interval is that of the median round.
Result<FusionTest> test_fusion_rounds(std::span<const double> first, std::span<const double> second,
                                      std::span<const double> both, double confidence = 0.95);

}  // namespace nas::latency
