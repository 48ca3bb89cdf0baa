#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "results/task_process.h"
#include "space/base/result.h"

namespace nas::results {

struct WorkerOptions {
  int jobs = 1;           // tasks at once
  std::string name = {};  // empty: host-pid; a stable one lets a requeued batch job take over its own tasks
  std::vector<std::string> tags = {};
  std::string version = {};
  bool drain = false;              // end when nothing is left that this worker could do
  std::int64_t max_tasks = 0;      // end after so many; 0: never
  std::int64_t lease_ms = 30'000;  // renewed three times as often
  std::int64_t poll_ms = 200;      // between two looks at an empty queue
  std::int64_t grace_ms = 10'000;  // between SIGTERM and SIGKILL for a task that must stop
  // Told of every start and end, for the terminal.
  std::function<void(const std::string& line)> say = {};
};

struct WorkerReport {
  std::int64_t done = 0;
  std::int64_t failed = 0;  // beyond their retries
  std::int64_t other = 0;   // attempts: stopped, infeasible, or to be tried again
  int signal = 0;           // that ended it: SIGINT, SIGTERM, SIGUSR1; 0: the queue was empty
};

// Serves the project's queue until it is drained or a signal comes: on SIGINT, SIGTERM or SIGUSR1 the running
// tasks get SIGTERM, may checkpoint, and return to the queue. Each task runs in a process of its own; its
// output goes to log_path(). Call while single-threaded and with no store open.
Result<WorkerReport> run_worker(const std::filesystem::path& project, const Handlers& handlers,
                                const WorkerOptions& options);

}  // namespace nas::results
