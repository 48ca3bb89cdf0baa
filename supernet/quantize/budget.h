#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"

namespace nas::supernet {

// What a network costs in one unit (MACs, bytes, predicted instructions, …).
using NetworkCost = std::function<Result<double>(const Network&)>;

// One way to treat one item: what it costs and how much it hurts.
struct Option {
  double cost = 0;
  double error = 0;
};

// One option per item, so that the costs sum to at most `limit` and the errors to the least possible. Exact
// up to `steps`: every cost is rounded up to a multiple of limit / steps, so the limit always holds and with
// whole-number costs and steps = limit nothing is lost. Fails (infeasible) with the least possible cost.
Result<std::vector<std::size_t>> least_error(const std::vector<std::vector<Option>>& items, double limit,
                                             std::size_t steps = 20'000);

}  // namespace nas::supernet
