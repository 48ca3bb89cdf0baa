#include "supernet/quantize/budget.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nas::supernet {

Result<std::vector<std::size_t>> least_error(const std::vector<std::vector<Option>>& items, double limit,
                                             std::size_t steps) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  double least = 0;
  for (const auto& options : items)
    least += std::min_element(options.begin(), options.end(), [](const Option& a, const Option& b) {
               return a.cost < b.cost;
             })->cost;
  const double unit = limit / static_cast<double>(steps);
  const auto units = [&](double cost) {
    return unit > 0 ? static_cast<std::size_t>(std::ceil(std::max(cost, 0.0) / unit - 1e-9)) : std::size_t{0};
  };
  // best[u]: least error of the items so far within u units; pick[i][u]: the option taken for it.
  std::vector<double> best(steps + 1, 0), next(steps + 1);
  std::vector<std::vector<std::uint8_t>> pick(items.size(), std::vector<std::uint8_t>(steps + 1));
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::fill(next.begin(), next.end(), kNever);
    for (std::size_t o = 0; o < items[i].size(); ++o)
      for (std::size_t u = units(items[i][o].cost); u <= steps; ++u)
        if (const double error = best[u - units(items[i][o].cost)] + items[i][o].error; error < next[u]) {
          next[u] = error;
          pick[i][u] = static_cast<std::uint8_t>(o);
        }
    best.swap(next);
  }
  if (limit < 0 || best[steps] == kNever)
    return Error{
        "no choice costs at most " + std::to_string(limit) + "; the cheapest costs " + std::to_string(least),
        "", ErrorKind::infeasible};
  std::vector<std::size_t> chosen(items.size());
  std::size_t left = steps;
  for (std::size_t i = items.size(); i-- > 0;) {
    chosen[i] = pick[i][left];
    left -= units(items[i][chosen[i]].cost);
  }
  return chosen;
}

}  // namespace nas::supernet
