#include "search/strategies.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "search/evolution.h"
#include "search/exact.h"
#include "search/genetic.h"
#include "search/gradient_search.h"
#include "search/local_search.h"
#include "search/plain_search.h"
#include "search/predictor_search.h"
#include "search/reinforce.h"
#include "search/run.h"
#include "search/text.h"
#include "space/json/document.h"

namespace nas::search {
namespace {

using Make = std::function<Strategy(const StrategyConfig&, const Setting&)>;

std::size_t or_else(std::size_t value, std::size_t fallback) { return value > 0 ? value : fallback; }

Strategy genetic(const StrategyConfig& c, const Setting& s, Survival survival) {
  return {c.name, GeneticSearch(s, {or_else(c.population, 40), c.crossover, c.mutation, survival})};
}

// Of a table of measurements only its rows are worth asking for.
Strategy enumerate(const StrategyConfig& c, const Setting& s, std::size_t levels) {
  const std::size_t batch = or_else(c.batch, 64);
  if (!s.listing) return {c.name, ExhaustiveSearch(s, batch, levels)};
  std::vector<Genotype> networks;
  for (std::size_t i = 0; i < s.listing->size(); ++i) networks.push_back((*s.listing)[i]);
  return {c.name, ListedSearch(std::move(networks), Origin::enumerated, batch)};
}

Strategy reinforce(const StrategyConfig& c, const Setting& s, std::size_t hidden, double rate) {
  ReinforceOptions options;
  options.batch = or_else(c.batch, options.batch);
  options.hidden = hidden;
  options.rate = rate;
  return {c.name, Reinforce(s, options)};
}

// The explicit list: a new strategy is one line here.
const std::vector<std::pair<std::string, Make>>& makers() {
  static const std::vector<std::pair<std::string, Make>> kMakers = {
      {"random",
       [](const auto& c, const auto& s) { return Strategy(c.name, RandomSearch(s, or_else(c.batch, 32))); }},
      {"exhaustive", [](const auto& c, const auto& s) { return enumerate(c, s, 0); }},
      {"grid", [](const auto& c, const auto& s) { return enumerate(c, s, or_else(c.levels, 2)); }},
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
      {"reinforce", [](const auto& c, const auto& s) { return reinforce(c, s, 0, 0.05); }},
      {"reinforce-lstm", [](const auto& c, const auto& s) { return reinforce(c, s, 32, 0.01); }},
      {"successive-halving",
       [](const auto& c, const auto& s) {
         HalvingOptions options;
         options.networks = or_else(c.population, options.networks);
         return Strategy(c.name, SuccessiveHalving(s, options));
       }},
  };
  return kMakers;
}

// The metric's model with the sign that makes it a loss; null where it is no sum of terms.
std::optional<Additive> model_of(const Models& models, const std::string& metric, double sign) {
  for (const auto list : {models.known, models.stand_ins})
    for (const KnownCost& known : list)
      if (known.metric == metric) return known.cost.scaled(sign);
  return std::nullopt;
}

// The peak that an upper limit is on.
const Peak* peak_of(const Models& models, const Constraint& limit) {
  const auto found = std::ranges::find(models.peaks, limit.metric, &KnownPeak::metric);
  return found == models.peaks.end() || !limit.max || limit.min ? nullptr : &found->peak;
}

Error no_model(const std::string& strategy, const std::string& metric) {
  return usage_error("strategy \"" + strategy + "\" needs a model of " + metric + " that is a sum of terms");
}

// The true front of the models within the limits, as networks to evaluate.
Result<Strategy> exact_strategy(const StrategyConfig& config, const Setting& setting, const Models& models) {
  std::vector<Additive> costs;
  ExactOptions options;
  for (const Objective& o : models.judge.problem().objectives) {
    const auto cost = model_of(models, o.metric, o.goal == Goal::maximise ? -1 : 1);
    if (!cost) return no_model(config.name, o.metric);
    costs.push_back(*cost);
    options.limits.push_back(std::numeric_limits<double>::infinity());
  }
  for (const Constraint& c : models.judge.problem().constraints) {
    if (const Peak* peak = peak_of(models, c)) {
      options.peaks.push_back({*peak, *c.max});
      continue;
    }
    for (const double sign : {1.0, -1.0}) {
      const auto& limit = sign > 0 ? c.max : c.min;
      if (!limit) continue;
      const auto cost = model_of(models, c.metric, sign);
      if (!cost) return no_model(config.name, c.metric);
      // A limit on an objective bounds that dimension; another would only make the fronts larger.
      const auto& objectives = models.judge.problem().objectives;
      const auto same = std::ranges::find_if(objectives, [&](const Objective& o) {
        return o.metric == c.metric && (o.goal == Goal::minimise) == (sign > 0);
      });
      if (same != objectives.end()) {
        double& bound = options.limits[static_cast<std::size_t>(same - objectives.begin())];
        bound = std::min(bound, sign * *limit);
        continue;
      }
      costs.push_back(*cost);
      options.limits.push_back(sign * *limit);
    }
  }
  NAS_TRY(front, exact_front(setting.space, costs, options));
  std::vector<Genotype> networks;
  for (std::size_t i = 0; i < front.size(); ++i) networks.push_back(front.genotype(i));
  return Strategy(config.name, ListedSearch(std::move(networks), Origin::exact, or_else(config.batch, 64)));
}

// The first objective as a relaxed loss: the supernet's own where there is one, else the expectation of its
// model, shifted and scaled to lie in [1, 2], so that the cost's weight means the same everywhere and `mul`
// has a loss above 0.
Result<Relaxed> gradient_loss(const StrategyConfig& config, const Setting& setting, const Models& models) {
  const Objective& objective = models.judge.problem().objectives[0];
  if (models.relaxed_loss && models.relaxed_metric == objective.metric) return models.relaxed_loss;
  const auto loss = model_of(models, objective.metric, objective.goal == Goal::maximise ? -1 : 1);
  if (!loss) return no_model(config.name, objective.metric);
  NAS_TRY(reach, range(setting.space, *loss));
  const double spread = std::max(reach.max - reach.min, 1e-12);
  return Relaxed(
      [mean = expected(setting.space, loss->scaled(1 / spread)), low = reach.min / spread](
          std::span<const double> p, std::span<double> gradient) { return 1 + mean(p, gradient) - low; });
}

// The first objective against the first limited cost, the limit being the reference.
Result<Strategy> gradient_strategy(const StrategyConfig& config, const Setting& setting,
                                   const Models& models) {
  NAS_TRY(loss, gradient_loss(config, setting, models));
  GradientProblem problem{std::move(loss)};
  for (const Constraint& c : models.judge.problem().constraints) {
    if (!c.max || problem.cost || peak_of(models, c)) continue;  // peaks: the screen keeps them
    const auto cost = model_of(models, c.metric, 1);
    if (!cost) return no_model(config.name, c.metric);
    problem.cost = expected(setting.space, *cost);
    problem.reference = *c.max;
    problem.weight = config.cost_weight;
    problem.form = config.cost_form == "mul" ? CostForm::mul : CostForm::add;
  }
  GradientOptions options;
  options.batch = or_else(config.batch, options.batch);
  options.updates = or_else(config.updates, options.updates);
  return Strategy(config.name, GradientSearch(setting, std::move(problem), options));
}

}  // namespace

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : makers()) names.push_back(name);
  names.insert(names.end(), {"gradient", "exact"});
  return names;
}

