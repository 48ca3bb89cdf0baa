#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/search_config.h"
#include "apps/search_ledger.h"
#include "search/exact.h"
#include "search/hypervolume.h"
#include "search/plain_search.h"
#include "search/text.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using search::Row;
namespace fs = std::filesystem;

struct SearchArguments {
  std::string config;
  std::vector<std::string> settings;
  std::optional<std::uint64_t> seed;
  std::string budget;
  std::string name;
  bool dry_run = false;
  bool keep_all = false;
};

struct FrontArguments {
  std::string run;
  std::vector<std::string> max;
  std::vector<std::string> min;
};

std::vector<Column> front_columns(const search::Judge& judge) {
  std::vector<Column> columns{{"number", "#"}};
  for (const search::Metric& m : judge.metrics()) columns.push_back({m.name, m.name, m.unit});
  columns.push_back({"arch", "architecture"});
  return columns;
}

std::vector<Record> front_records(const search::History& history, const std::vector<Row>& rows,
                                  const std::vector<std::string>& texts) {
  std::vector<Record> records;
  for (const Row row : rows) {
    Record record{{"number", row}};
    for (std::size_t m = 0; m < history.judge().metrics().size(); ++m) {
      record[history.judge().metrics()[m].name] = history.values(row)[m];
    }
    record["arch"] = texts[row];
    record["origin"] = std::string(to_string(history.info(row).origin));
    records.push_back(std::move(record));
  }
  return records;
}

void say_reach(const Context& context, const search::Feasibility& feasible) {
  if (context.quiet) return;
  for (const search::Reach& r : feasible.reach)
    std::fprintf(stderr, "%s: reachable %s to %s%s\n", r.metric.c_str(), search::number(r.min).c_str(),
                 search::number(r.max).c_str(), r.exact ? " (exact)" : " (bounds)");
}

// How far the run's best is from the true optimum of the first objective, where both are known exactly.
Result<std::optional<double>> optimality_gap(const SearchPlan& plan, const search::Run& run) {
  const auto& objective = plan.judge.problem().objectives[0];
  const auto best = run.history.best();
  std::vector<search::Additive> costs;
  search::ExactOptions exact;
  const auto known = [&](const std::string& metric) -> const search::Additive* {
    const auto found = std::ranges::find(plan.known, metric, &search::KnownCost::metric);
    return found == plan.known.end() ? nullptr : &found->cost;
  };
  if (!best || known(objective.metric) == nullptr) return std::optional<double>();
  const double sign = objective.goal == search::Goal::maximise ? -1 : 1;
  costs.push_back(known(objective.metric)->scaled(sign));
  exact.limits.push_back(1e300);
  for (const auto& c : plan.judge.problem().constraints) {
    const search::Additive* cost = known(c.metric);
    if (cost == nullptr) return std::optional<double>();
    if (c.max) costs.push_back(*cost), exact.limits.push_back(*c.max);
    if (c.min) costs.push_back(cost->scaled(-1)), exact.limits.push_back(-*c.min);
  }
  NAS_TRY(front, search::exact_front(plan.space, costs, exact));
  const double optimum = front.values(0)[0], gap = run.history.losses(*best)[0] - optimum;
  return std::optional(gap <= 1e-9 * std::abs(optimum) ? 0.0 : gap);
}

void say_end(const Context& context, const search::Run& run) {
  if (context.quiet) return;
  std::fprintf(stderr, "%zu candidates (%zu asked, %zu failed) in %.2f s, ended by %s, hypervolume %s\n",
               run.progress.evaluations, run.progress.proposals, run.progress.failed, run.progress.seconds,
               std::string(to_string(run.ending)).c_str(), search::number(run.progress.hypervolume).c_str());
}

