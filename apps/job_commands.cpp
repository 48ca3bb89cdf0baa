#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "apps/command.h"
#include "apps/slurm.h"
#include "apps/store_records.h"
#include "apps/submit_config.h"
#include "results/catalog.h"
#include "results/queue.h"
#include "results/runs.h"
#include "results/worker.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct JobOptions {
  std::vector<std::string> configs;
  std::string shell, name, run, budget, kind = "hwnas";
  results::WorkerOptions worker;
  double lease_s = 30;
  int priority = 100;
  std::int64_t task = 0;
  bool failed = false;
  SlurmOptions slurm;
};

std::optional<results::Id> chosen_task(const JobOptions& options) {
  return options.task == 0 ? std::nullopt : std::optional<results::Id>(options.task);
}

// ---- submit ----

Result<std::vector<Submission>> read_all(const JobOptions& options) {
  std::vector<Submission> all;
  for (const std::string& path : options.configs) {
    NAS_TRY(some, read_submission(path));
    for (Submission& one : some) all.push_back(std::move(one));
  }
  if (!options.shell.empty()) {
    Submission one;
    one.run.name = options.name;
    one.run.kind = "command";
    one.run.priority = options.priority;
    one.tasks.push_back(
        {.kind = "command", .payload = nlohmann::json{{"argv", {"sh", "-c", options.shell}}}.dump()});
    one.devices.emplace_back();
    all.push_back(std::move(one));
  }
  if (all.empty()) return usage_error("submit: required a file of jobs or --shell COMMAND, found neither");
  return all;
}

Result<int> submit(const Context& context, const JobOptions& options) {
  NAS_TRY(all, read_all(options));
  if (options.slurm.wanted) return submit_to_slurm(context, all, options.slurm);
  NAS_TRY(store, open_to_write(context));
  std::vector<Record> records;
  NAS_TRY(transaction, store.begin());  // a file is queued whole or not at all
  for (Submission& one : all) {
    for (std::size_t i = 0; i < one.tasks.size(); ++i) {
      if (one.devices[i].empty()) continue;
      NAS_TRY(device, results::get_device(store, one.devices[i]));
      one.tasks[i].device_id = device.id;
    }
    const std::size_t tasks = one.tasks.size();
    NAS_TRY(id, results::submit(store, std::move(one.run), std::move(one.tasks)));
    NAS_TRY(run, results::get_run(store, id));
    records.push_back({{"id", id}, {"name", run.name}, {"tasks", tasks}, {"priority", run.priority}});
  }
  NAS_CHECK(transaction.commit());
  print_records(context, {{"id", "run"}, {"name", "name"}, {"tasks", "tasks"}, {"priority", "priority"}},
                records);
  return 0;
}

// ---- worker ----

// The program itself as a task: {"argv": ["search", "job.json"]} runs `hwnas -C PROJECT search job.json`.
Result<results::TaskEnd> run_hwnas(const results::TaskContext& context) {
  results::TaskContext own = context;
  auto payload = nlohmann::json::parse(context.task.payload, nullptr, false);
  if (!payload.is_object() || !payload["argv"].is_array())
    return usage_error("hwnas task: required \"argv\", a list of texts, found " + context.task.payload);
  nlohmann::json argv{"/proc/self/exe", "-C", std::filesystem::absolute(context.project).string()};
  for (const auto& word : payload["argv"]) argv.push_back(word);
  payload["argv"] = argv;
  own.task.payload = payload.dump();
  return results::run_command(own);
}

// A requeued element of a batch system's array takes its own tasks up again.
std::string batch_name() {
  const char* const job = std::getenv("SLURM_ARRAY_JOB_ID");
  const char* const element = std::getenv("SLURM_ARRAY_TASK_ID");
  return job != nullptr && element != nullptr ? std::string("slurm-") + job + "_" + element : "";
}

Result<int> work(const Context& context, JobOptions& options) {
  if (options.worker.name.empty()) options.worker.name = batch_name();
  options.worker.lease_ms = static_cast<std::int64_t>(options.lease_s * 1000);
  if (!context.quiet)
    options.worker.say = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  NAS_TRY(report,
          results::run_worker(context.project, {{"command", results::run_command}, {"hwnas", run_hwnas}},
                              options.worker));
  print_record(context,
               {{"done", "done"}, {"failed", "failed"}, {"other", "stopped, infeasible, to be retried"}},
               {{"done", report.done}, {"failed", report.failed}, {"other", report.other}});
  if (report.signal != 0) return report.signal == SIGUSR1 ? 75 : 128 + report.signal;
  return report.failed > 0 ? 6 : 0;
}

// ---- orders ----

// A verb that changes one run and says what its state is now.
using Order = std::function<Result<void>(results::Store&, const results::Run&, const JobOptions&)>;

Result<int> order(const Context& context, const JobOptions& options, const Order& act) {
  NAS_TRY(store, open_to_write(context));
  NAS_TRY(run, results::find_run(store, options.run));
  NAS_CHECK(act(store, run, options));
  NAS_TRY(rows, results::select<results::Run>(store.db(), "WHERE id=?", run.id));
  if (!context.quiet)
    std::fprintf(stderr, "run %s: %s\n", run.name.c_str(),
                 rows.empty() ? "removed" : std::string(results::to_word(rows[0].state)).c_str());
  return 0;
}

Result<void> retry(results::Store& store, const results::Run& run, const JobOptions& options) {
  NAS_TRY(n, results::retry(store, run.id, !options.failed, chosen_task(options)));
  if (n > 0) return {};
  return usage_error("nothing to retry: run " + run.name + " has no " +
                     (options.failed ? "failed" : "unsuccessful") + " task");
}

