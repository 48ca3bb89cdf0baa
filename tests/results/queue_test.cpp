#include "results/queue.h"

#include "results/process_id.h"
#include "results/runs.h"
#include "tests/results/fixture.h"

namespace nas::results {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// A store on clocks that the test turns.
class QueueTest : public ProjectTest {
 protected:
  Store open_turned() {
    Clock clock{[this] { return wall_; }, [this] { return steady_; }, boot_};
    return open({.clock = std::move(clock)});
  }
  Id add(Store& store, std::vector<Task> tasks, const std::string& name = "", int max_failures = 0,
         int priority = 100) {
    results::Run run{.name = name, .kind = "command", .priority = priority, .max_failures = max_failures};
    return need(submit(store, run, std::move(tasks)));
  }
  static std::string state(Store& store, Id task) {
    return std::string(to_word(need(get_task(store, task)).state));
  }
  static std::string run_state(Store& store, Id run) {
    return std::string(to_word(need(get_run(store, run)).state));
  }
  static std::vector<std::string> codes(Store& store, Id run) {
    std::vector<std::string> all;
    for (const Event& event : need(list_events(store, 0, run))) all.push_back(event.code);
    return all;
  }

  std::int64_t wall_ = 1'700'000'000'000;
  std::int64_t steady_ = 1'000'000;
  std::string boot_ = "boot-1";
};

TEST_F(QueueTest, GivesTheLowestPriorityNumberFirstThenTheOldestAndEachOnce) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  add(store, {{.kind = "a"}, {.kind = "b"}}, "late", 0, 100);
  add(store, {{.kind = "c"}}, "soon", 0, 5);
  std::string order;
  while (const auto task = need(claim(store, worker))) order += task->kind;
  EXPECT_EQ(order, "cab");
  expect_clean(store);
}

TEST_F(QueueTest, ATaskNeedsAllItsTagsAndADeviceServesOneTaskAtATime) {
  Store store = open_turned();
  const Id board = need(keep(store, Device{.name = "board", .kind = "mcu"}));
  const Worker plain = need(sign_on(store, "plain", {}, ""));
  const Worker rich = need(sign_on(store, "rich", {"usb", "gpu", "x"}, ""));
  add(store, {{.kind = "a", .needs = R"(["usb","gpu"])"},
              {.kind = "b", .device_id = board},
              {.kind = "c", .device_id = board}});
  EXPECT_EQ(need(claim(store, plain))->kind, "b");
  EXPECT_FALSE(need(claim(store, plain)));
  EXPECT_EQ(need(claim(store, rich))->kind, "a");
  EXPECT_TRUE(need(work_left(store, plain)));
  EXPECT_TRUE(need(finish(store, plain, 2, 1, {.word = "done"})));
  EXPECT_EQ(need(claim(store, plain))->kind, "c");
}

TEST_F(QueueTest, QueueTimeAndRunTimeAreTwoNumbersAndNeverNegative) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  add(store, {{.kind = "a"}, {.kind = "b"}});
  wall_ += 5000;
  need(claim(store, worker));
  wall_ -= 3'600'000;  // the wall clock jumps back
  need(finish(store, worker, 1, 1, {.word = "done", .run_ms = 700}));
  const Task first = need(get_task(store, 1));
  EXPECT_EQ(first.wait_ms, 5000);
  EXPECT_EQ(first.run_ms, 700);
  EXPECT_EQ(need(claim(store, worker))->wait_ms, 0);
}

TEST_F(QueueTest, AWallClockThatJumpsNeitherEndsNorLengthensALease) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  add(store, {{.kind = "a"}});
  need(claim(store, worker, {.lease_ms = 1000}));
  wall_ += 86'400'000;
  EXPECT_EQ(need(recover_lost(store)), 0);
  wall_ -= 3 * 86'400'000;
  steady_ += 1001;
  EXPECT_EQ(need(recover_lost(store)), 1);
  EXPECT_EQ(state(store, 1), "queued");
}

