#include "results/worker.h"

#include <sys/wait.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "results/queue.h"
#include "results/runs.h"
#include "space/base/file.h"
#include "tests/results/fixture.h"

namespace nas::results {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class WorkerTest : public ProjectTest {
 protected:
  static Task command(std::vector<std::string> argv) {
    return {.kind = "command", .payload = nlohmann::json{{"argv", argv}}.dump(), .max_failures = 1};
  }
  Id add(std::vector<Task> tasks) {
    Store store = open();
    return need(submit(store, {.kind = "command", .max_failures = -1}, std::move(tasks)));
  }
  WorkerReport work(WorkerOptions options = {}) {
    options.drain = true;
    options.poll_ms = 10;
    return need(
        run_worker(project_,
                   {{"command", run_command},
                    {"double", twice},
                    {"throw", [](const TaskContext&) -> Result<TaskEnd> { throw std::runtime_error("bad"); }},
                    {"impossible",
                     [](const TaskContext&) -> Result<TaskEnd> {
                       return Error{"nothing fits", "", ErrorKind::infeasible};
                     }}},
                   options));
  }
  static Result<TaskEnd> twice(const TaskContext& context) {
    NAS_TRY(store, context.open_store());
    NAS_CHECK(add_curve(store, std::vector<CurvePoint>{
                                   {.owner = CurveOwner::task, .owner_id = context.task.id, .name = "x"}}));
    return TaskEnd{.result = std::to_string(2 * std::stoi(context.task.payload))};
  }
  Task task(Id id) {
    Store store = open_reader();
    return need(get_task(store, id));
  }
  // Starts a worker in a process of its own.
  pid_t fork_worker(WorkerOptions options) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    const auto report = run_worker(project_, {{"command", run_command}}, options);
    ::_exit(report ? report->signal : 99);
  }
  void wait_for(const std::function<bool()>& ready) {
    for (int i = 0; i < 500 && !ready(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(ready());
  }
};

TEST_F(WorkerTest, RunsTasksInProcessesOfTheirOwnAndKeepsResultAndOutput) {
  add({{.kind = "double", .payload = "21"},
       command({"sh", "-c", "echo task $HWNAS_TASK of run $HWNAS_RUN; echo wrong >&2"})});
  const WorkerReport report = work({.jobs = 2});
  EXPECT_EQ(report.done, 2);
  EXPECT_EQ(task(1).result, "42");
  EXPECT_EQ(need(read_file(project_ / log_path(task(2)))), "task 2 of run 1\nwrong\n");
  Store store = open_reader();
  EXPECT_THAT(need(list_curve(store, CurveOwner::task, 1)), SizeIs(1));
  expect_clean(store);
}

TEST_F(WorkerTest, NamesEveryWayInWhichATaskCanFail) {
  add({command({"sh", "-c", "kill -SEGV $$"}),
       command({"sh", "-c", "exit 4"}),
       command({"/no/such/program"}),
       {.kind = "throw", .max_failures = 1},
       {.kind = "unheard", .max_failures = 1},
       {.kind = "impossible"},
       {.kind = "command", .payload = "{}", .max_failures = 1}});
  work({.jobs = 3});
  EXPECT_THAT(task(1).error, HasSubstr("crashed (signal 11, SIGSEGV)"));
  EXPECT_EQ(task(2).error, "exit code 4");
  EXPECT_THAT(task(3).error, HasSubstr("No such file"));
  EXPECT_THAT(task(4).error, HasSubstr("exception: bad"));
  EXPECT_THAT(task(5).error, HasSubstr("knows no tasks of the kind \"unheard\""));
  EXPECT_EQ(task(6).state, TaskState::infeasible);
  EXPECT_THAT(task(7).error, HasSubstr("argv"));
  Store store = open_reader();
  EXPECT_EQ(need(list_attempts(store, 1))[0].outcome, "crashed");
  expect_clean(store);
}

TEST_F(WorkerTest, StopsATaskThatRunsLongerThanItsLimitWithItsDescendants) {
  Task slow = command({"sh", "-c", "sleep 60 & echo $! > child; wait"});
  slow.limit_s = 0.2;
  add({slow});
  work();
  EXPECT_THAT(task(1).error, HasSubstr("longer than its limit"));
  const pid_t child = std::stoi(need(read_file(project_ / "child")));
  wait_for([&] {
    return ::kill(child, 0) != 0 || !std::filesystem::exists("/proc/" + std::to_string(child) + "/fd/0");
  });
}

TEST_F(WorkerTest, ACheckpointedTaskGoesOnWithoutCountingAsAFailure) {
  Task task_in_two = command({"sh", "-c", "test -e half || { touch half; exit 75; }"});
  add({task_in_two});
  work();
  EXPECT_EQ(task(1).state, TaskState::done);
  EXPECT_EQ(task(1).attempt, 2);
  EXPECT_EQ(task(1).failures, 0);
}

TEST_F(WorkerTest, OnSigtermTasksReturnToTheQueueAndTheWorkerSaysWhy) {
  add({command({"sleep", "60"})});
  const pid_t pid = fork_worker({});
  wait_for([&] { return task(1).state == TaskState::running; });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ::kill(pid, SIGTERM);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), SIGTERM);
  EXPECT_EQ(task(1).state, TaskState::queued);
  EXPECT_EQ(task(1).failures, 0);
  Store store = open_reader();
  EXPECT_EQ(need(list_workers(store))[0].state, WorkerState::stopped);
}

TEST_F(WorkerTest, CancellingReachesARunningTask) {
  const Id run = add({command({"sleep", "60"}), command({"true"})});
  const pid_t pid = fork_worker({.drain = true, .lease_ms = 300, .poll_ms = 10});
  wait_for([&] { return task(1).state == TaskState::running; });
  {
    Store store = open();
    need(cancel(store, run));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(task(1).state, TaskState::cancelled);
  EXPECT_EQ(task(2).state, TaskState::cancelled);
}

TEST_F(WorkerTest, WhenAWorkerIsKilledItsTasksDieAndAnotherWorkerDoesThem) {
  add({command({"sh", "-c", "echo $$ >> pids; test $(wc -l < pids) -gt 1 || exec sleep 60"})});
  {
    Store store = open();
    need(store.db().script("UPDATE task SET max_failures=5"));
  }
  const pid_t pid = fork_worker({});
  wait_for([&] {
    return std::filesystem::exists(project_ / "pids") && std::filesystem::file_size(project_ / "pids") > 0;
  });
  const pid_t sleeper = std::stoi(need(read_file(project_ / "pids")));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  wait_for([&] {
    return ::kill(sleeper, 0) != 0 || !std::filesystem::exists("/proc/" + std::to_string(sleeper) + "/fd/0");
  });
  work();
  EXPECT_EQ(task(1).state, TaskState::done);
  EXPECT_EQ(task(1).attempt, 2);
  Store store = open_reader();
  EXPECT_EQ(need(list_attempts(store, 1))[0].outcome, "lease expired");
  expect_clean(store);
}

}  // namespace
}  // namespace nas::results
