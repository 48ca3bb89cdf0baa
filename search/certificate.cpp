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

// The limits as costs to keep below; false where one is on a metric that is not known exactly.
bool add_limits(const Judge& judge, std::span<const KnownCost> known, std::span<const KnownPeak> peaks,
                std::vector<Additive>& costs, ExactOptions& options) {
  for (const Constraint& c : judge.problem().constraints) {
    const auto peak = std::ranges::find(peaks, c.metric, &KnownPeak::metric);
    if (peak != peaks.end() && peak->peak.exact() && c.max && !c.min) {
      options.peaks.push_back({peak->peak, *c.max});
      continue;
    }
    const Additive* cost = cost_of(known, c.metric);
    if (cost == nullptr) return false;
    if (c.max) costs.push_back(*cost), options.limits.push_back(*c.max);
    if (c.min) costs.push_back(cost->scaled(-1)), options.limits.push_back(-*c.min);
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
                                           std::span<const KnownCost> stand_ins,
                                           std::span<const KnownPeak> peaks) {
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
  if (!add_limits(history.judge(), known, peaks, costs, options)) return std::optional<Certificate>();
  NAS_TRY(front, exact_front(space, costs, options));
  return std::optional(Certificate{sign * front.values(0)[0], sign * *found, stand_in});
}

}  // namespace nas::search
