#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/store.h"

// The task queue: leases that expire, results fenced by the attempt they belong to, stages, retries with a
// reason (docs/store.md shows the states). Everything here is one transaction a call.
namespace nas::results {

constexpr std::size_t kMaxPayload = 64 * 1024;

// Stores a run and its tasks; numbers them, checks that payloads and needs are JSON, and lets the first stage
// start. Returns the run's id.
Result<Id> submit(Store& store, Run run, std::vector<Task> tasks);

// ---- workers ----

// Signs this process on. An empty name becomes host-pid. The name of a worker that is still alive is refused.
Result<Worker> sign_on(Store& store, std::string name, std::vector<std::string> tags, std::string version);
Result<void> sign_off(Store& store, Id worker);

struct ClaimOptions {
  std::int64_t lease_ms = 30'000;
  std::optional<Id> task = {};  // this one only
};
// The task to run next for this worker, now its own until the lease ends: lowest priority number first, then
// the oldest; only tasks whose needs the worker's tags cover and whose device is free.
Result<std::optional<Task>> claim(Store& store, const Worker& worker, const ClaimOptions& options = {});

// Where an attempt's output goes, relative to the project.
std::string log_path(const Task& task);
// The output of all tasks of a run that was removed: a later run may get its number.
Result<void> remove_logs(const std::filesystem::path& project, Id run);

// A running attempt as its worker sees it.
struct Held {
  Id task = 0;
  int attempt = 0;
  std::int64_t run_ms = 0;
};
// What a worker must do with a running attempt.
struct Order {
  Id task = 0;
  std::string what;  // "cancel", "pause", or "lost": the attempt is no longer this worker's
};
// Extends the leases of everything the worker holds.
Result<std::vector<Order>> heartbeat(Store& store, const Worker& worker, std::span<const Held> held,
                                     std::int64_t lease_ms);

// How an attempt ended.
struct Outcome {
  std::string
      word;  // done, infeasible, failed, crashed, timeout, cancelled, paused, checkpointed, lease expired
  std::string result = "{}";
  std::string error = {};
  std::int64_t run_ms = 0;
};
// Records the end of an attempt, decides about a retry, and moves the run on. False: rejected, because the
// attempt is not the task's current one any more (its lease had ended and somebody else has or had the task);
// an event says so.
Result<bool> finish(Store& store, const Worker& worker, Id task, int attempt, const Outcome& outcome);

// Whether a task is queued or running that this worker could take now or later.
Result<bool> work_left(Store& store, const Worker& worker);

// Returns to the queue what is held by workers that died or fell silent; how many.
Result<int> recover_lost(Store& store);

// ---- what users do ----

Result<void> cancel(Store& store, Id run, std::optional<Id> task = {});
Result<void> pause(Store& store, Id run);
Result<void> resume(Store& store, Id run);
// Puts failed tasks (with `all` also cancelled and infeasible ones) back, failures forgotten, and lets those
// that wait for their next try have it at once; how many.
Result<int> retry(Store& store, Id run, bool all, std::optional<Id> task = {});
Result<void> bump(Store& store, Id run, int priority);
// Adds to ("+200evals") or sets ("500evals", "2h", "90min", "20Wh") the run's budget, and lets finished tasks
// of `kind` go on, with all later stages of the run. What is added before anything was set counts on top of
// what the tasks themselves have: {"+evaluations": 200}.
Result<void> extend(Store& store, Id run, const std::string& budget, const std::string& kind);

// ---- looking ----

Result<Task> get_task(Store& store, Id task);
Result<std::vector<Task>> list_tasks(Store& store, std::optional<Id> run = {}, std::int64_t limit = 1000);
Result<std::vector<Attempt>> list_attempts(Store& store, Id task);
Result<std::vector<Worker>> list_workers(Store& store);

struct Progress {
  std::map<TaskState, std::int64_t> tasks;
  std::int64_t wait_ms = 0, run_ms = 0;
  std::int64_t total() const;
  std::int64_t over() const;  // done, failed, cancelled or infeasible
};
Result<Progress> progress(Store& store, Id run);
// Of all runs, in one pass.
Result<std::map<Id, Progress>> progress(Store& store);

// Whether the process that signed on as this worker still exists; nothing when it cannot be seen from here
// (another machine or container).
std::optional<bool> is_alive(const Worker& worker);

}  // namespace nas::results
