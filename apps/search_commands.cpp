#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/front_rows.h"
#include "apps/progress.h"
#include "apps/search_config.h"
#include "apps/search_ledger.h"
#include "apps/stop_signal.h"
#include "search/certificate.h"
#include "search/plain_search.h"
#include "search/text.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using search::Row;
namespace fs = std::filesystem;

// Rows of a front that a search ends with; `hwnas front` shows all.
constexpr std::size_t kShown = 12;

struct SearchArguments {
  std::string config;
  SearchChanges changes;
  std::string name;
  bool dry_run = false;
  bool keep_all = false;
};

struct FrontArguments {
  std::string run;
  std::vector<std::string> objectives;
  std::vector<std::string> max;
  std::vector<std::string> min;
};

void say_problem(const Context& context, const SearchPlan& plan) {
  if (context.quiet) return;
  for (const std::string& note : plan.problem.notes) std::fprintf(stderr, "%s\n", note.c_str());
  for (const search::Reach& r : plan.feasible.reach)
    if (std::isinf(r.max))
      std::fprintf(stderr, "%s: at least %s (bound)\n", r.metric.c_str(), search::number(r.min).c_str());
    else
      std::fprintf(stderr, "%s: reachable %s to %s%s\n", r.metric.c_str(), search::number(r.min).c_str(),
                   search::number(r.max).c_str(), r.exact ? " (exact)" : " (bounds)");
  std::string from;
  for (const std::string& why : plan.reference.why) from += (from.empty() ? "" : "; ") + why;
  if (!from.empty()) std::fprintf(stderr, "hypervolume is measured from %s\n", from.c_str());
}

void say_end(const Context& context, const search::Run& run) {
  if (context.quiet) return;
  std::fprintf(stderr, "%zu candidates (%zu asked, %zu failed) in %.2f s, ended by %s, hypervolume %s\n",
               run.progress.evaluations, run.progress.proposals, run.progress.failed, run.progress.seconds,
               std::string(to_string(run.ending)).c_str(), search::number(run.progress.hypervolume).c_str());
}

Result<int> dry_run(const Context& context, const SearchPlan& plan) {
  const SearchProblem& problem = plan.problem;
  const auto setting = search::make_setting(problem.space, plan.judge, plan.seed, nullptr, problem.listing);
  const search::ExhaustiveSearch all(
      setting, 1, plan.strategy.name == "grid" ? std::max<std::size_t>(plan.strategy.levels, 2) : 0);
  // One candidate tells what an evaluation costs.
  search::Scores scores;
  scores.reset(1, problem.evaluator.metrics.size());
  const Genotype probe = problem.listing ? (*problem.listing)[0] : problem.space.smallest();
  const double before = static_cast<double>(std::clock());
  search::guarded(problem.evaluator).score({&probe, 1}, 1, scores);
  const double seconds = (static_cast<double>(std::clock()) - before) / CLOCKS_PER_SEC;
  const bool whole = plan.strategy.name == "exhaustive" || plan.strategy.name == "grid";
  const double networks = problem.listing ? static_cast<double>(problem.listing->size()) : all.count();
  const double asked = static_cast<double>(plan.options.budget.evaluations);
  const double evaluations = whole ? std::min(networks, asked) : asked;
  print_record(context,
               {{"space", "space"},
                {"strategy", "strategy"},
                {"networks", "networks to choose from"},
                {"budget", "budget"},
                {"evaluations", "evaluations at most"},
                {"seconds", "evaluator time at most (from one)", "s"}},
               {{"space", problem.space.name()},
                {"strategy", plan.strategy.name},
                {"networks", networks},
                {"budget", to_string(plan.options.budget)},
                {"evaluations", evaluations},
                {"seconds", evaluations * seconds}});
  return 0;
}

// On a screen the ends of a long front and some between; the other formats carry all of it.
void print_found(const Context& context, const search::History& history, const std::vector<Row>& front,
                 const SearchSpace& space, const std::string& run) {
  std::vector<std::string> texts;
  for (Row row = 0; row < history.size(); ++row) texts.push_back(space.text(history.genotype(row)));
  const bool some = context.format == "table" && front.size() > kShown + 1;
  const std::vector<Row> rows = some ? spread_rows(front, kShown, *history.best()) : front;
  print_records(context, front_columns(history.judge()), front_records(history, rows, texts));
  if (some && !context.quiet)
    std::fprintf(stderr, "%zu more: hwnas front %s\n", front.size() - rows.size(), run.c_str());
}

