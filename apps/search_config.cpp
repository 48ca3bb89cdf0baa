#include "apps/search_config.h"

#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;

// "a.b=1" into the merged text: the value is JSON where it parses, else a string.
Result<void> apply_setting(nlohmann::json& root, const std::string& setting) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0)
    return usage_error("--set " + setting + ": required like strategy.population=64");
  std::string pointer = "/" + setting.substr(0, equals);
  std::replace(pointer.begin(), pointer.end(), '.', '/');
  const std::string text = setting.substr(equals + 1);
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) value = text;
  try {
    root[nlohmann::json::json_pointer(pointer)] = value;
  } catch (const nlohmann::json::exception& e) {
    return usage_error("--set " + setting + ": " + e.what());
  }
  return {};
}

search::Problem read_question(JsonReader& reader) {
  search::Problem problem;
  for (JsonReader& one : reader.objects("objectives", true)) {
    const std::string metric = one.text("metric");
    problem.objectives.push_back({metric, *search::parse_goal(one.word("goal", {"min", "max"})), {}});
    if (one.has("worst")) problem.objectives.back().worst = one.number("worst", -1e300, 1e300);
    one.done();
  }
  for (JsonReader& one : reader.objects("constraints")) {
    search::Constraint constraint{one.text("metric"), {}, {}};
    if (one.has("min")) constraint.min = one.number("min", -1e300, 1e300);
    if (one.has("max")) constraint.max = one.number("max", -1e300, 1e300);
    one.done();
    problem.constraints.push_back(std::move(constraint));
  }
  return problem;
}

search::StrategyConfig read_strategy(JsonReader reader) {
  search::StrategyConfig config;
  const auto count = [&](const char* key, std::size_t fallback) {
    return static_cast<std::size_t>(reader.integer(key, 0, 1'000'000, static_cast<std::int64_t>(fallback)));
  };
  config.name = reader.word("name", search::strategy_names(), config.name);
  config.population = count("population", config.population);
  config.batch = count("batch", config.batch);
  config.mutation = reader.number("mutation", 0, 1, config.mutation);
  config.crossover = reader.number("crossover", 0, 1, config.crossover);
  config.levels = count("levels", config.levels);
  config.generations = count("generations", config.generations);
  config.cost_weight = reader.number("cost_weight", 0, 1e6, config.cost_weight);
  config.cost_form = reader.word("cost_form", {"add", "mul"}, config.cost_form);
  config.updates = count("updates", config.updates);
  reader.done();
  return config;
}

// What stands at the top of the file, in its order; "problem" is left to the caller.
struct TopKeys {
  std::string name, budget;
  std::uint64_t seed = 1;
  std::string shard;
  search::Problem question;
  search::StrategyConfig strategy;
  std::int64_t stall = 0;
};

TopKeys read_top(JsonReader& reader, const std::string& name) {
  TopKeys top;
  reader.raw("$schema");
  top.name = reader.text("name", name);
  top.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, 1));
  top.budget = reader.text("budget", search::kDefaultBudget);
  top.shard = reader.text("shard", "1/1");
  top.question = read_question(reader);
  top.strategy = read_strategy(reader.object("strategy"));
  top.stall = reader.integer("stall", 0, INT64_MAX, 0);
  return top;
}

Result<SearchProblem> read_problem(JsonReader& reader, const fs::path& base, const fs::path& project) {
  const std::string kind = reader.word("kind", {"networks", "supernet", "csv", "closed-form"});
  if (kind == "networks") return network_problem(reader, base, project);
  if (kind == "supernet") return supernet_problem(reader, base, project);
  if (kind == "csv") return table_problem(reader, base);
  return closed_form_problem(reader);
}

Result<search::Feasibility> check_limits(const SearchProblem& problem, const search::Judge& judge) {
  if (!problem.listing)
    return search::check_feasible(problem.space, judge, problem.known, problem.peaks, problem.bounds);
  NAS_TRY(reach, search::check_listed(judge, problem.evaluator, *problem.listing));
  return search::Feasibility{std::move(reach), nullptr};
}

