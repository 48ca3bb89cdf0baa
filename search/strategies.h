#pragma once
#include <string>
#include <vector>

#include "search/feasibility.h"
#include "search/gradient_search.h"
#include "search/strategy.h"
#include "space/base/result.h"
#include "space/shard.h"

namespace nas::search {

// What a user may set of any strategy; each takes what it knows. 0: the strategy's own default.
struct StrategyConfig {
  std::string name = "nsga2";
  std::size_t population = 0;
  std::size_t batch = 0;
  double mutation = 0;
  double crossover = 0.9;
  std::size_t levels = 0;         // of the grid
  std::size_t generations = 0;    // of the once-for-all evolution
  double cost_weight = 0.5;       // of the limited cost in the gradient's loss
  std::string cost_form = "add";  // or "mul": how that cost enters the loss
  std::size_t updates = 0;        // of the gradient's logits per step
};

// What the strategies that need a model of the objectives ("exact", "gradient") read.
struct Models {
  const Judge& judge;
  std::span<const KnownCost> known;
  std::span<const KnownPeak> peaks = {};  // upper limits on them are kept exactly
  // Separable stand-ins for metrics that are no sums: steer the search, prove nothing.
  std::span<const KnownCost> stand_ins = {};
  // The relaxed loss behind `relaxed_metric`, where the evaluator has one (a supernet's path gates).
  Relaxed relaxed_loss = nullptr;
  std::string relaxed_metric = {};
};

// "random", "grid", "exhaustive", "ageing-evolution", "ofa-evolution", "nsga2", "sms-emoa", …
std::vector<std::string> strategy_names();
// Fails (usage) on an unknown name, suggesting the nearest, and on a strategy whose models are missing.
Result<Strategy> make_strategy(const StrategyConfig& config, const Setting& setting,
                               const Models* models = nullptr);
// One shard of what the strategy would ask for within `evaluations`: all shards together ask for exactly
// that. Fails (usage) where what it asks hangs on answers: only random, grid and exhaustive do not look at
// them.
Result<Strategy> make_sharded(const StrategyConfig& config, const Setting& setting, const Judge& judge,
                              Shard shard, std::size_t evaluations);

}  // namespace nas::search
