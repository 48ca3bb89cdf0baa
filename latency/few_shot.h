#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "latency/few_shot_model.h"
#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::latency {

struct FewShot {
  std::vector<std::size_t> measured;  // rows chosen, in the order in which they should be measured
  std::vector<double> predicted;      // of every row
  std::vector<double> low;            // 90 % interval
  std::vector<double> high;
};

// A new device from `samples` measurements. Log times of all architectures are Gaussian a priori: the mean
// and covariance over architectures come from the known devices (`sources`, one vector of times each) and
// from the additive table; conditioning on the measured rows gives mean and variance. Rows are chosen one by
// one by the largest expected fall of the summed variance, from a pool drawn by `seed`; only chosen rows of
// `target` are read.
//
// `names`: of the sources, and last the new device's. Sources of one card are left out together where a known
// device rehearses the new one's part, for a new device has no relatives among the known (or has, where it is
// named as one); those at the new device's setting may lead.
Result<FewShot> few_shot(const learn::Matrix& table, const std::vector<std::vector<double>>& sources,
                         const std::vector<DeviceName>& names, std::span<const double> target,
                         std::size_t samples, std::uint64_t seed);

}  // namespace nas::latency