TEST_F(QueueTest, ALostTaskIsGivenAgainAndTheLateResultOfItsFirstHolderIsRejected) {
  Store store = open_turned();
  const Worker slow = need(sign_on(store, "slow", {}, ""));
  const Worker quick = need(sign_on(store, "quick", {}, ""));
  const Id run = add(store, {{.kind = "a"}});
  need(claim(store, slow, {.lease_ms = 1000}));
  steady_ += 900;
  EXPECT_THAT(need(heartbeat(store, slow, std::vector<Held>{{1, 1, 900}}, 1000)), SizeIs(0));
  steady_ += 900;
  EXPECT_EQ(need(recover_lost(store)), 0);
  steady_ += 200;
  EXPECT_EQ(need(recover_lost(store)), 1);
  EXPECT_FALSE(need(claim(store, quick)));  // a pause before the second try
  steady_ += 1000;
  EXPECT_EQ(need(claim(store, quick))->attempt, 2);
  EXPECT_FALSE(need(finish(store, slow, 1, 1, {.word = "done", .result = R"("late")"})));
  EXPECT_EQ(need(heartbeat(store, slow, std::vector<Held>{{1, 1, 0}}, 1000))[0].what, "lost");
  EXPECT_TRUE(need(finish(store, quick, 1, 2, {.word = "done", .result = R"("right")"})));
  EXPECT_FALSE(need(finish(store, quick, 1, 2, {.word = "done", .result = R"("twice")"})));
  EXPECT_EQ(need(get_task(store, 1)).result, R"("right")");
  const auto attempts = need(list_attempts(store, 1));
  EXPECT_EQ(attempts[0].outcome, "lease expired");
  EXPECT_EQ(attempts[0].run_ms, 900);
  EXPECT_EQ(attempts[1].outcome, "done");
  EXPECT_THAT(codes(store, run),
              ElementsAre("run.submitted", "task.retry", "task.rejected", "run.done", "task.rejected"));
  expect_clean(store);
}

TEST_F(QueueTest, ARestartOfTheMachineEndsEveryLease) {
  {
    Store store = open_turned();
    const Worker worker = need(sign_on(store, "w", {}, ""));
    add(store, {{.kind = "a"}});
    need(claim(store, worker));
  }
  boot_ = "boot-2";
  steady_ = 50;
  Store store = open_turned();
  EXPECT_EQ(need(recover_lost(store)), 1);
}

TEST_F(QueueTest, FailuresAreTriedAgainWithGrowingPausesUpToTheLimit) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  const Id run = add(store, {{.kind = "a", .max_failures = 3}});
  for (const std::int64_t pause : {1000, 2000}) {
    const int attempt = need(claim(store, worker))->attempt;
    need(finish(store, worker, 1, attempt, {.word = "crashed", .error = "crashed (signal 11, SIGSEGV)"}));
    EXPECT_EQ(state(store, 1), "queued");
    steady_ += pause - 1;
    EXPECT_FALSE(need(claim(store, worker)));
    steady_ += 1;
  }
  need(claim(store, worker));
  need(finish(store, worker, 1, 3, {.word = "failed", .error = "no such image"}));
  EXPECT_EQ(state(store, 1), "failed");
  EXPECT_EQ(run_state(store, run), "failed");
  EXPECT_THAT(need(list_events(store, 0, run))[1].text, HasSubstr("signal 11"));
  EXPECT_EQ(need(retry(store, run, false)), 1);
  EXPECT_EQ(run_state(store, run), "running");
  EXPECT_EQ(need(claim(store, worker))->attempt, 4);
  need(finish(store, worker, 1, 4, {.word = "done"}));
  EXPECT_EQ(run_state(store, run), "done");
  expect_clean(store);
}

TEST_F(QueueTest, MoreFailedTasksThanTheRunAllowsEndItFewerLeaveItPartial) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  for (const int allowed : {0, 1}) {
    std::vector<Task> tasks(3);
    for (Task& task : tasks) task.kind = "a", task.max_failures = 1;
    const Id run = add(store, tasks, "", allowed);
    auto task = need(claim(store, worker));
    need(finish(store, worker, task->id, 1, {.word = "failed"}));
    while ((task = need(claim(store, worker)))) need(finish(store, worker, task->id, 1, {.word = "done"}));
    EXPECT_EQ(run_state(store, run), allowed == 0 ? "failed" : "partial");
    EXPECT_EQ(need(progress(store, run)).tasks[TaskState::cancelled], allowed == 0 ? 2 : 0);
  }
  expect_clean(store);
}

TEST_F(QueueTest, StagesFollowEachOther) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  const Id run = add(store, {{.stage = 2, .kind = "export"},
                             {.stage = 0, .kind = "train"},
                             {.stage = 1, .kind = "search"},
                             {.stage = 1, .kind = "search"}});
  std::string order;
  while (const auto task = need(claim(store, worker))) {
    order += task->kind[0];
    EXPECT_EQ(order.size() == 2, static_cast<bool>(need(claim(store, worker, {.task = 4}))));
    need(finish(store, worker, task->id, 1, {.word = "done"}));
    if (order.size() == 2) need(finish(store, worker, 4, 1, {.word = "infeasible"}));
    expect_clean(store);
  }
  EXPECT_EQ(order, "tse");
  EXPECT_EQ(run_state(store, run), "done");
  need(extend(store, run, "+200evals", "search"));
  EXPECT_EQ(need(get_run(store, run)).budget, R"({"+evaluations":200.0})");
  EXPECT_EQ(state(store, 1), "waiting");
  EXPECT_EQ(state(store, 2), "done");
  EXPECT_EQ(state(store, 3), "queued");
  expect_clean(store);
  EXPECT_THAT(extend(store, run, "many", "search").error().message, HasSubstr("+200evals"));
}

