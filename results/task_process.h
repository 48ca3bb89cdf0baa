#pragma once
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "results/store.h"

namespace nas::results {

// What a task's function gets. It runs in a process of its own: it may use threads, allocate, crash.
struct TaskContext {
  std::filesystem::path project;
  Task task;
  // A writer of the project's store, opened when first asked for.
  Result<Store> open_store() const { return Store::open(project); }
};

struct TaskEnd {
  std::string result = "{}";  // JSON, at most 64 KiB
  bool checkpointed = false;  // stopped on request (SIGTERM) and able to go on: back to the queue, no failure
};

// One function a kind of task. An error of kind infeasible ends the task as infeasible, any other as failed.
using Handler = std::function<Result<TaskEnd>(const TaskContext&)>;
using Handlers = std::map<std::string, Handler>;

// Replaces its process by the program in the payload: {"argv": ["sh", "-c", "…"], "cwd": "…", "env": {"A":
// "1"}}. Exit code 0 is done, 75 checkpointed, another one failed. HWNAS_PROJECT, HWNAS_RUN, HWNAS_TASK and
// HWNAS_ATTEMPT are set, and HWNAS_JOB_PROJECT, which stays where a task's command works in another project.
Result<TaskEnd> run_command(const TaskContext& context);

// A small process that was forked before this one opened a store or started a thread, and that forks the task
// processes: SQLite's locks must not be carried over a fork. When the worker dies, so do its tasks.
class TaskProcess {
 public:
  // Call before opening a store and while single-threaded.
  static Result<TaskProcess> start(const std::filesystem::path& project, const Handlers& handlers);
  TaskProcess(TaskProcess&& other) noexcept;
  TaskProcess(const TaskProcess&) = delete;
  TaskProcess& operator=(const TaskProcess&) = delete;
  TaskProcess& operator=(TaskProcess&&) = delete;
  ~TaskProcess();  // kills what still runs

  Result<void> run(const Task& task);
  void signal(int number) const;  // to the running task and its descendants

  // How the running task ended; nothing while it runs. Call when socket() is readable.
  struct Ended {
    std::string
        word;  // as in Outcome: done, infeasible, failed, crashed, checkpointed; or "gone": no more tasks
    std::string result;
    std::string error;
    bool by_signal = false;
  };
  Result<std::optional<Ended>> poll();
  int socket() const { return socket_; }

 private:
  TaskProcess(int socket, pid_t pid) : socket_(socket), pid_(pid) {}
  int socket_ = -1;
  pid_t pid_ = -1;
  pid_t task_ = -1;
  bool is_hwnas_ = false;  // the task is this program, whose exit code 3 says that nothing is feasible
  std::filesystem::path project_, log_;  // of the task: the last line tells why it failed
  std::optional<Ended> said_;            // what the task itself reported
};

}  // namespace nas::results
