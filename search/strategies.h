#pragma once
#include <string>
#include <vector>

#include "search/strategy.h"
#include "space/base/result.h"

namespace nas::search {

// What a user may set of any strategy; each takes what it knows. 0: the strategy's own default.
struct StrategyConfig {
  std::string name = "nsga2";
  std::size_t population = 0;
  std::size_t batch = 0;
  double mutation = 0;
  double crossover = 0.9;
  std::size_t levels = 0;       // of the grid
  std::size_t generations = 0;  // of the once-for-all evolution
};

// "random", "grid", "exhaustive", "ageing-evolution", "ofa-evolution", "nsga2", "sms-emoa", …
std::vector<std::string> strategy_names();
// Fails (usage) on an unknown name, suggesting the nearest.
Result<Strategy> make_strategy(const StrategyConfig& config, const Setting& setting);

}  // namespace nas::search
