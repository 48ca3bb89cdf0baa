#include "results/queue_rules.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "results/runs.h"
#include "results/tables.h"

namespace nas::results {
namespace {

constexpr const char* kOpen = "state IN ('waiting', 'queued', 'held', 'running')";

// Pause before try number `failures` + 1: 1 s, 2 s, 4 s, … at most a minute.
std::int64_t retry_pause_ms(int failures) {
  return std::min(std::int64_t{60'000}, std::int64_t{1000} << std::clamp(failures - 1, 0, 6));
}

bool is_failure(const std::string& word) {
  return word == "failed" || word == "crashed" || word == "timeout" || word == "lease expired";
}

// The state of the task after an attempt that ended with `word`.
TaskState next_state(const Task& task, const std::string& word) {
  if (word == "done") return TaskState::done;
  if (word == "infeasible") return TaskState::infeasible;
  if (word == "cancelled" || task.stop == "cancel") return TaskState::cancelled;
  if (is_failure(word) && task.failures + 1 >= task.max_failures) return TaskState::failed;
  return task.stop == "pause" ? TaskState::held : TaskState::queued;  // resumed meanwhile: queued
}

Result<void> tell(Store& store, const Task& task, TaskState next, const Outcome& outcome) {
  const bool failed = next == TaskState::failed;
  if (!is_failure(outcome.word)) return {};
  const std::string reason = outcome.word + (outcome.error.empty() ? "" : ": " + outcome.error);
  return add_event(store, {.level = failed ? Level::error : Level::warning,
                           .run_id = task.run_id,
                           .task_id = task.id,
                           .code = failed ? "task.failed" : "task.retry",
                           .text = "attempt " + std::to_string(task.attempt) + " " + reason + "; " +
                                   (failed ? "no further try" : std::string(to_word(next)) + " again")});
}

// Stops everything of the run that has not ended yet.
Result<void> stop_all(Store& store, Id run, const std::string& reason) {
  NAS_CHECK(
      store.db().run("UPDATE task SET state='cancelled', ended=?, error=? WHERE run_id=? AND state IN "
                     "('waiting', 'queued', 'held')",
                     store.now(), reason, run));
  return store.db().run("UPDATE task SET stop='cancel' WHERE run_id=? AND state='running'", run);
}

Result<std::int64_t> count(Store& store, Id run, TaskState state) {
  NAS_TRY(n,
          store.db().value<std::int64_t>("SELECT count(*) FROM task WHERE run_id=? AND state=?", run, state));
  return n.value_or(0);
}

// The state of a run whose tasks are all over, and why.
Result<std::pair<RunState, std::string>> verdict(Store& store, const Run& run) {
  NAS_TRY(failed, count(store, run.id, TaskState::failed));
  NAS_TRY(cancelled, count(store, run.id, TaskState::cancelled));
  NAS_TRY(done, count(store, run.id, TaskState::done));
  if (failed > 0) {
    const bool allowed = run.max_failures < 0 || failed <= run.max_failures;
    return std::pair(allowed && done > 0 ? RunState::partial : RunState::failed,
                     std::to_string(failed) + (failed == 1 ? " task failed" : " tasks failed"));
  }
  return std::pair(cancelled > 0 ? RunState::cancelled : RunState::done, std::string());
}

}  // namespace

std::string host_name() {
  std::array<char, 256> text{};
  return ::gethostname(text.data(), text.size() - 1) == 0 ? text.data() : "unknown";
}

Result<void> end_attempt(Store& store, const Task& task, const Outcome& outcome) {
  const TaskState next = next_state(task, outcome.word);
  const bool failure = is_failure(outcome.word);
  const bool over = next != TaskState::queued && next != TaskState::held;
  const std::int64_t not_before =
      failure && !over ? store.clock().steady() + retry_pause_ms(task.failures + 1) : std::int64_t{0};
  const Time now = store.now();
  NAS_CHECK(store.db().run(
      "UPDATE task SET state=?1, failures=failures+?2, worker_id=NULL, stop='', not_before=?3, "
      "lease_boot=?4, queued=CASE WHEN ?5 THEN queued ELSE ?6 END, ended=CASE WHEN ?5 THEN ?6 "
      "END, run_ms=run_ms+?7, result=?8, error=?9 WHERE id=?10",
      next, failure, not_before, store.clock().boot, over, now, outcome.run_ms, outcome.result, outcome.error,
      task.id));
  NAS_CHECK(
      store.db().run("UPDATE attempt SET ended=?, run_ms=?, outcome=?, error=? WHERE task_id=? AND "
                     "attempt=?",
                     now, outcome.run_ms, outcome.word, outcome.error, task.id, task.attempt));
  NAS_CHECK(tell(store, task, next, outcome));
  if (!over) return {};
  if (next == TaskState::failed) {
    NAS_TRY(run, get_run(store, task.run_id));
    NAS_TRY(failed, count(store, run.id, TaskState::failed));
    if (run.max_failures >= 0 && failed > run.max_failures)
      NAS_CHECK(stop_all(store, run.id, "the run has more failed tasks than its limit allows"));
  }
  return settle(store, task.run_id);
}

Result<void> lose(Store& store, const Task& task) {
  NAS_TRY(run_ms, store.db().value<std::int64_t>("SELECT run_ms FROM attempt WHERE task_id=? AND attempt=?",
                                                 task.id, task.attempt));
  return end_attempt(
      store, task,
      {.word = "lease expired", .error = "its worker died or fell silent", .run_ms = run_ms.value_or(0)});
}

Result<int> lose_tasks_of(Store& store, Id worker) {
  NAS_TRY(tasks, (select<Task>(store.db(),
                               "INDEXED BY task_running WHERE state='running' AND worker_id=? ORDER BY id",
                               worker)));
  for (const Task& task : tasks) NAS_CHECK(lose(store, task));
  NAS_CHECK(
      store.db().run("UPDATE worker SET state='lost' WHERE id=? AND state IN ('idle', 'busy')", worker));
  return static_cast<int>(tasks.size());
}

Result<void> restage(Store& store, Id run) {
  NAS_TRY(stage, store.db().value<std::int64_t>(
                     std::string("SELECT min(stage) FROM task WHERE run_id=? AND ") + kOpen, run));
  if (!stage) return {};
  NAS_CHECK(
      store.db().run("UPDATE task SET state='waiting' WHERE run_id=? AND stage>? AND state IN ('queued', "
                     "'held')",
                     run, *stage));
  return store.db().run(
      "UPDATE task SET state=CASE (SELECT state FROM run WHERE id=?1) WHEN 'paused' THEN 'held' ELSE "
      "'queued' END, "
      "queued=?3 WHERE run_id=?1 AND stage=?2 AND state='waiting'",
      run, *stage, store.now());
}

Result<void> settle(Store& store, Id run_id) {
  NAS_TRY(first, (select_one<Task>(store.db(), std::string("WHERE run_id=? AND ") + kOpen + " ORDER BY stage",
                                   run_id)));
  if (first) return first->state == TaskState::waiting ? restage(store, run_id) : Result<void>();
  NAS_TRY(run, get_run(store, run_id));
  NAS_TRY(end, verdict(store, run));
  NAS_CHECK(set_run_state(store, run_id, end.first, end.second));
  return add_event(store, {.level = end.first == RunState::done ? Level::info : Level::warning,
                           .run_id = run_id,
                           .code = "run." + std::string(to_word(end.first)),
                           .text = end.second});
}

}  // namespace nas::results
