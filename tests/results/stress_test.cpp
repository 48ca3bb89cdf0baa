#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "results/queue.h"
#include "results/runs.h"
#include "results/worker.h"
#include "space/base/rng.h"
#include "tests/results/fixture.h"

// Many processes on one store, and processes that die at any moment. HWNAS_KILLS and HWNAS_TASKS set the
// size.
namespace nas::results {
namespace {

int setting(const char* name, int fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::atoi(text);
}

class Stress : public ProjectTest {
 protected:
  // Runs `body` in a process of its own.
  static pid_t start(const std::function<bool()>& body) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    bool good = false;
    try {
      good = body();
    } catch (const std::exception& exception) {
      std::fprintf(stderr, "%s\n", exception.what());
    }
    ::_exit(good ? 0 : 1);
  }
  static bool succeeded(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  std::int64_t number(const char* sql) {
    Store store = open_reader();
    return need(store.db().value<std::int64_t>(sql)).value_or(0);
  }
};

TEST_F(Stress, SixteenProcessesDoTenThousandTasksEachExactlyOnceWhileAReaderLooks) {
  const int n = setting("HWNAS_TASKS", 10000);
  {
    Store store = open();
    need(submit(store, {.name = "many", .kind = "count"},
                std::vector<Task>(static_cast<std::size_t>(n), {.kind = "count"})));
  }
  const auto begin = std::chrono::steady_clock::now();
  std::vector<pid_t> workers;
  for (int i = 0; i < 16; ++i)
    workers.push_back(start([&] {
      Store store = open();
      const Worker worker = need(sign_on(store, "", {}, ""));
      while (const auto task = need(claim(store, worker)))
        if (!need(finish(store, worker, task->id, task->attempt, {.word = "done"}))) return false;
      return true;
    }));
  const pid_t reader = start([&] {
    std::int64_t looks = 0;
    for (std::int64_t over = 0; over < n; ++looks) {
      Store store = open_reader();
      const std::int64_t now = need(progress(store, 1)).over();
      if (now < over) return false;  // time never runs back for a reader
      over = now;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::printf("the reader looked %lld times\n", static_cast<long long>(looks));
    std::fflush(stdout);
    return looks > 0;
  });
  for (const pid_t pid : workers) EXPECT_TRUE(succeeded(pid));
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  EXPECT_TRUE(succeeded(reader));
  std::printf("%d tasks claimed and finished by 16 processes in %.2f s: %.0f a second\n", n, passed.count(),
              n / passed.count());
  EXPECT_EQ(number("SELECT count(*) FROM attempt WHERE outcome='done'"), n);
  EXPECT_EQ(number("SELECT count(*) FROM attempt"), n);
  EXPECT_EQ(number("SELECT max(attempt) FROM task"), 1);
  EXPECT_EQ(number("SELECT count(*) FROM run WHERE state='done'"), 1);
  Store store = open_reader();
  expect_clean(store);
}

TEST_F(Stress, KilledWorkersAndWritersLoseNothingAndRunNothingTwice) {
  const int kills = setting("HWNAS_KILLS", 12);
  const int n = 40 * kills;
  constexpr int kBatch = 50;
  {
    Store store = open();
    std::vector<Task> tasks(static_cast<std::size_t>(n), {.kind = "note", .max_failures = 1'000'000});
    need(submit(store, {.name = "work", .kind = "note"}, tasks));
    need(add_run(store, {.name = "search", .kind = "search"}));
    make_architectures(store, 1);
  }
  const Handlers handlers{{"note", [](const TaskContext& context) -> Result<TaskEnd> {
                             ::usleep(2000);
                             return TaskEnd{.result = std::to_string(context.task.id)};
                           }}};
  const auto work = [&](bool drain) {
    return run_worker(project_, handlers, {.jobs = 2, .drain = drain, .poll_ms = 5}).operator bool();
  };
  // Appends batches for ever; each batch is there whole or not at all.
  const auto write = [&] {
    Store store = open();
    while (true) {
      const std::int64_t first = need(get_run(store, 2)).candidates;
      std::vector<Candidate> rows(kBatch);
      for (int i = 0; i < kBatch; ++i)
        rows[static_cast<std::size_t>(i)] = {.number = first + i, .arch_id = 1};
      need(add_candidates(store, 2, rows));
      need(add_snapshot(store, 2, first, Bytes8(20'000, 1)));
    }
    return true;
  };
  std::int64_t finished = 0;
  for (int i = 0; i < kills; ++i) {
    const std::vector<pid_t> pids{start([&] { return work(false); }), start([&] { return work(false); }),
                                  start(write)};
    Rng rng(11, "kill", 0, static_cast<std::uint64_t>(i));
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + rng.below(120)));
    for (const pid_t pid : pids) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    Store store = open_reader();
    ASSERT_THAT(need(check(store)), testing::IsEmpty()) << "after kill " << i;
    const std::int64_t now = need(progress(store, 1)).tasks[TaskState::done];
    ASSERT_GE(now, finished) << "a finished task was lost";
    ASSERT_EQ(need(get_run(store, 2)).candidates % kBatch, 0);
    finished = now;
  }
  {
    // What was lost waits up to a minute after many failures; the test does not.
    Store store = open();
    need(recover_lost(store));
    need(store.db().script("UPDATE task SET not_before=0 WHERE state='queued'"));
  }
  EXPECT_TRUE(succeeded(start([&] { return work(true); })));
  EXPECT_EQ(number("SELECT count(*) FROM task WHERE state='done' AND result=CAST(id AS TEXT)"), n);
  EXPECT_EQ(number("SELECT count(*) FROM attempt WHERE outcome='done'"), n);
  std::printf("%d kills of 3 processes: %d tasks, %lld attempts, %lld candidates\n", kills, n,
              static_cast<long long>(number("SELECT count(*) FROM attempt")),
              static_cast<long long>(number("SELECT count(*) FROM candidate")));
  Store store = open_reader();
  expect_clean(store);
}

}  // namespace
}  // namespace nas::results
