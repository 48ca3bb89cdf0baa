#include "results/queue.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "results/process_id.h"
#include "results/queue_rules.h"
#include "results/runs.h"
#include "results/tables.h"

namespace nas::results {
namespace {

// A JSON array of texts, sorted, so that equal sets are equal texts.
Result<std::string> tidy_tags(const std::string& text, const std::string& where) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array() ||
      !std::all_of(json.begin(), json.end(), [](const auto& tag) { return tag.is_string(); }))
    return usage_error("needs: required a JSON array of tags, found " + text, where);
  auto tags = json.get<std::vector<std::string>>();
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  return nlohmann::json(tags).dump();
}

constexpr const char* kLogPrefix = "task-";

constexpr const char* kChoose =
    "SELECT id FROM task INDEXED BY task_queue WHERE state='queued' AND (?1 IS NULL OR id=?1) "
    "AND (not_before<=?2 OR lease_boot<>?3) "
    "AND (needs='[]' OR NOT EXISTS(SELECT 1 FROM json_each(needs) WHERE value NOT IN "
    "(SELECT value FROM json_each(?4)))) "
    "AND (device_id IS NULL OR NOT EXISTS(SELECT 1 FROM task r WHERE r.device_id=task.device_id AND "
    "r.state='running')) ORDER BY priority, id LIMIT 1";

Result<std::optional<Id>> choose(Store& store, const Worker& worker, const ClaimOptions& options) {
  return store.db().value<Id>(kChoose, options.task, store.clock().steady(), store.clock().boot, worker.tags);
}

// Makes the chosen task the worker's.
Result<Task> take(Store& store, const Worker& worker, Id id, std::int64_t lease_ms) {
  const Time now = store.now();
  NAS_TRY(statement, store.db().prepare(
                         "UPDATE task SET state='running', attempt=attempt+1, worker_id=?1, lease_until=?2, "
                         "lease_boot=?3, stop='', started=?4, ended=NULL, "
                         "wait_ms=wait_ms+max(0, ?4-queued) WHERE id=?5 RETURNING " +
                         column_list<Task>()));
  statement.bind_all(worker.id, store.clock().steady() + lease_ms, store.clock().boot, now, id);
  NAS_TRY(found, statement.step());
  if (!found)
    return Error{"task " + std::to_string(id) + " vanished while it was claimed", store.file().string()};
  Task task = read_record<Task>(statement);
  NAS_CHECK(statement.run());
  NAS_CHECK(insert(store.db(), Attempt{.task_id = id,
                                       .attempt = task.attempt,
                                       .worker_id = worker.id,
                                       .started = now,
                                       .wait_ms = std::max<std::int64_t>(0, now - task.queued),
                                       .log = log_path(task)}));
  NAS_CHECK(
      store.db().run("UPDATE run SET state='running', started=coalesce(started, ?) WHERE id=? AND "
                     "state='queued'",
                     now, task.run_id));
  return task;
}

}  // namespace

Result<Id> submit(Store& store, Run run, std::vector<Task> tasks) {
  if (tasks.empty()) return usage_error("a run needs one task at least, found none", run.name);
  NAS_TRY(transaction, store.begin());
  const int priority = run.priority;
  NAS_TRY(id, add_run(store, std::move(run)));
  int first_stage = tasks.front().stage;
  for (const Task& task : tasks) first_stage = std::min(first_stage, task.stage);
  {
    NAS_TRY(statement, store.db().prepare(insert_sql<Task>()));
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      Task& task = tasks[i];
      if (!nlohmann::json::accept(task.payload))
        return usage_error("payload of task " + std::to_string(i) + ": required JSON, found " + task.payload);
      if (task.payload.size() > kMaxPayload)
        return usage_error("payload of task " + std::to_string(i) + ": at most " +
                           std::to_string(kMaxPayload) + " bytes, found " +
                           std::to_string(task.payload.size()) +
                           "; keep large things as objects and name their hash");
      NAS_TRY(needs, tidy_tags(task.needs, "task " + std::to_string(i)));
      task.needs = std::move(needs);
      task.run_id = id;
      task.number = static_cast<std::int64_t>(i);
      task.priority = priority;
      task.queued = store.now();
      task.state = task.stage == first_stage ? TaskState::queued : TaskState::waiting;
      bind_record(statement, task);
      NAS_CHECK(statement.run());
    }
  }
  NAS_CHECK(
      add_event(store, {.run_id = id,
                        .code = "run.submitted",
                        .text = std::to_string(tasks.size()) + (tasks.size() == 1 ? " task" : " tasks")}));
  NAS_CHECK(transaction.commit());
  return id;
}

