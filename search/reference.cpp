#include "search/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "search/accuracy_surrogate.h"
#include "search/text.h"

namespace nas::search {
namespace {

constexpr std::size_t kSample = 64;
constexpr std::size_t kMostListed = 100'000;

// The losses' ends over some networks.
struct Span {
  double best = std::numeric_limits<double>::infinity();
  double worst = -std::numeric_limits<double>::infinity();
  std::string why;
  void add(double loss) { best = std::min(best, loss), worst = std::max(worst, loss); }
};

std::vector<Genotype> shared_networks(const SearchSpace& space, const Listing* listing) {
  if (listing == nullptr) return designed_sample(space, kSample, 1);
  std::vector<Genotype> networks;
  for (std::size_t i = 0; i < std::min(listing->size(), kMostListed); ++i) networks.push_back((*listing)[i]);
  return networks;
}

std::vector<Span> probed(const Judge& judge, const Evaluator& probe, std::span<const Genotype> networks,
                         bool listed) {
  Scores scores;
  scores.reset(networks.size(), probe.metrics.size());
  guarded(probe).score(networks, 1, scores);
  std::vector<Span> spans(judge.objectives());
  std::vector<double> losses(judge.objectives());
  for (std::size_t i = 0; i < networks.size(); ++i) {
    if (scores.failed(i)) continue;
    judge.losses(scores.row(i), losses);
    for (std::size_t k = 0; k < losses.size(); ++k) spans[k].add(losses[k]);
  }
  for (Span& span : spans)
    span.why = "worst of " + std::to_string(networks.size()) + (listed ? " listed" : " sampled");
  return spans;
}

// The limit on the objective's own metric, as a loss; infinite where there is none.
double limit_of(const Judge& judge, const Objective& objective) {
  double limit = std::numeric_limits<double>::infinity();
  for (const Constraint& c : judge.problem().constraints) {
    if (c.metric != objective.metric) continue;
    if (objective.goal == Goal::minimise && c.max) limit = std::min(limit, *c.max);
    if (objective.goal == Goal::maximise && c.min) limit = std::min(limit, -*c.min);
  }
  return limit;
}

std::optional<Span> known_span(const Objective& objective, std::span<const Reach> reach) {
  const double sign = objective.goal == Goal::maximise ? -1 : 1;
  for (const Reach& r : reach) {
    if (r.metric != objective.metric || !r.exact) continue;
    Span span;
    span.add(sign * r.min);
    span.add(sign * r.max);
    span.why = "worst reachable";
    return span;
  }
  return std::nullopt;
}

double beyond(const Span& span) {
  const double range = span.worst - span.best;
  return span.worst + (range > 0 ? 0.1 * range : std::max(0.1 * std::abs(span.worst), 1e-9));
}

}  // namespace

Reference problem_reference(const SearchSpace& space, const Judge& judge, std::span<const Reach> reach,
                            const Evaluator& probe, const std::shared_ptr<const Listing>& listing) {
  Reference reference;
  std::vector<Span> sampled;
  for (std::size_t k = 0; k < judge.objectives(); ++k) {
    const Objective& objective = judge.problem().objectives[k];
    const double sign = objective.goal == Goal::maximise ? -1 : 1;
    double loss = 0;
    std::string why = "declared";
    if (objective.worst) {
      loss = sign * *objective.worst;
    } else {
      auto span = known_span(objective, reach);
      if (!span) {
        if (sampled.empty())
          sampled = probed(judge, probe, shared_networks(space, listing.get()), listing != nullptr);
        span = sampled[k];
      }
      if (span->worst < span->best) return {};
      const double limit = limit_of(judge, objective);
      if (limit < span->worst) span->worst = std::max(limit, span->best), span->why = "the limit";
      loss = beyond(*span), why = span->why + ", 10 % beyond";
    }
    reference.losses.push_back(loss);
    reference.why.push_back(objective.metric + " " + number(sign * loss) + " (" + why + ")");
  }
  return reference;
}

}  // namespace nas::search
