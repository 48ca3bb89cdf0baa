#include "results/worker.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>

#include "results/queue.h"

namespace nas::results {
namespace {

// One of the worker's places for a task.
struct Slot {
  TaskProcess process;
  std::optional<Task> task = {};
  std::optional<Outcome> outcome = {};  // ended, not yet recorded
  std::string asked = {};               // why it was told to stop: cancel, pause, timeout, shutdown, lost
  std::int64_t started = 0;
  std::int64_t kill_at = 0;
  bool usable = true;
};

// Reads the signals that end a worker through a file, so that they wake poll().
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, number);
    ::sigprocmask(SIG_BLOCK, &set, &before_);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    ::close(fd_);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  int fd() const { return fd_; }
  int take() const {
    signalfd_siginfo information{};
    return ::read(fd_, &information, sizeof information) > 0 ? static_cast<int>(information.ssi_signo) : 0;
  }

 private:
  sigset_t before_{};
  int fd_ = -1;
};

class WorkerLoop {
 public:
  WorkerLoop(Store store, Worker worker, std::vector<Slot>& slots, const WorkerOptions& options)
      : store_(std::move(store)), worker_(std::move(worker)), slots_(slots), options_(options) {}

  Result<WorkerReport> run() {
    while (true) {
      NAS_CHECK(record_ended());
      NAS_CHECK(look_after());
      NAS_TRY(filled, fill());
      if (stopping() && !busy()) break;
      if (!filled && !busy()) {
        NAS_TRY(left, work_left(store_, worker_));
        if (options_.drain && !left) break;
      }
      wait();
    }
    if (const auto left = sign_off(store_, worker_.id); !left && options_.say)
      options_.say("cannot sign off: " + left.error().message);  // its tasks are recorded, which matters
    return report_;
  }