// A sum may promise what the metric itself cannot reach.
std::string beyond_bounds(std::span<const search::BoundedCost> bounds, const std::string& metric,
                          double value) {
  const auto bound = std::ranges::find(bounds, metric, &search::BoundedCost::metric);
  if (bound == bounds.end() || (value >= bound->lower && value <= bound->upper)) return "";
  return "; its sum goes beyond " + search::number(value > bound->upper ? bound->upper : bound->lower);
}

Result<void> say_gap(const Context& context, const SearchPlan& plan, const search::Run& run) {
  const SearchProblem& problem = plan.problem;
  NAS_TRY(found,
          search::certify(problem.space, run.history, problem.known, problem.stand_ins, problem.peaks));
  if (!found || context.quiet) return {};
  const std::string& metric = plan.judge.problem().objectives[0].metric;
  std::fprintf(
      stderr, "optimality gap of %s against the exact optimum of its %s: %s (%s found, %s possible%s)\n",
      metric.c_str(), found->stand_in ? "separable stand-in" : "model", search::number(found->gap()).c_str(),
      search::number(found->found).c_str(), search::number(found->optimum).c_str(),
      beyond_bounds(problem.bounds, metric, found->optimum).c_str());
  return {};
}

// Says by how much the nearest candidate misses the limits; the exit code.
int say_nearest(const search::History& history) {
  std::optional<Row> nearest;
  for (Row row = 0; row < history.size(); ++row)
    if (!history.failed(row) && (!nearest || history.info(row).violation < history.info(*nearest).violation))
      nearest = row;
  if (!nearest) {
    std::fprintf(stderr, "no candidate has a score\n");
    return 6;
  }
  std::fprintf(stderr, "nothing satisfies the constraints; nearest: %s\n",
               history.judge().explain(history.values(*nearest)).c_str());
  return 3;
}

// What went wrong, and the exit code.
int verdict(const search::Run& run) {
  for (Row row = 0; row < run.history.size(); ++row)
    if (run.history.failed(row)) {
      std::fprintf(stderr, "%zu candidate%s failed, the first: %s\n", run.progress.failed,
                   run.progress.failed == 1 ? "" : "s", std::string(run.history.reason(row)).c_str());
      break;
    }
  if (run.history.best()) return run.progress.failed > 0 ? 6 : 0;
  return say_nearest(run.history);
}

int say_stopped(const Context& context, const search::Run& run) {
  if (!context.quiet)
    std::fprintf(stderr, "stopped after %zu candidates as asked; the same command continues\n",
                 run.progress.evaluations);
  return stopped_code();
}

// What the run came to, for people; its exit code.
Result<int> say_results(const Context& context, const SearchPlan& plan, const search::Run& run,
                        const std::vector<Row>& front, const fs::path& path, const std::string& name) {
  say_end(context, run);
  print_found(context, run.history, front, plan.problem.space, name);
  NAS_CHECK(say_gap(context, plan, run));
  std::fprintf(stderr, "run kept in %s\n", path.string().c_str());
  return verdict(run);
}

// The budget as configured, and what the job of this search got since.
Result<SearchConfig> load_extended(const Context& context, const SearchArguments& arguments) {
  NAS_TRY(config, load_search_config(arguments.config, arguments.changes, context.project));
  NAS_TRY(more, budget_of_job(context.project));
  const auto given = config.document.root().find("budget");
  if (!more || !more->is_object() || (given != config.document.root().end() && !given->is_string()))
    return config;
  const bool named = given != config.document.root().end();
  NAS_TRY(budget, search::parse_budget(named ? given->get<std::string>() : search::kDefaultBudget));
  const auto take = [&](const char* key, double now) {
    return more->value(key, now) + more->value(std::string("+") + key, 0.0);
  };
  budget.seconds = take("seconds", budget.seconds);
  if (more->contains("evaluations") || budget.evaluations != search::Budget().evaluations)
    budget.evaluations =
        static_cast<std::size_t>(take("evaluations", static_cast<double>(budget.evaluations)));
  SearchChanges changes = arguments.changes;
  changes.budget = to_string(budget);
  return load_search_config(arguments.config, changes, context.project);
}

