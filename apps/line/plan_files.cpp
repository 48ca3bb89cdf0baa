#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "apps/line/plan_estimate.h"
#include "apps/search_config.h"
#include "apps/submit_config.h"
#include "results/queue.h"
#include "results/tables.h"

// What `hwnas plan` says of a single search and of a file of jobs.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Candidates a second that the search's evaluator scores.
double scoring_rate(const SearchPlan& plan) {
  constexpr std::size_t kBatch = 16;
  const search::Evaluator evaluator = search::guarded(plan.problem.evaluator);
  const auto start = Clock::now();
  std::size_t done = 0;
  do {
    std::vector<Genotype> batch;
    for (std::size_t i = 0; i < kBatch; ++i) {
      Rng rng(plan.seed, "plan search", done + i);
      batch.push_back(plan.problem.listing
                          ? (*plan.problem.listing)[(done + i) % plan.problem.listing->size()]
                          : plan.problem.space.sample(rng));
    }
    search::Scores scores;
    scores.reset(batch.size(), evaluator.metrics.size());
    evaluator.score(batch, 1, scores);
    done += kBatch;
  } while (seconds_since(start) < 0.2);
  return static_cast<double>(done) / seconds_since(start);
}

// Seconds that finished tasks with the same first two words took.
Result<std::vector<double>> earlier_seconds(results::Store& store, const results::Task& task) {
  NAS_TRY(statement,
          store.db().prepare(
              "SELECT a.run_ms / 1000.0 FROM attempt a JOIN task t ON t.id=a.task_id WHERE a.outcome='done' "
              "AND t.kind=?1 AND json_extract(t.payload, '$.argv[0]') IS json_extract(?2, '$.argv[0]') AND "
              "json_extract(t.payload, '$.argv[1]') IS json_extract(?2, '$.argv[1]') ORDER BY 1"));
  statement.bind_all(task.kind, task.payload);
  std::vector<double> seconds;
  for (;;) {
    NAS_TRY(row, statement.step());
    if (!row) return seconds;
    seconds.push_back(statement.real(0));
  }
}

Result<StagePlan> plan_run(results::Store* store, const Submission& submission) {
  StagePlan plan;
  plan.stage = submission.run.name.empty() ? submission.run.kind : submission.run.name;
  plan.amount = static_cast<double>(submission.tasks.size());
  plan.unit = "tasks";
  std::size_t known = 0;
  for (const results::Task& task : submission.tasks) {
    if (store == nullptr) continue;
    NAS_TRY(seconds, earlier_seconds(*store, task));
    if (seconds.empty()) continue;
    ++known;
    plan.seconds += seconds[seconds.size() / 2];
    plan.low += seconds.front() / 1.7;
    plan.high += seconds.back() * 1.7;
  }
  plan.timed = known == submission.tasks.size();
  plan.source = plan.timed ? "earlier tasks here" : "not known: no such task has run here";
  if (plan.timed) set_host_energy(plan);
  return plan;
}

}  // namespace

Result<std::vector<StagePlan>> plan_search_file(const fs::path& project, const std::string& path) {
  NAS_TRY(config, load_search_config(path, {}, project));
  NAS_TRY(search, make_search_plan(config, project));
  StagePlan plan;
  plan.stage = "search " + search.name;
  const search::Budget& budget = search.options.budget;
  const double rate = scoring_rate(search);
  constexpr auto kNoLimit = std::numeric_limits<std::size_t>::max();
  const double asked =
      budget.evaluations == kNoLimit ? budget.seconds * rate : static_cast<double>(budget.evaluations);
  plan.amount =
      search.problem.listing ? std::min(asked, static_cast<double>(search.problem.listing->size())) : asked;
  plan.unit = "evaluations";
  plan.source = "measured now";
  set_seconds(plan, std::min(0.5 + plan.amount / rate, budget.seconds), 2, 4);
  plan.disk_bytes = 700 * plan.amount;  // a line of the run's folder, a row of the store
  plan.memory_bytes = 50e6 + 1000 * plan.amount;
  set_host_energy(plan);
  return std::vector{plan};
}

Result<std::vector<StagePlan>> plan_jobs_file(const fs::path& project, const std::string& path) {
  NAS_TRY(submissions, read_submission(path));
  std::optional<results::Store> store;
  std::error_code ignored;
  if (fs::exists(project / results::kStoreFile, ignored)) {
    NAS_TRY(opened, results::Store::open(project, {.access = results::Access::read}));
    store.emplace(std::move(opened));
  }
  std::vector<StagePlan> plans;
  for (const Submission& submission : submissions) {
    NAS_TRY(plan, plan_run(store ? &*store : nullptr, submission));
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace nas::apps
