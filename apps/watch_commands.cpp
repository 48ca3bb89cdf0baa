#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "apps/command.h"
#include "apps/ledger.h"
#include "apps/progress.h"
#include "apps/run_origin.h"
#include "apps/store_records.h"
#include "results/catalog.h"
#include "results/queue.h"
#include "results/runs.h"

// Looking at runs: ls, status, logs. All read-only.
namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using results::Run;
using results::RunState;
using results::Store;

struct WatchOptions {
  std::string what = "runs";
  std::string run;
  std::int64_t limit = 1000;
  std::int64_t task = 0;
  bool watch = false, follow = false;
};

bool is_over(RunState state) {
  return state != RunState::queued && state != RunState::running && state != RunState::paused;
}

int exit_code(RunState state) {
  return state == RunState::partial ? 6 : state == RunState::failed || state == RunState::cancelled ? 1 : 0;
}

// ---- ls ----

Record run_record(const Run& run, const results::Progress& progress) {
  Record record = to_record(run);
  // Its process is gone: the same command takes it up.
  if (is_abandoned(run)) record["state"] = "interrupted";
  record["tasks"] = progress.total();
  record["over"] = progress.over();
  record["wait_s"] = static_cast<double>(progress.wait_ms) / 1000;
  record["run_s"] = static_cast<double>(progress.run_ms) / 1000;
  if (progress.total() == 0 && run.started && run.ended)
    record["run_s"] = static_cast<double>(*run.ended - *run.started) / 1000;
  for (const auto& [state, n] : progress.tasks)
    record["task_states"][std::string(results::to_word(state))] = n;
  record["created_text"] = time_text(run.created);
  return record;
}

Result<int> list_runs(const Context& context, Store& store, std::int64_t limit) {
  NAS_TRY(runs, results::list_runs(store, limit));
  NAS_TRY(progress, results::progress(store));
  std::vector<Record> records;
  for (const Run& run : runs) records.push_back(run_record(run, progress[run.id]));
  print_records(context,
                {{"id", "run"},
                 {"name", "name"},
                 {"kind", "kind"},
                 {"state", "state"},
                 {"over", "over"},
                 {"tasks", "tasks"},
                 {"candidates", "candidates"},
                 {"feasible", "feasible"},
                 {"wait_s", "queued", "s"},
                 {"run_s", "ran", "s"},
                 {"created_text", "created (UTC)"}},
                records);
  return 0;
}

template <class Stored>
int print_all(const Context& context, const std::vector<Stored>& rows,
              std::initializer_list<const char*> keys) {
  std::vector<Record> records;
  for (const Stored& row : rows) records.push_back(to_record(row));
  std::vector<Column> columns;
  for (const char* key : keys) columns.push_back({key, key});
  print_records(context, columns, records);
  return 0;
}

Result<int> list(const Context& context, const WatchOptions& options) {
  NAS_TRY(store, open_to_read(context));
  std::optional<results::Id> run;
  if (!options.run.empty()) {
    NAS_TRY(found, results::find_run(store, options.run));
    run = found.id;
  }
  const std::string& what = options.what;
  if (what == "runs") return list_runs(context, store, options.limit);
  if (what == "tasks") {
    NAS_TRY(rows, results::list_tasks(store, run, options.limit));
    return print_all(context, rows,
                     {"id", "run_id", "number", "stage", "kind", "state", "attempt", "failures", "wait_ms",
                      "run_ms", "error"});
  }
  if (what == "candidates") {
    if (!run) return usage_error("ls candidates: required --run RUN, found none");
    NAS_TRY(rows, results::best_candidates(store, *run, options.limit));
    if (rows.empty()) {  // nothing has an accuracy: in their order
      NAS_TRY(all, results::list_candidates(store, *run, 0, options.limit));
      rows = std::move(all);
    }
    return print_all(context, rows,
                     {"number", "arch_id", "accuracy", "latency_ms", "ram_bytes", "flash_bytes", "macs",
                      "source", "on_front"});
  }
  if (what == "workers") {
    NAS_TRY(rows, results::list_workers(store));
    return print_all(context, rows, {"id", "name", "host", "pid", "tags", "state"});
  }
  if (what == "devices") {
    NAS_TRY(rows, results::list_devices(store));
    return print_all(context, rows, {"id", "name", "kind", "tags"});
  }
  if (what == "exports") {
    NAS_TRY(rows, results::list_exports(store));
    return print_all(context, rows, {"id", "arch_id", "run_id", "path"});
  }
  NAS_TRY(rows, results::list_checkpoints(store));
  return print_all(context, rows,
                   {"id", "supernet_id", "stage", "step", "validation_accuracy", "bytes", "object"});
}