Result<Strategy> make_strategy(const StrategyConfig& config, const Setting& setting, const Models* models) {
  for (const auto& [name, make] : makers())
    if (name == config.name) return make(config, setting);
  if (config.name == "gradient" || config.name == "exact") {
    if (models == nullptr)
      return usage_error("strategy \"" + config.name + "\" needs models of the objectives");
    return config.name == "exact" ? exact_strategy(config, setting, *models)
                                  : gradient_strategy(config, setting, *models);
  }
  const std::string near = nearest(config.name, strategy_names());
  return usage_error("unknown strategy \"" + config.name + "\"" +
                     (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " (there are " +
                     join(strategy_names()) + ")");
}

Result<Strategy> make_sharded(const StrategyConfig& config, const Setting& setting, const Judge& judge,
                              Shard shard, std::size_t evaluations) {
  const bool random = config.name == "random";
  if (!random && config.name != "grid" && config.name != "exhaustive")
    return usage_error("strategy \"" + config.name +
                       "\" learns from what it has asked, so its shards would not be parts of one search; "
                       "required for --shard: random, grid or exhaustive");
  if (evaluations == std::numeric_limits<std::size_t>::max())
    return usage_error("--shard: required a budget of evaluations (500evals): all shards share it");
  NAS_TRY(whole, make_strategy(config, setting));
  History asked(setting.space.genes().size(), judge);
  std::vector<Genotype> mine;
  Ask ask;
  for (std::size_t barren = 0; barren < kBarrenAsks && asked.size() < evaluations;) {
    ask.clear();
    whole.ask(asked, ask);
    if (ask.count == 0) break;
    const std::size_t before = asked.size();
    for (std::size_t i = 0; i < ask.count && asked.size() < evaluations; ++i) {
      const Genotype& g = ask.proposals[i].genotype;
      if (asked.find({g.data(), g.size()})) continue;
      asked.open({g.data(), g.size()}, {});
      if (shard.has(setting.space, g)) mine.push_back(g);
    }
    whole.tell(asked, std::vector<Row>(ask.count));
    barren = asked.size() == before ? barren + 1 : 0;
  }
  if (mine.empty())
    return usage_error("shard " + std::to_string(shard.index) + " of " + std::to_string(shard.count) +
                       " is empty: the search asks for " + std::to_string(asked.size()) + " networks in all");
  return Strategy(config.name, ListedSearch(std::move(mine), random ? Origin::random : Origin::enumerated,
                                            or_else(config.batch, 64)));
}

}  // namespace nas::search