search::RunRecord record_of(const SearchPlan& plan, const SearchConfig& config) {
  search::RunRecord record{plan.problem.space.name(),
                           plan.strategy.name,
                           plan.seed,
                           config.document.root().dump(),
                           plan.judge.problem(),
                           plan.problem.evaluator.metrics,
                           {},
                           plan.reference.losses,
                           config.base};
  for (const Gene& gene : plan.problem.space.genes()) record.genes.push_back(gene.name);
  return record;
}

}  // namespace

void read_search_keys(const JsonDocument& document) {
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  read_top(reader, "the file's name");
  JsonReader problem = reader.object("problem", true);
  static_cast<void>(read_problem(problem, "", ""));
}

bool SearchConfig::needs_torch() const {
  const auto& root = document.root();
  const auto problem = root.find("problem");
  return problem != root.end() && problem->is_object() &&
         problem->value("kind", nlohmann::json()) == "supernet";
}

Result<SearchConfig> load_search_config(const std::string& path, const SearchChanges& changes,
                                        const fs::path& project) {
  NAS_TRY(document, JsonDocument::load(path));
  if (!changes.settings.empty() || changes.seed || !changes.budget.empty() || !changes.shard.empty()) {
    nlohmann::json merged = document.root();
    for (const std::string& setting : changes.settings) NAS_CHECK(apply_setting(merged, setting));
    if (changes.seed) merged["seed"] = *changes.seed;
    if (!changes.budget.empty()) merged["budget"] = changes.budget;
    if (!changes.shard.empty()) merged["shard"] = changes.shard;
    NAS_TRY(changed, JsonDocument::parse(merged.dump(1), path + " (with --set)"));
    document = std::move(changed);
  }
  const fs::path folder = fs::absolute(path).parent_path().lexically_normal();
  const fs::path inside = folder.lexically_relative(fs::absolute(project).lexically_normal());
  const bool outside = inside.empty() || *inside.begin() == "..";
  return SearchConfig{std::move(document), fs::path(path).stem().string(),
                      outside ? folder.string() : inside.string()};
}

Result<SearchConfig> search_config_of(const search::RunRecord& record, const fs::path& folder) {
  if (record.base.empty())
    return usage_error(
        "the run was made by an older hwnas and does not say where its files are; "
        "run its search again",
        folder.string());
  NAS_TRY(document, JsonDocument::parse(record.config, (folder / "run.json").string()));
  return SearchConfig{std::move(document), folder.filename().string(), record.base};
}

Result<search::Strategy> SearchPlan::make_strategy() const {
  const auto setting = search::make_setting(problem.space, judge, seed, feasible.screen, problem.listing);
  if (!shard.is_all())
    return search::make_sharded(strategy, setting, judge, shard, options.budget.evaluations);
  const search::Models models{judge,
                              problem.known,
                              problem.peaks,
                              problem.stand_ins,
                              problem.relaxed_loss,
                              problem.evaluator.metrics.front().name};
  return search::make_strategy(strategy, setting, &models);
}

Result<SearchPlan> make_search_plan(const SearchConfig& config, const fs::path& project) {
  std::vector<Error> errors;
  JsonReader reader(config.document, errors);
  const TopKeys top = read_top(reader, config.name);
  JsonReader problem_reader = reader.object("problem", true);
  // Messages name files as a user would.
  const fs::path base = (project / config.base).lexically_normal();
  auto problem = read_problem(problem_reader, base == "." ? fs::path() : base, project);
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  if (!problem) return problem.error();
  NAS_TRY(limits, search::parse_budget(top.budget));
  NAS_TRY(judge, search::Judge::make(top.question, problem->evaluator.metrics));
  NAS_TRY(feasible, check_limits(*problem, judge));
  auto reference =
      search::problem_reference(problem->space, judge, feasible.reach,
                                problem->probe.score ? problem->probe : problem->evaluator, problem->listing);
  NAS_TRY(shard, parse_shard(top.shard));
  SearchPlan plan{top.name + shard.suffix(),
                  std::move(*problem),
                  std::move(judge),
                  std::move(feasible),
                  top.strategy,
                  {},
                  std::move(reference),
                  top.seed,
                  shard,
                  {}};
  plan.options.budget = limits;
  plan.options.stall.evaluations = static_cast<std::size_t>(top.stall);
  plan.options.reference = plan.reference.losses;
  plan.record = record_of(plan, config);
  return plan;
}

}  // namespace nas::apps
