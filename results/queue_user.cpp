#include <charconv>
#include <nlohmann/json.hpp>

#include "results/queue.h"
#include "results/queue_rules.h"
#include "results/runs.h"
#include "results/tables.h"

// The half of queue.h that users call: orders to runs, and looking at them.
namespace nas::results {
namespace {

Result<void> say(Store& store, Id run, const std::string& code, const std::string& text = "") {
  return add_event(store, {.run_id = run, .code = code, .text = text});
}

// Runs that ended and get open tasks again.
Result<void> reopen(Store& store, Id run) {
  NAS_CHECK(restage(store, run));
  return store.db().run(
      "UPDATE run SET state=CASE WHEN state='paused' THEN 'paused' WHEN started IS NULL THEN "
      "'queued' ELSE 'running' END, ended=NULL, error='' WHERE id=?",
      run);
}

struct BudgetUnit {
  const char* suffix;
  const char* key;
  double factor;
};
constexpr std::array<BudgetUnit, 8> kBudgetUnits{{{"evals", "evaluations", 1},
                                                  {"epochs", "epochs", 1},
                                                  {"min", "seconds", 60},
                                                  {"Wh", "watt_hours", 1},
                                                  {"h", "seconds", 3600},
                                                  {"d", "seconds", 86400},
                                                  {"s", "seconds", 1},
                                                  {"steps", "steps", 1}}};

struct BudgetChange {
  std::string key;
  double amount = 0;
  bool add = false;
};

Result<BudgetChange> parse_budget(const std::string& text) {
  BudgetChange change;
  change.add = text.starts_with('+');
  const char* const begin = text.data() + (change.add ? 1 : 0);
  const char* const end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(begin, end, change.amount);
  const std::string unit(rest, end);
  for (const BudgetUnit& known : kBudgetUnits)
    if (code == std::errc() && change.amount > 0 && unit == known.suffix) {
      change.key = known.key;
      change.amount *= known.factor;
      return change;
    }
  return usage_error(
      "budget: required a number and a unit (evals, epochs, steps, s, min, h, d, Wh), with + in front "
      "to add, as in +200evals or 2h; found \"" +
      text + "\"");
}

}  // namespace

Result<void> cancel(Store& store, Id run, std::optional<Id> task) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(known, get_run(store, run));
  NAS_CHECK(store.db().run(
      "UPDATE task SET state='cancelled', ended=?1, error='cancelled by the user' WHERE run_id=?2 "
      "AND (?3 IS NULL OR id=?3) AND state IN ('waiting', 'queued', 'held')",
      store.now(), run, task));
  const std::int64_t stopped = store.db().changes();
  NAS_CHECK(
      store.db().run("UPDATE task SET stop='cancel' WHERE run_id=?1 AND (?2 IS NULL OR id=?2) AND "
                     "state='running'",
                     run, task));
  if (stopped + store.db().changes() == 0)
    return usage_error("nothing to cancel: no task of run " + known.name + " is waiting or running",
                       store.file().string());
  NAS_CHECK(say(store, run, "run.cancel"));
  NAS_CHECK(settle(store, run));
  return transaction.commit();
}

Result<void> pause(Store& store, Id id) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(run, get_run(store, id));
  if (run.state != RunState::queued && run.state != RunState::running)
    return usage_error("only a queued or running run can be paused; run " + run.name + " is " +
                           std::string(to_word(run.state)),
                       store.file().string());
  NAS_CHECK(set_run_state(store, id, RunState::paused));
  NAS_CHECK(store.db().run("UPDATE task SET state='held' WHERE run_id=? AND state='queued'", id));
  NAS_CHECK(
      store.db().run("UPDATE task SET stop='pause' WHERE run_id=? AND state='running' AND stop=''", id));
  NAS_CHECK(say(store, id, "run.pause"));
  return transaction.commit();
}

Result<void> resume(Store& store, Id id) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(run, get_run(store, id));
  if (run.state != RunState::paused)
    return usage_error("only a paused run can be resumed; run " + run.name + " is " +
                           std::string(to_word(run.state)) + " (`hwnas retry` repeats failed tasks)",
                       store.file().string());
  NAS_CHECK(set_run_state(store, id, run.started ? RunState::running : RunState::queued));
  NAS_CHECK(store.db().run("UPDATE task SET state='queued', queued=? WHERE run_id=? AND state='held'",
                           store.now(), id));
  NAS_CHECK(
      store.db().run("UPDATE task SET stop='' WHERE run_id=? AND state='running' AND stop='pause'", id));
  NAS_CHECK(say(store, id, "run.resume"));
  return transaction.commit();
}

Result<int> retry(Store& store, Id run, bool all, std::optional<Id> task) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(get_run(store, run));
  NAS_CHECK(store.db().run(
      "UPDATE task SET state='queued', failures=0, not_before=0, queued=?1, ended=NULL, error='' "
      "WHERE run_id=?2 AND (?3 IS NULL OR id=?3) AND (state='failed' OR (?4 AND state IN "
      "('cancelled', 'infeasible')))",
      store.now(), run, task, all));
  int n = static_cast<int>(store.db().changes());
  // Those that wait for their next try have it at once.
  NAS_CHECK(store.db().run(
      "UPDATE task SET not_before=0 WHERE run_id=?1 AND (?2 IS NULL OR id=?2) AND state='queued' AND "
      "not_before>?3",
      run, task, store.clock().steady()));
  n += static_cast<int>(store.db().changes());
  if (n > 0) {
    NAS_CHECK(reopen(store, run));
    NAS_CHECK(say(store, run, "run.retry", std::to_string(n) + (n == 1 ? " task" : " tasks")));
  }
  NAS_CHECK(transaction.commit());
  return n;
}

