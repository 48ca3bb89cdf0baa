#include "search/certificate.h"

#include <algorithm>
#include <cmath>

#include "search/exact.h"

namespace nas::search {
namespace {

const Additive* cost_of(std::span<const KnownCost> models, const std::string& metric) {
  const auto found = std::ranges::find(models, metric, &KnownCost::metric);
  return found == models.end() ? nullptr : &found->cost;
}

// The limits as costs to keep below; false where one is on a metric that no sum describes.
bool add_limits(const Judge& judge, std::span<const KnownCost> known, std::vector<Additive>& costs,
                std::vector<double>& limits) {
  for (const Constraint& c : judge.problem().constraints) {
    const Additive* cost = cost_of(known, c.metric);
    if (cost == nullptr) return false;
    if (c.max) costs.push_back(*cost), limits.push_back(*c.max);
    if (c.min) costs.push_back(cost->scaled(-1)), limits.push_back(-*c.min);
  }
  return true;
}

}  // namespace

double Certificate::gap() const {
  const double distance = std::abs(optimum - found);
  return distance <= 1e-9 * std::abs(optimum) ? 0 : distance;
}

Result<std::optional<Certificate>> certify(const SearchSpace& space, const History& history,
                                           std::span<const KnownCost> known,
                                           std::span<const KnownCost> stand_ins) {
  const Objective& objective = history.judge().problem().objectives[0];
  const double sign = objective.goal == Goal::maximise ? -1 : 1;
  const Additive* model = cost_of(known, objective.metric);
  const bool stand_in = model == nullptr;
  if (stand_in) model = cost_of(stand_ins, objective.metric);
  std::optional<double> found;
  for (Row row = 0; model != nullptr && row < history.size(); ++row)
    if (history.feasible(row)) found = std::min(sign * (*model)(history.genes(row)), found.value_or(1e300));
  if (!found) return std::optional<Certificate>();
  std::vector<Additive> costs{model->scaled(sign)};
  ExactOptions options{{1e300}};
  if (!add_limits(history.judge(), known, costs, options.limits)) return std::optional<Certificate>();
  NAS_TRY(front, exact_front(space, costs, options));
  return std::optional(Certificate{sign * front.values(0)[0], sign * *found, stand_in});
}

}  // namespace nas::search