Result<int> dry_run(const Context& context, const SearchPlan& plan) {
  const auto setting = search::make_setting(plan.space, plan.judge, plan.seed, nullptr, plan.listing);
  const search::ExhaustiveSearch all(
      setting, 1, plan.strategy.name == "grid" ? std::max<std::size_t>(plan.strategy.levels, 2) : 0);
  // One candidate tells what an evaluation costs.
  search::Scores scores;
  scores.reset(1, plan.evaluator.metrics.size());
  const Genotype probe = plan.listing ? (*plan.listing)[0] : plan.space.smallest();
  const double before = static_cast<double>(std::clock());
  search::guarded(plan.evaluator).score({&probe, 1}, 1, scores);
  const double seconds = (static_cast<double>(std::clock()) - before) / CLOCKS_PER_SEC;
  const bool whole = plan.strategy.name == "exhaustive" || plan.strategy.name == "grid";
  const double networks = plan.listing ? static_cast<double>(plan.listing->size()) : all.count();
  const double asked = static_cast<double>(plan.options.budget.evaluations);
  const double evaluations = whole ? std::min(networks, asked) : asked;
  print_record(context,
               {{"space", "space"},
                {"strategy", "strategy"},
                {"networks", "networks to choose from"},
                {"budget", "budget"},
                {"evaluations", "evaluations at most"},
                {"seconds", "evaluator time at most (from one)", "s"}},
               {{"space", plan.space.name()},
                {"strategy", plan.strategy.name},
                {"networks", networks},
                {"budget", to_string(plan.options.budget)},
                {"evaluations", evaluations},
                {"seconds", evaluations * seconds}});
  return 0;
}

// What the run came to, for people; its exit code.
Result<int> say_results(const Context& context, const SearchPlan& plan, const search::Run& run,
                        const fs::path& path) {
  say_end(context, run);
  std::vector<std::string> texts;
  for (Row row = 0; row < run.history.size(); ++row)
    texts.push_back(plan.space.text(run.history.genotype(row)));
  print_records(context, front_columns(plan.judge), front_records(run.history, run.history.front(), texts));
  NAS_TRY(gap, optimality_gap(plan, run));
  if (gap && !context.quiet)
    std::fprintf(stderr, "optimality gap of %s against the exact optimum of its model: %s\n",
                 plan.judge.problem().objectives[0].metric.c_str(), search::number(*gap).c_str());
  std::fprintf(stderr, "run kept in %s\n", path.string().c_str());
  for (Row row = 0; row < run.history.size(); ++row)
    if (run.history.failed(row)) {
      std::fprintf(stderr, "%zu candidates failed, the first: %s\n", run.progress.failed,
                   std::string(run.history.reason(row)).c_str());
      break;
    }
  if (!run.history.best()) {
    std::fprintf(stderr, "nothing satisfies the constraints\n");
    return 3;
  }
  return run.progress.failed > 0 ? 6 : 0;
}

// Runs or continues the search in its folder, and keeps it in the project's store.
Result<int> search_in(const Context& context, SearchPlan& plan, search::Strategy& strategy,
                      search::RunFolder& folder, const fs::path& path, const SearchArguments& arguments) {
  SearchLedger ledger(context, plan, path, fs::absolute(arguments.config).parent_path(),
                      !fs::exists(path / "candidates.jsonl"), arguments.keep_all);
  plan.options.journal = ledger.journal(folder.journal());
  const auto searched = [&]() -> Result<int> {
    NAS_TRY(run, search::run_search(plan.space, plan.judge, plan.evaluator, strategy, plan.options,
                                    folder.resume()));
    NAS_CHECK(folder.write_front(run));
    ledger.finish(run);
    return say_results(context, plan, run, path);
  };
  auto result = ledger.end(searched());
  if (context.verbosity > 0) std::fprintf(stderr, "the store took %.3f s\n", ledger.seconds());
  return result;
}

