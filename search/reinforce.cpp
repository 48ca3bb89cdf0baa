#include "search/reinforce.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/rows_json.h"

namespace nas::search {
namespace {

using AnyPolicy = std::variant<FactorisedPolicy, LstmPolicy>;

AnyPolicy make_policy(const Setting& setting, std::size_t hidden) {
  if (hidden == 0) return FactorisedPolicy(*setting.forest);
  return LstmPolicy(*setting.forest, hidden, setting.seed);
}

}  // namespace

Reinforce::Reinforce(Setting setting, ReinforceOptions options)
    : variation_(std::move(setting)),
      options_(options),
      policy_(make_policy(variation_.setting(), options.hidden)),
      baseline_(options.baseline) {
  options_.batch = std::max<std::size_t>(options_.batch, 2);
  adam_ = Adam(policy().parameters().size(), options_.rate);
}

Policy& Reinforce::policy() {
  return std::visit([](auto& p) -> Policy& { return p; }, policy_);
}
const Policy& Reinforce::policy() const {
  return std::visit([](const auto& p) -> const Policy& { return p; }, policy_);
}

void Reinforce::ask(const History&, Ask& ask) {
  for (std::size_t i = 0; i < options_.batch; ++i) {
    Rng rng(variation_.setting().seed, "reinforce", step_, i);
    Proposal& proposal = ask.add();
    proposal.origin = Origin::policy;
    for (int tries = 0; tries < Variation::kTries; ++tries) {
      proposal.genotype = policy().sample(rng);
      if (variation_.passes(proposal.genotype)) break;
    }
    if (variation_.setting().listing)
      variation_.setting().listing->snap(proposal.genotype, rng, {});
    else
      variation_.repair(proposal.genotype, rng);
  }
}

std::vector<double> Reinforce::rewards(const History& history, std::span<const Row> rows) {
  if (scale_ == 0) {
    double sum = 0, squares = 0, n = 0;
    for (const Row row : rows) {
      if (history.failed(row)) continue;
      sum += history.losses(row)[0];
      squares += history.losses(row)[0] * history.losses(row)[0];
      ++n;
    }
    if (n > 1) {
      shift_ = sum / n;
      scale_ = std::max(std::sqrt(std::max(0.0, squares / n - shift_ * shift_)), 1e-12);
    }
  }
  std::vector<double> reward(rows.size());
  double worst = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (history.failed(rows[i]) || scale_ == 0) continue;
    reward[i] =
        (shift_ - history.losses(rows[i])[0]) / scale_ - options_.penalty * history.info(rows[i]).violation;
    worst = std::min(worst, reward[i]);
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (history.failed(rows[i])) reward[i] = worst;
  return reward;
}

void Reinforce::tell(const History& history, std::span<const Row> rows) {
  ++step_;
  if (rows.empty()) return;
  const std::vector<double> reward = rewards(history, rows);
  const double mean = std::accumulate(reward.begin(), reward.end(), 0.0) / static_cast<double>(reward.size());
  const double base = baseline_.known() ? baseline_.value() : mean;
  std::vector<double> gradient(policy().parameters().size(), 0.0);
  const double n = static_cast<double>(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    policy().log_probability(history.genotype(rows[i]), (reward[i] - base) / n, options_.entropy / n,
                             gradient);
  adam_.ascend(policy().parameters(), gradient);
  baseline_.update(mean);
}

void Reinforce::save(nlohmann::json& out) const {
  out = {{"step", step_},
         {"parameters", policy().parameters()},
         {"mean", adam_.mean()},
         {"square", adam_.square()},
         {"adam", adam_.steps},
         {"known", baseline_.known()},
         {"baseline", baseline_.value()},
         {"shift", shift_},
         {"scale", scale_}};
}

Result<void> Reinforce::load(const nlohmann::json& state) {
  const std::size_t size = policy().parameters().size();
  bool known = false;
  double value = 0;
  NAS_CHECK(read_state(state, "step", step_));
  NAS_CHECK(read_state(state, "parameters", policy().parameters()));
  NAS_CHECK(read_state(state, "mean", adam_.mean()));
  NAS_CHECK(read_state(state, "square", adam_.square()));
  NAS_CHECK(read_state(state, "adam", adam_.steps));
  NAS_CHECK(read_state(state, "known", known));
  NAS_CHECK(read_state(state, "baseline", value));
  NAS_CHECK(read_state(state, "shift", shift_));
  NAS_CHECK(read_state(state, "scale", scale_));
  if (policy().parameters().size() != size || adam_.mean().size() != size || adam_.square().size() != size)
    return Error{"saved search state: the policy has another number of parameters"};
  baseline_.restore(known, value);
  return {};
}

}  // namespace nas::search