// ---- status ----

// Seconds until the tasks that are open will be over at the rate so far.
std::optional<double> eta_s(const Run& run, const results::Progress& progress, results::Time now) {
  if (!run.started || run.ended || progress.over() == 0) return {};
  const double passed = static_cast<double>(now - *run.started) / 1000;
  return passed / static_cast<double>(progress.over()) *
         static_cast<double>(progress.total() - progress.over());
}

std::vector<Column> status_columns() {
  std::vector<Column> columns{{"name", "run"},
                              {"kind", "kind"},
                              {"state", "state"},
                              {"error", "reason"},
                              {"over", "tasks over"},
                              {"tasks", "  of"},
                              {"states", "tasks by state"},
                              {"wait_s", "time in the queue", "s"},
                              {"run_s", "time running", "s"},
                              {"eta_s", "left at this rate", "s"},
                              {"candidates", "candidates"},
                              {"feasible", "feasible"},
                              {"best", "best candidate"},
                              {"created_text", "created (UTC)"},
                              {"note", "note"}};
  for (Column& column : origin_columns()) columns.push_back(std::move(column));
  return columns;
}

Result<int> status(const Context& context, const WatchOptions& options) {
  NAS_TRY(store, open_to_read(context));
  NAS_TRY(first, results::find_run(store, options.run));
  while (true) {
    NAS_TRY(run, results::get_run(store, first.id));
    NAS_TRY(progress, results::progress(store, run.id));
    Record record = run_record(run, progress);
    const auto eta = eta_s(run, progress, store.now());
    record["eta_s"] = eta ? Record(*eta) : Record(nullptr);
    record["states"] = record.contains("task_states") ? record["task_states"].dump() : "{}";
    NAS_CHECK(add_origin(record, store, run));
    const bool last = !options.watch || is_over(run.state) || is_abandoned(run);
    if (options.watch && ::isatty(STDERR_FILENO) != 0) {
      std::fprintf(stderr, "\r\033[K%s: %s, %lld of %lld tasks, %lld candidates%s", run.name.c_str(),
                   std::string(results::to_word(run.state)).c_str(), static_cast<long long>(progress.over()),
                   static_cast<long long>(progress.total()), static_cast<long long>(run.candidates),
                   eta ? (", " + duration_text(*eta) + " left").c_str() : "");
      if (last) std::fputc('\n', stderr);
    }
    if (last) {
      print_record(context, status_columns(), record);
      return !options.watch ? 0 : is_abandoned(run) ? 1 : exit_code(run.state);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

// ---- logs ----

// Prints what a file holds from `from` on; the new end.
std::uintmax_t print_from(const std::filesystem::path& path, std::uintmax_t from) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(from));
  char buffer[1 << 14];
  while (file.read(buffer, sizeof buffer), file.gcount() > 0) {
    std::fwrite(buffer, 1, static_cast<std::size_t>(file.gcount()), stdout);
    from += static_cast<std::uintmax_t>(file.gcount());
  }
  std::fflush(stdout);
  return from;
}

class LogPrinter {
 public:
  LogPrinter(const Context& context, Store& store, results::Id run, std::int64_t task)
      : context_(context), store_(store), run_(run), task_(task) {}

  // Everything that is new since the last call.
  Result<void> print_new() {
    while (true) {
      NAS_TRY(events, results::list_events(store_, last_, run_));
      if (events.empty()) break;
      for (const results::Event& event : events) print(event);
      last_ = events.back().id;
    }
    NAS_TRY(tasks, results::list_tasks(store_, run_, 1'000'000));
    for (const results::Task& task : tasks) {
      if (task.attempt == 0 || (task_ != 0 && task.id != task_)) continue;
      const std::string name = results::log_path(task);
      const std::filesystem::path path = std::filesystem::path(context_.project) / name;
      std::error_code failed;
      const auto size = std::filesystem::file_size(path, failed);
      if (failed || size <= ends_[name]) continue;
      if (shown_ != name)
        std::printf("==> task %lld, attempt %d: %s\n", static_cast<long long>(task.id), task.attempt,
                    name.c_str());
      shown_ = name;
      ends_[name] = print_from(path, ends_[name]);
    }
    return {};
  }

 private:
  void print(const results::Event& event) const {
    if (task_ != 0 && event.task_id != task_) return;
    const std::string task = event.task_id ? " task " + std::to_string(*event.task_id) : "";
    std::printf("%s %-7s %s%s%s%s\n", time_text(event.time).c_str(),
                std::string(results::to_word(event.level)).c_str(), event.code.c_str(), task.c_str(),
                event.text.empty() ? "" : ": ", event.text.c_str());
  }

  const Context& context_;
  Store& store_;
  results::Id run_;
  std::int64_t task_;
  results::Id last_ = 0;
  std::map<std::string, std::uintmax_t> ends_;
  std::string shown_;  // whose output was printed last
};

Result<int> logs(const Context& context, const WatchOptions& options) {
  NAS_TRY(store, open_to_read(context));
  NAS_TRY(run, results::find_run(store, options.run));
  LogPrinter printer(context, store, run.id, options.task);
  while (true) {
    NAS_TRY(now, results::get_run(store, run.id));
    NAS_CHECK(printer.print_new());
    if (!options.follow || is_over(now.state) || is_abandoned(now)) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace

std::string time_text(results::Time time) {
  const std::time_t seconds = time / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

Result<Store> open_to_read(const Context& context) {
  return Store::open(context.project, {.access = results::Access::read});
}
Result<Store> open_to_write(const Context& context) { return Store::open(context.project); }

void add_watch_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* ls =
      add_command(app, "ls", "List runs, tasks, workers and what else the project holds",
                  {"hwnas ls", "hwnas ls tasks --run mcu -f json", "hwnas ls candidates --run latest"});
  ls->add_option("what", options->what, "runs, tasks, candidates, workers, devices, exports, checkpoints")
      ->check(CLI::IsMember({"runs", "tasks", "candidates", "workers", "devices", "exports", "checkpoints"}));
  ls->add_option("--run", options->run, "Of this run only");
  ls->add_option("--limit", options->limit, "At most so many rows")->check(CLI::Range(1, 1'000'000'000));
  ls->callback(
      [&context, options] { context.action = [&context, options] { return list(context, *options); }; });
  CLI::App* status_command = add_command(app, "status", "How a run is getting on",
                                         {"hwnas status latest", "hwnas status mcu --watch"});
  CLI::App* logs_command = add_command(app, "logs", "A run's events and the output of its tasks",
                                       {"hwnas logs mcu", "hwnas logs mcu -F"});
  for (CLI::App* command : {status_command, logs_command})
    command->add_option("run", options->run, "Name or number of the run, or latest")->required();
  status_command->add_flag("--watch", options->watch,
                           "Until it is over; exit code 0 done, 6 partly, 1 failed");
  logs_command->add_flag("-F,--follow", options->follow, "Go on until the run is over");
  logs_command->add_option("--task", options->task, "Of this task only");
  status_command->callback(
      [&context, options] { context.action = [&context, options] { return status(context, *options); }; });
  logs_command->callback(
      [&context, options] { context.action = [&context, options] { return logs(context, *options); }; });
}

}  // namespace nas::apps