Result<int> run_search_command(const Context& context, const SearchArguments& arguments) {
  NAS_TRY(plan, read_search_plan(arguments.config, arguments.settings, arguments.seed, arguments.budget,
                                 context.project));
  for (const std::string& note : plan.notes)
    if (!context.quiet) std::fprintf(stderr, "%s\n", note.c_str());
  NAS_TRY(feasible, search::check_feasible(plan.space, plan.judge, plan.known));
  say_reach(context, feasible);
  if (arguments.dry_run) return dry_run(context, plan);
  const auto setting = search::make_setting(plan.space, plan.judge, plan.seed, feasible.screen, plan.listing);
  const search::Models models{plan.judge, plan.known};
  NAS_TRY(strategy, search::make_strategy(plan.strategy, setting, &models));
  search::RunRecord record{plan.space.name(),    plan.strategy.name,     plan.seed, plan.config,
                           plan.judge.problem(), plan.evaluator.metrics, {}};
  for (const Gene& gene : plan.space.genes()) record.genes.push_back(gene.name);
  const fs::path path =
      fs::path(context.project) / "runs" / (arguments.name.empty() ? plan.name : arguments.name);
  NAS_TRY(lock, FolderLock::take(path));
  NAS_TRY(folder, search::RunFolder::open(path, plan.space, record));
  if (!context.quiet && isatty(STDERR_FILENO))
    plan.options.progress = [](const search::Progress& p) {
      std::fprintf(stderr, "\r%zu candidates, hypervolume %s, %.0f s left   ", p.evaluations,
                   search::number(p.hypervolume).c_str(), p.remaining_seconds.value_or(0));
    };
  return search_in(context, plan, strategy, folder, path, arguments);
}

// "latency_ms=8" as a further limit.
Result<void> add_limit(search::Problem& problem, const std::string& text, bool is_max) {
  const std::size_t equals = text.find('=');
  char* end = nullptr;
  const double value = equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, &end);
  if (end == nullptr || *end != 0 || equals + 1 == text.size())
    return usage_error("limit \"" + text + "\": required like latency_ms=8");
  search::Constraint constraint{text.substr(0, equals), {}, {}};
  (is_max ? constraint.max : constraint.min) = value;
  problem.constraints.push_back(std::move(constraint));
  return {};
}

Result<int> front_command(const Context& context, const FrontArguments& arguments) {
  NAS_TRY(run, search::load_run(run_folder(context.project, arguments.run)));
  search::Problem problem = run.record.problem;
  for (const std::string& text : arguments.max) NAS_CHECK(add_limit(problem, text, true));
  for (const std::string& text : arguments.min) NAS_CHECK(add_limit(problem, text, false));
  NAS_TRY(judge, search::Judge::make(problem, run.record.metrics));
  search::History limited(run.history.gene_count(), judge);
  for (Row row = 0; row < run.history.size(); ++row) {
    const Row copy = limited.open(run.history.genes(row), {run.history.info(row).fidelity, 0, -1, -1, 0, -1,
                                                           run.history.info(row).origin});
    if (run.history.failed(row))
      limited.settle_failed(copy, run.history.reason(row));
    else
      limited.settle(copy, run.history.values(row));
  }
  const auto front = limited.front();
  print_records(context, front_columns(judge), front_records(limited, front, run.texts));
  if (!front.empty()) return 0;
  std::fprintf(stderr, "nothing satisfies the constraints\n");
  return 3;
}

// Losses of a front under another run's question; empty where a metric is missing.
std::vector<double> front_losses(const search::LoadedRun& run) {
  std::vector<double> flat;
  for (const Row row : run.history.front())
    flat.insert(flat.end(), run.history.losses(row).begin(), run.history.losses(row).end());
  return flat;
}

