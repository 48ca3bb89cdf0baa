#pragma once
#include <nlohmann/json_fwd.hpp>

#include <variant>
#include <vector>

#include "search/policy.h"
#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// REINFORCE (Williams 1992) on the first objective: the policy's parameters follow (R - b) grad log p. R is
// minus the first loss, scaled by the spread of the first batch, less the violation; failed candidates get
// the batch's worst reward.
struct ReinforceOptions {
  std::size_t batch = 20;
  double rate = 0.05;      // of Adam
  double entropy = 0.01;   // bonus that keeps the policy curious
  double baseline = 0.9;   // decay
  double penalty = 15;     // reward per unit of violation
  std::size_t hidden = 0;  // of the LSTM; 0: independent logits
};

class Reinforce {
 public:
  Reinforce(Setting setting, ReinforceOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  std::vector<double> rewards(const History& history, std::span<const Row> rows);
  Policy& policy();
  const Policy& policy() const;
  Variation variation_;
  ReinforceOptions options_;
  std::variant<FactorisedPolicy, LstmPolicy> policy_;
  Adam adam_;
  Baseline baseline_;
  double shift_ = 0, scale_ = 0;  // of the loss; scale 0: not set yet
  std::uint64_t step_ = 0;
};

}  // namespace nas::search