Result<void> bump(Store& store, Id run, int priority) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(get_run(store, run));
  NAS_CHECK(store.db().run("UPDATE run SET priority=? WHERE id=?", priority, run));
  NAS_CHECK(
      store.db().run("UPDATE task SET priority=? WHERE run_id=? AND state IN ('waiting', 'queued', 'held', "
                     "'running')",
                     priority, run));
  NAS_CHECK(say(store, run, "run.bump", "priority " + std::to_string(priority)));
  return transaction.commit();
}

Result<void> extend(Store& store, Id id, const std::string& text, const std::string& kind) {
  NAS_TRY(change, parse_budget(text));
  NAS_TRY(transaction, store.begin());
  NAS_TRY(run, get_run(store, id));
  auto budget = nlohmann::json::parse(run.budget, nullptr, false);
  if (!budget.is_object()) budget = nlohmann::json::object();
  // Added to what was set here before; else to what the task itself has ("+evaluations").
  const std::string key = (change.add && !budget.contains(change.key) ? "+" : "") + change.key;
  if (!change.add) budget.erase("+" + change.key);
  budget[key] = (change.add ? budget.value(key, 0.0) : 0.0) + change.amount;
  NAS_CHECK(store.db().run("UPDATE run SET budget=? WHERE id=?", budget.dump(), id));
  NAS_TRY(stage,
          store.db().value<std::int64_t>("SELECT min(stage) FROM task WHERE run_id=? AND kind=?", id, kind));
  if (!stage)
    return usage_error("run " + run.name + " has no task of the kind \"" + kind +
                       "\" whose budget could be extended (--kind); a search that is no job goes on by "
                       "`hwnas search` with a larger --budget");
  constexpr const char* kOver = "run_id=? AND stage>=? AND state IN ('done', 'infeasible')";
  NAS_CHECK(store.db().run(std::string("UPDATE attempt SET outcome='extended' WHERE outcome IN ('done', "
                                       "'infeasible') AND task_id IN (SELECT id FROM task WHERE ") +
                               kOver + ")",
                           id, *stage));
  NAS_CHECK(
      store.db().run(std::string("UPDATE task SET state='queued', ended=NULL WHERE ") + kOver, id, *stage));
  if (store.db().changes() > 0) NAS_CHECK(reopen(store, id));
  NAS_CHECK(say(store, id, "run.extend", budget.dump()));
  return transaction.commit();
}

// ---- looking ----

Result<Task> get_task(Store& store, Id id) {
  NAS_TRY(found, (select_one<Task>(store.db(), "WHERE id=?", id)));
  if (found) return *std::move(found);
  return usage_error("there is no task " + std::to_string(id), store.file().string());
}

Result<std::vector<Task>> list_tasks(Store& store, std::optional<Id> run, std::int64_t limit) {
  if (run) return select<Task>(store.db(), "WHERE run_id=? ORDER BY number LIMIT ?", *run, limit);
  return select<Task>(store.db(), "ORDER BY id DESC LIMIT ?", limit);
}

Result<std::vector<Attempt>> list_attempts(Store& store, Id task) {
  return select<Attempt>(store.db(), "WHERE task_id=? ORDER BY attempt", task);
}

Result<std::vector<Worker>> list_workers(Store& store) { return select<Worker>(store.db(), "ORDER BY id"); }

std::int64_t Progress::total() const {
  std::int64_t sum = 0;
  for (const auto& [state, n] : tasks) sum += n;
  return sum;
}

std::int64_t Progress::over() const {
  std::int64_t sum = 0;
  for (const auto& [state, n] : tasks)
    if (state >= TaskState::done) sum += n;
  return sum;
}

Result<std::map<Id, Progress>> progress(Store& store) {
  NAS_TRY(rows, store.db().prepare("SELECT run_id, state, count(*), sum(wait_ms), sum(run_ms) FROM task "
                                   "GROUP BY run_id, state"));
  std::map<Id, Progress> all;
  while (true) {
    NAS_TRY(row, rows.step());
    if (!row) return all;
    Progress& one = all[rows.integer(0)];
    TaskState state{};
    rows.read(1, state);
    one.tasks[state] = rows.integer(2);
    one.wait_ms += rows.integer(3);
    one.run_ms += rows.integer(4);
  }
}

Result<Progress> progress(Store& store, Id run) {
  NAS_TRY(rows,
          store.db().prepare("SELECT state, count(*), sum(wait_ms), sum(run_ms) FROM task WHERE run_id=? "
                             "GROUP BY state"));
  rows.bind_all(run);
  Progress one;
  while (true) {
    NAS_TRY(row, rows.step());
    if (!row) return one;
    TaskState state{};
    rows.read(0, state);
    one.tasks[state] = rows.integer(1);
    one.wait_ms += rows.integer(2);
    one.run_ms += rows.integer(3);
  }
}

}  // namespace nas::results