TEST_F(QueueTest, PausedRunsGiveNoTasksAndResumeWhereTheyWere) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  const Id run = add(store, {{.kind = "a"}, {.kind = "b"}});
  need(claim(store, worker));
  need(pause(store, run));
  EXPECT_FALSE(need(claim(store, worker)));
  EXPECT_EQ(need(heartbeat(store, worker, std::vector<Held>{{1, 1, 0}}, 1000))[0].what, "pause");
  need(finish(store, worker, 1, 1, {.word = "paused"}));
  EXPECT_EQ(state(store, 1), "held");
  EXPECT_FALSE(pause(store, run));
  expect_clean(store);
  need(resume(store, run));
  EXPECT_FALSE(resume(store, run));
  EXPECT_EQ(need(claim(store, worker))->attempt, 2);
  EXPECT_EQ(need(get_task(store, 1)).failures, 0);
  // Resumed while the worker was stopping the task for the pause.
  need(pause(store, run));
  need(resume(store, run));
  need(finish(store, worker, 1, 2, {.word = "paused"}));
  EXPECT_EQ(state(store, 1), "queued");
}

TEST_F(QueueTest, CancellingEndsWhatWaitsAndStopsWhatRuns) {
  Store store = open_turned();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  const Id run = add(store, {{.kind = "a"}, {.kind = "b"}});
  need(claim(store, worker));
  EXPECT_FALSE(remove_run(store, run));
  need(cancel(store, run));
  EXPECT_EQ(state(store, 2), "cancelled");
  EXPECT_EQ(run_state(store, run), "running");
  EXPECT_EQ(need(heartbeat(store, worker, std::vector<Held>{{1, 1, 0}}, 1000))[0].what, "cancel");
  need(finish(store, worker, 1, 1, {.word = "cancelled"}));
  EXPECT_EQ(run_state(store, run), "cancelled");
  EXPECT_FALSE(cancel(store, run));
  EXPECT_EQ(need(retry(store, run, true)), 2);
  need(bump(store, run, 3));
  EXPECT_EQ(need(get_task(store, 2)).priority, 3);
  need(cancel(store, run));
  need(remove_run(store, run));
  EXPECT_THAT(need(list_tasks(store)), SizeIs(0));
  expect_clean(store);
}

TEST_F(QueueTest, BadSubmissionsAreRefusedWhole) {
  Store store = open_turned();
  EXPECT_FALSE(submit(store, {.name = "none"}, {}));
  EXPECT_THAT(submit(store, {.name = "x"}, {{.kind = "a"}, {.kind = "a", .payload = "{"}}).error().message,
              HasSubstr("payload of task 1"));
  EXPECT_THAT(submit(store, {.name = "x"}, {{.kind = "a", .needs = "[1]"}}).error().message,
              HasSubstr("needs"));
  EXPECT_FALSE(submit(store, {.name = "x"}, {{.kind = "a", .payload = '"' + std::string(70000, 'x') + '"'}}));
  EXPECT_THAT(need(list_runs(store)), SizeIs(0));
}

TEST_F(QueueTest, ANameBelongsToOneLivingWorker) {
  Store store = open();
  const Worker worker = need(sign_on(store, "w", {}, ""));
  EXPECT_EQ(is_alive(worker), true);
  add(store, {{.kind = "a"}});
  need(claim(store, worker));
  // Another process of this boot that is alive: init; one that is not: a number beyond the limit.
  need(store.db().run("UPDATE worker SET pid=1, process=?", process_name(1)));
  EXPECT_THAT(sign_on(store, "w", {}, "").error().message, HasSubstr("at work already"));
  need(store.db().run("UPDATE worker SET pid=?, process=?", 99'999'999, process_name(1) + "7"));
  EXPECT_EQ(need(recover_lost(store)), 1);
  EXPECT_EQ(need(list_workers(store))[0].state, WorkerState::lost);
  need(sign_on(store, "w", {}, ""));
}

}  // namespace
}  // namespace nas::results