CLI::App* add_order(CLI::App& app, Context& context, const std::shared_ptr<JobOptions>& options,
                    const char* name, const char* description, const std::vector<std::string>& examples,
                    Order act) {
  CLI::App* command = add_command(app, name, description, examples);
  command->add_option("run", options->run, "Name or number of the run, or latest")->required();
  command->callback([&context, options, act = std::move(act)] {
    context.action = [&context, options, act] { return order(context, *options, act); };
  });
  return command;
}

void add_orders(CLI::App& app, Context& context, const std::shared_ptr<JobOptions>& options) {
  using results::Run;
  using results::Store;
  CLI::App* cancel = add_order(app, context, options, "cancel", "End a run, or one task of it",
                               {"hwnas cancel mcu", "hwnas cancel mcu --task 7"},
                               [](Store& store, const Run& run, const JobOptions& o) {
                                 return results::cancel(store, run.id, chosen_task(o));
                               });
  add_order(app, context, options, "pause", "Let a run's tasks checkpoint and wait", {"hwnas pause mcu"},
            [](Store& store, const Run& run, const JobOptions&) { return results::pause(store, run.id); });
  add_order(app, context, options, "resume", "Let a paused run go on", {"hwnas resume mcu"},
            [](Store& store, const Run& run, const JobOptions&) { return results::resume(store, run.id); });
  CLI::App* again =
      add_order(app, context, options, "retry", "Put failed, cancelled and infeasible tasks back",
                {"hwnas retry mcu --failed", "hwnas retry mcu --task 7"}, retry);
  again->add_flag("--failed", options->failed, "Only the failed ones");
  for (CLI::App* command : {cancel, again}) command->add_option("--task", options->task, "This task only");
  add_order(app, context, options, "bump", "Change a run's priority; lower numbers go first",
            {"hwnas bump mcu --priority 0"},
            [](Store& store, const Run& run, const JobOptions& o) {
              return results::bump(store, run.id, o.priority);
            })
      ->add_option("--priority", options->priority, "The new priority")
      ->required();
  CLI::App* extend =
      add_order(app, context, options, "extend", "Give a run more budget and let it go on",
                {"hwnas extend mcu --budget +200evals", "hwnas extend mcu --budget 2h --kind search"},
                [](Store& store, const Run& run, const JobOptions& o) {
                  return results::extend(store, run.id, o.budget, o.kind);
                });
  extend->add_option("--budget", options->budget, "+ adds; evals, epochs, steps, s, min, h, d, Wh")
      ->required();
  extend->add_option("--kind", options->kind, "Kind of the tasks that go on, with all later stages");
  add_order(app, context, options, "rm", "Remove a run and everything that only it has", {"hwnas rm mcu"},
            [](Store& store, const Run& run, const JobOptions&) -> Result<void> {
              NAS_CHECK(results::remove_run(store, run.id));
              return results::remove_logs(store.project(), run.id);
            });
}

}  // namespace

void add_job_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<JobOptions>();
  CLI::App* submit_command =
      add_command(app, "submit", "Queue jobs; workers run them",
                  {"hwnas submit jobs.json", "hwnas submit --shell 'make test' --name nightly",
                   "hwnas submit jobs.json --slurm --sbatch=--time=2:00:00"});
  submit_command->add_option("config", options->configs, "Files of jobs (docs/store.md)");
  submit_command->add_option("--shell", options->shell, "One job: this shell command");
  submit_command->add_option("--name", options->name, "Name of the run made by --shell");
  submit_command->add_option("--priority", options->priority, "Of the run made by --shell; lower goes first");
  CLI::Option* slurm =
      submit_command->add_flag("--slurm", options->slurm.wanted,
                               "Hand them to Slurm instead, as a job array (docs/several-machines.md)");
  submit_command
      ->add_option("--sbatch", options->slurm.sbatch, "An option of sbatch: --sbatch=--time=2:00:00")
      ->needs(slurm);
  submit_command
      ->add_option("--notice", options->slurm.notice_s,
                   "Seconds before the time limit at which Slurm asks for a checkpoint")
      ->check(CLI::Range(1, 65535))
      ->needs(slurm);
  submit_command->add_flag("--dry-run", options->slurm.dry_run, "Write the script, submit nothing")
      ->needs(slurm);
  submit_command->callback(
      [&context, options] { context.action = [&context, options] { return submit(context, *options); }; });
  CLI::App* worker = add_command(app, "worker", "Run queued tasks, each in a process of its own",
                                 {"hwnas worker --jobs 4 --drain", "hwnas worker --tags usb,stm32f746"});
  worker->add_option("-j,--jobs", options->worker.jobs, "Tasks at once")->check(CLI::Range(1, 1024));
  worker->add_option("--tags", options->worker.tags, "What this machine has")->delimiter(',');
  worker->add_option("--name", options->worker.name, "Name of the worker; default host-pid");
  worker->add_flag("--drain", options->worker.drain, "End when nothing is left to do");
  worker->add_option("--max-tasks", options->worker.max_tasks, "End after so many tasks");
  worker->add_option("--lease", options->lease_s, "Seconds after which a silent worker has lost its tasks")
      ->check(CLI::Range(1.0, 86400.0));
  worker->callback(
      [&context, options] { context.action = [&context, options] { return work(context, *options); }; });
  add_orders(app, context, options);
}

}  // namespace nas::apps
