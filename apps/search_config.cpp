#include "apps/search_config.h"

#include <filesystem>

#include "apps/network_problem.h"
#include "space/base/file.h"
#include "space/cost.h"
#include "space/json/document.h"

namespace nas::apps {
namespace {

using search::Metric;

// The part of the plan that comes from "problem".
struct ProblemParts {
  SearchSpace space;
  search::Evaluator evaluator;
  std::vector<search::KnownCost> known;
  std::shared_ptr<const search::Listing> listing;
  std::vector<std::string> notes = {};
};

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

std::vector<Metric> read_metrics(JsonReader& reader, std::map<std::string, std::string>& columns) {
  std::vector<Metric> metrics;
  for (JsonReader& one : reader.objects("metrics", true)) {
    Metric metric{one.text("name"), one.text("unit", ""), search::Source::measured};
    const std::string source = one.word("source", {"measured", "predicted", "modelled"}, "measured");
    metric.source = *search::parse_source(source);
    columns[metric.name] = one.text("column", metric.name);
    one.done();
    metrics.push_back(std::move(metric));
  }
  return metrics;
}

// A closed form for trying strategies without a supernet: exact MACs and parameters of the space, and a
// "proxy" that grows with every active choice by seeded, saturating steps. The proxy is made up: modelled.
Result<ProblemParts> closed_form(const std::string& space_name, std::uint64_t seed) {
  NAS_TRY(space, load_space(space_name));
  const std::vector<std::string> names{"macs_m", "params_m"};
  const auto costs = [space](const Genotype& g, std::span<double> out) {
    const Network network = space.lower(g);
    out[0] = 1e-6 * static_cast<double>(macs(network).count());
    out[1] = 1e-6 * static_cast<double>(params(network).count());
  };
  std::vector<search::KnownCost> known;
  auto compiled = search::compile_additive(space, costs, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!compiled[i]) return compiled[i].error();
    known.push_back({names[i], *compiled[i]});
  }
  std::vector<search::Term> terms;
  for (std::uint32_t gene = 0; gene < space.genes().size(); ++gene) {
    Rng rng(seed, "closed form", gene);
    search::Term term{{gene}, {0.0}};
    double step = rng.uniform(0.2, 1.0);
    for (std::size_t i = 1; i < space.genes()[gene].choices.size(); ++i, step *= 0.6)
      term.table.push_back(term.table.back() + step);
    terms.push_back(std::move(term));
  }
  NAS_TRY(proxy, search::Additive::make(space, 0, std::move(terms)));
  known.push_back({"proxy", proxy});
  search::Evaluator evaluator{{{"proxy", "", search::Source::modelled},
                               {"macs_m", "MMACs", search::Source::modelled},
                               {"params_m", "M", search::Source::modelled}},
                              search::ThreadSafety::concurrent,
                              nullptr};
  evaluator.score = [known](std::span<const Genotype> batch, double, search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      scores.row(i)[0] = known[2].cost(batch[i]);
      scores.row(i)[1] = known[0].cost(batch[i]);
      scores.row(i)[2] = known[1].cost(batch[i]);
    }
  };
  return ProblemParts{std::move(space), std::move(evaluator), std::move(known), nullptr};
}

Result<ProblemParts> read_problem(JsonReader& reader, const std::string& base, const std::string& project) {
  const std::string kind = reader.word("kind", {"networks", "csv", "closed-form"});
  if (kind == "networks") {
    NAS_TRY(problem, read_network_problem(reader, base, project));
    return ProblemParts{std::move(problem.space), std::move(problem.evaluator), std::move(problem.known),
                        nullptr, std::move(problem.notes)};
  }
  if (kind == "csv") {
    std::map<std::string, std::string> columns;
    std::filesystem::path file = reader.text("file");
    if (file.is_relative()) file = std::filesystem::path(base) / file;
    const auto genes = reader.texts("genes");
    const auto metrics = read_metrics(reader, columns);
    reader.done();
    NAS_TRY(problem, search::csv_problem(file.string(), genes, metrics, columns));
    return ProblemParts{
        std::move(problem.space), std::move(problem.evaluator), {}, std::move(problem.listing)};
  }
  const std::string space = reader.text("space", "ofa-mbv3-w1.0");
  const auto seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, 1));
  reader.done();
  return closed_form(space, seed);
}

search::Problem read_question(JsonReader& reader) {
  search::Problem problem;
  for (JsonReader& one : reader.objects("objectives", true)) {
    const std::string metric = one.text("metric");
    problem.objectives.push_back({metric, *search::parse_goal(one.word("goal", {"min", "max"}))});
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
  reader.done();
  return config;
}

// What stands at the top of the file, in its order; "problem" is left to the caller.
struct TopKeys {
  std::string name, budget;
  std::uint64_t seed = 1;
  search::Problem question;
  search::StrategyConfig strategy;
  std::int64_t stall = 0;
};

TopKeys read_top(JsonReader& reader, const std::string& name) {
  TopKeys top;
  reader.raw("$schema");
  top.name = reader.text("name", name);
  top.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, 1));
  top.budget = reader.text("budget", "1000evals");
  top.question = read_question(reader);
  top.strategy = read_strategy(reader.object("strategy"));
  top.stall = reader.integer("stall", 0, INT64_MAX, 0);
  return top;
}

}  // namespace

void read_search_keys(const JsonDocument& document) {
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  read_top(reader, "the file's name");
  JsonReader problem = reader.object("problem", true);
  static_cast<void>(read_problem(problem, "", ""));
}

Result<SearchPlan> read_search_plan(const std::string& path, const std::vector<std::string>& settings,
                                    std::optional<std::uint64_t> seed, const std::string& budget,
                                    const std::string& project) {
  NAS_TRY(document, JsonDocument::load(path));
  if (!settings.empty() || seed || !budget.empty()) {
    nlohmann::json merged = document.root();
    for (const std::string& setting : settings) NAS_CHECK(apply_setting(merged, setting));
    if (seed) merged["seed"] = *seed;
    if (!budget.empty()) merged["budget"] = budget;
    NAS_TRY(changed, JsonDocument::parse(merged.dump(1), path + " (with --set)"));
    document = std::move(changed);
  }
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  TopKeys top = read_top(reader, std::filesystem::path(path).stem().string());
  JsonReader problem_reader = reader.object("problem", true);
  const auto base = std::filesystem::absolute(path).parent_path().string();
  const auto parts = read_problem(problem_reader, base, project);
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  if (!parts) return parts.error();
  NAS_TRY(limits, search::parse_budget(top.budget));
  NAS_TRY(judge, search::Judge::make(top.question, parts->evaluator.metrics));
  SearchPlan plan{top.name,     parts->space,           std::move(judge), parts->evaluator,
                  parts->known, parts->listing,         top.strategy,     {},
                  top.seed,     document.root().dump(), parts->notes};
  plan.options.budget = limits;
  plan.options.stall.evaluations = static_cast<std::size_t>(top.stall);
  return plan;
}

}  // namespace nas::apps