Result<int> compare_command(const Context& context, const std::vector<std::string>& names) {
  std::vector<search::LoadedRun> runs;
  for (const std::string& name : names) {
    NAS_TRY(run, search::load_run(run_folder(context.project, name)));
    runs.push_back(std::move(run));
    const auto same = [](const search::Objective& a, const search::Objective& b) {
      return a.metric == b.metric && a.goal == b.goal;
    };
    if (!std::ranges::equal(runs[0].record.problem.objectives, runs.back().record.problem.objectives, same))
      return usage_error("runs " + names[0] + " and " + name +
                         " have different objectives; their fronts do not compare");
  }
  // One reference for all: the worst of all fronts, 10 % beyond.
  const std::size_t d = runs[0].history.judge().objectives();
  std::vector<double> worst(d, -1e300), best(d, 1e300);
  for (const auto& run : runs) {
    const std::vector<double> flat = front_losses(run);
    for (std::size_t i = 0; i < flat.size(); ++i) {
      worst[i % d] = std::max(worst[i % d], flat[i]);
      best[i % d] = std::min(best[i % d], flat[i]);
    }
  }
  for (std::size_t k = 0; k < d; ++k) worst[k] += 0.1 * std::max(worst[k] - best[k], 1e-12);
  std::vector<Record> records;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const std::vector<double> flat = front_losses(runs[r]);
    std::size_t shared = 0;
    for (Row row = 0; row < runs[r].history.size(); ++row)
      shared += runs[0].history.gene_count() == runs[r].history.gene_count() &&
                runs[0].history.find(runs[r].history.genes(row)).has_value();
    records.push_back({{"run", names[r]},
                       {"strategy", runs[r].record.strategy},
                       {"seed", runs[r].record.seed},
                       {"candidates", runs[r].history.size()},
                       {"front", flat.size() / d},
                       {"hypervolume", search::hypervolume({flat, d}, worst)},
                       {"shared", shared}});
  }
  print_records(context,
                {{"run", "run"},
                 {"strategy", "strategy"},
                 {"seed", "seed"},
                 {"candidates", "candidates"},
                 {"front", "on the front"},
                 {"hypervolume", "hypervolume"},
                 {"shared", "shared with the first"}},
                records);
  return 0;
}

}  // namespace

void add_search_commands(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<SearchArguments>();
  auto* search = add_command(
      app, "search", "Find the networks with the best trade-off under limits",
      {"hwnas search search.json", "hwnas search search.json --set strategy.name=nsga2 --seed 2 --dry-run"});
  search->add_option("config", arguments->config, "The search's configuration (JSON with comments)")
      ->required();
  search->add_option("--set", arguments->settings, "Change a value: strategy.population=64");
  search->add_option("--seed", arguments->seed, "Seed of every random draw");
  search->add_option("--budget", arguments->budget, "500evals, 2h, or 2h|500evals");
  search->add_option("--name", arguments->name, "Name of the run's folder under runs/");
  search->add_flag("--keep-all", arguments->keep_all,
                   "Store every candidate, also those that models scored (default: only the front of these)");
  search->add_flag("--dry-run", arguments->dry_run, "Say what would be done and what it costs");
  search->callback([&context, arguments] {
    context.action = [&context, arguments] { return run_search_command(context, *arguments); };
  });

  auto limits = std::make_shared<FrontArguments>();
  auto* front = add_command(app, "front", "The feasible front of a run, also of one that still runs",
                            {"hwnas front RUN", "hwnas front RUN --max latency_ms=8 -f json"});
  front->add_option("run", limits->run, "Name or folder of the run")->required();
  front->add_option("--max", limits->max, "Further limit: latency_ms=8");
  front->add_option("--min", limits->min, "Further limit: accuracy=0.7");
  front->callback([&context, limits] {
    context.action = [&context, limits] { return front_command(context, *limits); };
  });

  auto names = std::make_shared<std::vector<std::string>>();
  auto* compare =
      add_command(app, "compare", "Fronts of several runs side by side", {"hwnas compare RUN RUN"});
  compare->add_option("runs", *names, "Names or folders of runs")->required()->expected(2, 100);
  compare->callback(
      [&context, names] { context.action = [&context, names] { return compare_command(context, *names); }; });
}

}  // namespace nas::apps