Result<int> run_search_command(const Context& context, const SearchArguments& arguments) {
  NAS_TRY(config, load_extended(context, arguments));
  if (config.needs_torch() && !has_torch()) return continue_with_torch(context);
  NAS_TRY(plan, make_search_plan(config, context.project));
  const std::string name = arguments.name.empty() ? plan.name : arguments.name;
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
    return usage_error("a run's name is a folder under runs/: required a plain name, found \"" + name + "\"");
  say_problem(context, plan);
  if (arguments.dry_run) return dry_run(context, plan);
  NAS_TRY(strategy, plan.make_strategy());
  const fs::path path = (fs::path(context.project) / "runs" / name).lexically_normal();
  NAS_TRY(lock, FolderLock::take(path));
  NAS_TRY(folder, search::RunFolder::open(path, plan.problem.space, plan.record));
  auto shown = std::make_unique<Progress>("search", 0, context.quiet);
  plan.options.progress = [&](const search::Progress& p) {
    shown->update(p.evaluations,
                  "hypervolume " + search::number(p.hypervolume) +
                      (p.best_value ? ", best " + plan.judge.problem().objectives[0].metric + " " +
                                          search::number(*p.best_value)
                                    : "") +
                      (p.remaining_seconds ? ", " + duration_text(*p.remaining_seconds) + " left" : ""));
  };
  // The front of a part need not be of the whole: a shard keeps all.
  SearchLedger ledger(context, plan, path, fs::absolute(arguments.config).parent_path(),
                      !fs::exists(path / "candidates.jsonl"), arguments.keep_all || !plan.shard.is_all());
  plan.options.journal = ledger.journal(folder.journal());
  watch_for_stop();
  plan.options.stop = stop_requested;
  const auto searched = [&]() -> Result<int> {
    NAS_TRY(run, search::run_search(plan.problem.space, plan.judge, plan.problem.evaluator, strategy,
                                    plan.options, folder.resume()));
    shown.reset();
    if (run.ending == search::Ending::stopped) return say_stopped(context, run);
    NAS_CHECK(folder.write_front(run));
    const std::vector<Row> front = run.history.front();
    ledger.finish(run, front);
    return say_results(context, plan, run, front, path, name);
  };
  auto result = ledger.end(searched());
  if (context.verbosity > 0) std::fprintf(stderr, "the store took %.3f s\n", ledger.seconds());
  return result;
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

// "max:top1" as an objective.
Result<search::Objective> read_objective(const std::string& text) {
  const std::size_t colon = text.find(':');
  const auto goal = search::parse_goal(text.substr(0, std::min(colon, text.size())));
  if (colon == std::string::npos || !goal)
    return usage_error("objective \"" + text + "\": required like max:top1 or min:latency_ms");
  return search::Objective{text.substr(colon + 1), *goal, {}};
}

Result<int> front_command(const Context& context, const FrontArguments& arguments) {
  NAS_TRY(run, search::load_run(run_folder(context.project, arguments.run)));
  search::Problem problem = run.record.problem;
  if (!arguments.objectives.empty()) problem.objectives.clear();
  for (const std::string& text : arguments.objectives) {
    NAS_TRY(objective, read_objective(text));
    problem.objectives.push_back(objective);
  }
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
  return front.empty() ? say_nearest(limited) : 0;
}

}  // namespace

void add_search_commands(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<SearchArguments>();
  auto* search = add_command(
      app, "search", "Find the networks with the best trade-off under limits",
      {"hwnas search search.json", "hwnas search search.json --set strategy.name=nsga2 --seed 2 --dry-run"});
  search->add_option("config", arguments->config, "The search's configuration (JSON with comments)")
      ->required();
  search->add_option("--set", arguments->changes.settings, "Change a value: strategy.population=64");
  search->add_option("--seed", arguments->changes.seed, "Seed of every random draw");
  search->add_option("--budget", arguments->changes.budget, "500evals, 2h, or 2h|500evals");
  search->add_option(
      "--shard", arguments->changes.shard,
      "I/N: only the I-th of N parts of the search, by the networks themselves; the parts' stores "
      "merge to the whole (hwnas db merge)");
  search->add_option("--name", arguments->name, "Name of the run's folder under runs/");
  search->add_flag("--dry-run", arguments->dry_run, "Say what would be done and what it costs");
  search->add_flag("--keep-all", arguments->keep_all,
                   "Store every candidate, also those that models scored (default: only the front of these)");
  search->callback([&context, arguments] {
    context.action = [&context, arguments] { return run_search_command(context, *arguments); };
  });

  auto limits = std::make_shared<FrontArguments>();
  auto* front = add_command(app, "front", "The feasible front of a run, also of one that still runs",
                            {"hwnas front RUN", "hwnas front RUN --max latency_ms=8 -f json",
                             "hwnas front RUN --objective max:top1 --objective min:latency_phone"});
  front->add_option("run", limits->run, "Name or folder of the run")->required();
  front->add_option("--max", limits->max, "Further limit: latency_ms=8");
  front->add_option("--min", limits->min, "Further limit: accuracy=0.7");
  front->add_option("--objective", limits->objectives,
                    "Instead of the run's own: max:top1, min:latency_ms; for one front a device");
  front->callback([&context, limits] {
    context.action = [&context, limits] { return front_command(context, *limits); };
  });
  add_compare_command(app, context);
  add_try_command(app, context);
}

}  // namespace nas::apps