 private:
  bool stopping() const {
    return report_.signal != 0 || (options_.max_tasks > 0 && begun_ >= options_.max_tasks) ||
           std::none_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.usable; });
  }
  bool busy() const {
    return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.task.has_value(); });
  }
  std::int64_t now() const { return store_.clock().steady(); }
  void say(const Task& task, const std::string& text) const {
    if (options_.say)
      options_.say("task " + std::to_string(task.id) + " (" + task.kind + ", attempt " +
                   std::to_string(task.attempt) + "): " + text);
  }

  // Gives every free slot a task; whether all that wanted one got one.
  Result<bool> fill() {
    bool got_all = true;
    for (Slot& slot : slots_) {
      if (stopping()) return true;
      if (slot.task || !slot.usable) continue;
      auto task = claim(store_, worker_, {.lease_ms = options_.lease_ms});
      if (!task) {
        NAS_CHECK(bear(task.error()));
        return false;
      }
      if (!*task) return false;
      slot.task = *std::move(task);
      slot.asked.clear();
      slot.kill_at = 0;
      slot.started = now();
      ++begun_;
      say(*slot.task, "started");
      if (const auto sent = slot.process.run(*slot.task); !sent)
        end(slot, {"gone", "{}", sent.error().message, true});
      got_all = got_all && slot.task;
    }
    return got_all;
  }

  void ask_to_stop(Slot& slot, const std::string& why) {
    if (!slot.asked.empty() || !slot.task) return;
    slot.asked = why;
    slot.process.signal(why == "lost" ? SIGKILL : SIGTERM);
    slot.kill_at = now() + options_.grace_ms;
  }

  // Translates how the process ended, together with what it was asked, into the attempt's outcome.
  void end(Slot& slot, const TaskProcess::Ended& ended) {
    Outcome outcome{ended.word, ended.result, ended.error, now() - slot.started};
    if (ended.word == "gone") {
      outcome.word = "crashed";
      slot.usable = false;
    }
    const bool stopped = ended.by_signal || ended.word == "checkpointed";
    if (stopped && !slot.asked.empty()) {
      outcome.error.clear();
      if (slot.asked == "cancel") outcome.word = "cancelled";
      if (slot.asked == "pause") outcome.word = "paused";
      if (slot.asked == "shutdown") outcome.word = "checkpointed";
      if (slot.asked == "timeout") outcome.word = "timeout";
    }
    if (slot.asked == "timeout" && outcome.word == "timeout") outcome.error = "ran longer than its limit";
    slot.outcome = std::move(outcome);
  }

  // A store that is busy or full for a while must not cost a result nor the running tasks: what cannot be
  // recorded is kept and tried again. The error when it lasts or cannot pass.
  Result<void> bear(const Error& error) {
    if (store_.db().moved() || now() - refused_since_.value_or(now()) > kPatience_ms) return error;
    if (!refused_since_ && options_.say)
      options_.say("tried again for a minute: " + error.where + ": " + error.message);
    if (!refused_since_) refused_since_ = now();
    return {};
  }

  Result<void> record_ended() {
    for (Slot& slot : slots_) {
      if (!slot.outcome) continue;
      if (slot.asked == "lost") {
        release(slot);
        continue;
      }
      const Result<bool> taken = finish(store_, worker_, slot.task->id, slot.task->attempt, *slot.outcome);
      if (!taken) {
        NAS_CHECK(bear(taken.error()));
        ::usleep(200'000);
        continue;
      }
      refused_since_.reset();
      say(*slot.task,
          *taken ? slot.outcome->word + (slot.outcome->error.empty() ? "" : ": " + slot.outcome->error)
                 : "rejected result (stale attempt)");
      const bool done = slot.outcome->word == "done";
      NAS_TRY(now_stored, get_task(store_, slot.task->id));
      const bool failed = now_stored.state == TaskState::failed;
      report_.done += done ? 1 : 0;
      report_.failed += failed ? 1 : 0;  // beyond its retries
      report_.other += done || failed ? 0 : 1;
      release(slot);
    }
    return {};
  }

  static void release(Slot& slot) {
    slot.task.reset();
    slot.outcome.reset();
    slot.asked.clear();
  }

  // Leases, orders, time limits, and the tasks of dead workers, each at its own pace.
  Result<void> look_after() {
    const std::int64_t time = now();
    if (report_.signal != 0)
      for (Slot& slot : slots_) ask_to_stop(slot, "shutdown");
    for (Slot& slot : slots_) {
      if (!slot.task || slot.outcome) continue;
      if (slot.task->limit_s && static_cast<double>(time - slot.started) > 1000 * *slot.task->limit_s)
        ask_to_stop(slot, "timeout");
      if (slot.kill_at != 0 && time >= slot.kill_at) slot.process.signal(SIGKILL);
    }
    if (time >= next_beat_) {
      next_beat_ = time + std::min<std::int64_t>(options_.lease_ms / 3, 1000);
      NAS_CHECK(beat());
    }
    if (time >= next_recovery_) {
      next_recovery_ = time + 1000;
      if (const auto recovered = recover_lost(store_); !recovered) return bear(recovered.error());
    }
    return {};
  }

  Result<void> beat() {
    std::vector<Held> held;
    for (const Slot& slot : slots_)
      if (slot.task) held.push_back({slot.task->id, slot.task->attempt, now() - slot.started});
    const auto orders = heartbeat(store_, worker_, held, options_.lease_ms);
    if (!orders) return bear(orders.error());
    refused_since_.reset();
    for (const Order& order : *orders)
      for (Slot& slot : slots_)
        if (slot.task && slot.task->id == order.task) ask_to_stop(slot, order.what);
    return {};
  }

  // Until a task ends, a signal comes, or it is time to look again.
  void wait() {
    std::vector<pollfd> files{{signals_.fd(), POLLIN, 0}};
    std::vector<Slot*> owners{nullptr};
    for (Slot& slot : slots_)
      if (slot.task && !slot.outcome) {
        files.push_back({slot.process.socket(), POLLIN, 0});
        owners.push_back(&slot);
      }
    const bool pending =
        std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.outcome.has_value(); });
    if (::poll(files.data(), files.size(), pending ? 0 : static_cast<int>(options_.poll_ms)) <= 0) return;
    if (files[0].revents != 0)
      if (const int number = signals_.take(); report_.signal == 0) report_.signal = number;
    for (std::size_t i = 1; i < files.size(); ++i) {
      if (files[i].revents == 0) continue;
      const auto ended = owners[i]->process.poll();
      if (!ended)
        end(*owners[i], {"failed", "{}", ended.error().message, false});
      else if (*ended)
        end(*owners[i], **ended);
    }
  }

  static constexpr std::int64_t kPatience_ms = 60'000;  // with a full or busy store
  Store store_;
  Worker worker_;
  std::vector<Slot>& slots_;
  const WorkerOptions& options_;
  Signals signals_;
  WorkerReport report_;
  std::int64_t begun_ = 0;
  std::int64_t next_beat_ = 0;
  std::int64_t next_recovery_ = 0;
  std::optional<std::int64_t> refused_since_;  // by the store
};

}  // namespace

Result<WorkerReport> run_worker(const std::filesystem::path& project, const Handlers& handlers,
                                const WorkerOptions& options) {
  std::vector<Slot> slots;
  for (int i = 0; i < std::max(1, options.jobs); ++i) {
    NAS_TRY(process, TaskProcess::start(project, handlers));
    slots.push_back({.process = std::move(process)});
  }
  NAS_TRY(store, Store::open(project));
  NAS_TRY(worker, sign_on(store, options.name, options.tags, options.version));
  return WorkerLoop(std::move(store), std::move(worker), slots, options).run();
}

}  // namespace nas::results