Result<Worker> sign_on(Store& store, std::string name, std::vector<std::string> tags, std::string version) {
  Worker worker;
  worker.host = host_name();
  worker.pid = ::getpid();
  worker.process = process_name(worker.pid);
  worker.name = name.empty() ? worker.host + "-" + std::to_string(worker.pid) : std::move(name);
  std::sort(tags.begin(), tags.end());
  worker.tags = nlohmann::json(tags).dump();
  worker.version = std::move(version);
  worker.first_seen = worker.last_seen = store.now();
  NAS_TRY(transaction, store.begin());
  NAS_TRY(known, (select_one<Worker>(store.db(), "WHERE name=?", worker.name)));
  if (known && known->process != worker.process && is_alive(*known).value_or(false))
    return Error{"a worker named \"" + worker.name + "\" is at work already (process " +
                     std::to_string(known->pid) + " on " + known->host +
                     "): stop it or choose another name with --name",
                 store.file().string(), ErrorKind::store};
  NAS_CHECK(insert(
      store.db(), worker,
      " ON CONFLICT(name) DO UPDATE SET host=excluded.host, pid=excluded.pid, process=excluded.process, "
      "tags=excluded.tags, version=excluded.version, last_seen=excluded.last_seen, state='idle'"));
  NAS_TRY(id, store.db().value<Id>("SELECT id FROM worker WHERE name=?", worker.name));
  worker.id = id.value_or(0);
  // What an earlier process of this name held is lost for certain.
  if (known) NAS_CHECK(lose_tasks_of(store, worker.id));
  NAS_CHECK(transaction.commit());
  return worker;
}

Result<void> sign_off(Store& store, Id worker) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(store.db().run("UPDATE worker SET state='stopped', last_seen=? WHERE id=?", store.now(), worker));
  return transaction.commit();
}

std::string log_path(const Task& task) {
  return "runs/" + std::to_string(task.run_id) + "/" + kLogPrefix + std::to_string(task.number) + "." +
         std::to_string(task.attempt) + ".log";
}

Result<void> remove_logs(const std::filesystem::path& project, Id run) {
  namespace fs = std::filesystem;
  const fs::path folder = project / "runs" / std::to_string(run);
  std::error_code failed;
  std::vector<fs::path> logs;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed)) {
    const fs::path& path = entry->path();
    if (path.filename().string().starts_with(kLogPrefix) && path.extension() == ".log") logs.push_back(path);
  }
  for (const fs::path& log : logs)
    if (!fs::remove(log, failed) && failed)
      return Error{"the run is removed, its log is not: " + failed.message(), log.string()};
  fs::remove(folder, failed);  // where nothing else lies in it
  return {};
}

Result<std::optional<Task>> claim(Store& store, const Worker& worker, const ClaimOptions& options) {
  // Looking first keeps idle workers from taking the write lock.
  NAS_TRY(likely, choose(store, worker, options));
  if (!likely) return std::optional<Task>();
  NAS_TRY(transaction, store.begin());
  NAS_TRY(id, choose(store, worker, options));
  if (!id) return std::optional<Task>();
  NAS_TRY(task, take(store, worker, *id, options.lease_ms));
  NAS_CHECK(transaction.commit());
  return std::optional<Task>(std::move(task));
}

