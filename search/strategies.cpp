#include "search/strategies.h"

#include <functional>
#include <utility>

#include "search/evolution.h"
#include "search/genetic.h"
#include "search/local_search.h"
#include "search/plain_search.h"
#include "search/predictor_search.h"
#include "search/text.h"
#include "space/json/document.h"

namespace nas::search {
namespace {

using Make = std::function<Strategy(const StrategyConfig&, const Setting&)>;

std::size_t or_else(std::size_t value, std::size_t fallback) { return value > 0 ? value : fallback; }

Strategy genetic(const StrategyConfig& c, const Setting& s, Survival survival) {
  return {c.name, GeneticSearch(s, {or_else(c.population, 40), c.crossover, c.mutation, survival})};
}

// The explicit list: a new strategy is one line here.
const std::vector<std::pair<std::string, Make>>& makers() {
  static const std::vector<std::pair<std::string, Make>> kMakers = {
      {"random",
       [](const auto& c, const auto& s) { return Strategy(c.name, RandomSearch(s, or_else(c.batch, 32))); }},
      {"exhaustive",
       [](const auto& c, const auto& s) {
         return Strategy(c.name, ExhaustiveSearch(s, or_else(c.batch, 64)));
       }},
      {"grid",
       [](const auto& c, const auto& s) {
         return Strategy(c.name, ExhaustiveSearch(s, or_else(c.batch, 64), or_else(c.levels, 2)));
       }},
      {"ageing-evolution",
       [](const auto& c, const auto& s) {
         return Strategy(
             c.name, AgeingEvolution(s, {or_else(c.population, 50), 12, or_else(c.batch, 8), c.mutation}));
       }},
      {"ofa-evolution",
       [](const auto& c, const auto& s) {
         OfaOptions options;
         options.population = or_else(c.population, options.population);
         options.mutation = c.mutation > 0 ? c.mutation : options.mutation;
         options.generations = c.generations;
         return Strategy(c.name, OfaEvolution(s, options));
       }},
      {"nsga2", [](const auto& c, const auto& s) { return genetic(c, s, Survival::crowding); }},
      {"sms-emoa", [](const auto& c, const auto& s) { return genetic(c, s, Survival::hypervolume); }},
      {"local-search",
       [](const auto& c, const auto& s) {
         return Strategy(c.name, LocalSearch(s, or_else(c.population, 16)));
       }},
      {"predictor",
       [](const auto& c, const auto& s) {
         PredictorOptions options;
         options.initial = or_else(c.population, options.initial);
         options.batch = or_else(c.batch, options.batch);
         return Strategy(c.name, PredictorSearch(s, options));
       }},
      {"successive-halving",
       [](const auto& c, const auto& s) {
         HalvingOptions options;
         options.networks = or_else(c.population, options.networks);
         return Strategy(c.name, SuccessiveHalving(s, options));
       }},
  };
  return kMakers;
}

}  // namespace

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers()) names.push_back(name);
  return names;
}

Result<Strategy> make_strategy(const StrategyConfig& config, const Setting& setting) {
  for (const auto& [name, make] : makers())
    if (name == config.name) return make(config, setting);
  const std::string near = nearest(config.name, strategy_names());
  return usage_error("unknown strategy \"" + config.name + "\"" +
                     (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " (there are " +
                     join(strategy_names()) + ")");
}

}  // namespace nas::search