Result<std::vector<Order>> heartbeat(Store& store, const Worker& worker, std::span<const Held> held,
                                     std::int64_t lease_ms) {
  std::vector<Order> orders;
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(store.db().run("UPDATE worker SET last_seen=?, state=? WHERE id=?", store.now(),
                           held.empty() ? WorkerState::idle : WorkerState::busy, worker.id));
  for (const Held& one : held) {
    NAS_TRY(task,
            (select_one<Task>(store.db(), "WHERE id=? AND attempt=? AND worker_id=? AND state='running'",
                              one.task, one.attempt, worker.id)));
    if (!task) {
      orders.push_back({one.task, "lost"});
      continue;
    }
    if (!task->stop.empty()) orders.push_back({one.task, task->stop});
    NAS_CHECK(store.db().run("UPDATE task SET lease_until=?, lease_boot=? WHERE id=?",
                             store.clock().steady() + lease_ms, store.clock().boot, one.task));
    NAS_CHECK(store.db().run("UPDATE attempt SET run_ms=? WHERE task_id=? AND attempt=?", one.run_ms,
                             one.task, one.attempt));
  }
  NAS_CHECK(transaction.commit());
  return orders;
}

Result<bool> finish(Store& store, const Worker& worker, Id id, int attempt, const Outcome& outcome) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(task, get_task(store, id));
  const bool current =
      task.attempt == attempt && task.worker_id == worker.id && task.state == TaskState::running;
  if (current) {
    NAS_CHECK(end_attempt(store, task, outcome));
  } else {
    NAS_CHECK(add_event(
        store, {.level = Level::warning,
                .run_id = task.run_id,
                .task_id = id,
                .code = "task.rejected",
                .text = "rejected result (stale attempt " + std::to_string(attempt) + " of worker " +
                        worker.name + "): the task is " + std::string(to_word(task.state)) + " at attempt " +
                        std::to_string(task.attempt)}));
  }
  NAS_CHECK(transaction.commit());
  return current;
}

Result<bool> work_left(Store& store, const Worker& worker) {
  constexpr const char* kFits =
      "(needs='[]' OR NOT EXISTS(SELECT 1 FROM json_each(needs) WHERE value NOT IN (SELECT value FROM "
      "json_each(?)))) LIMIT 1";
  for (const char* where : {"INDEXED BY task_queue WHERE state='queued' AND ",
                            "INDEXED BY task_running WHERE state='running' AND "}) {
    NAS_TRY(found, store.db().value<Id>(std::string("SELECT id FROM task ") + where + kFits, worker.tags));
    if (found) return true;
  }
  return false;
}

Result<int> recover_lost(Store& store) {
  constexpr const char* kRunning = "SELECT DISTINCT worker_id FROM task WHERE state='running'";
  constexpr const char* kExpired =
      "INDEXED BY task_running WHERE state='running' AND (lease_until<? OR lease_boot<>?) ORDER BY id";
  NAS_TRY(any, store.db().value<Id>(std::string(kRunning) + " LIMIT 1"));
  if (!any) return 0;
  NAS_TRY(transaction, store.begin());
  int lost = 0;
  NAS_TRY(holders, (select<Worker>(store.db(), std::string("WHERE id IN (") + kRunning + ")")));
  for (const Worker& holder : holders) {
    if (is_alive(holder).value_or(true)) continue;
    NAS_TRY(count, lose_tasks_of(store, holder.id));
    lost += count;
  }
  NAS_TRY(expired, (select<Task>(store.db(), kExpired, store.clock().steady(), store.clock().boot)));
  for (const Task& task : expired) NAS_CHECK(lose(store, task));
  NAS_CHECK(transaction.commit());
  return lost + static_cast<int>(expired.size());
}

std::optional<bool> is_alive(const Worker& worker) { return process_exists(worker.pid, worker.process); }

}  // namespace nas::results
