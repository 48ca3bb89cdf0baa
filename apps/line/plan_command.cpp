#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/line/plan_estimate.h"
#include "apps/progress.h"
#include "space/json/document.h"
#include "supernet/scaling.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

std::string amount_text(double amount, const std::string& unit) {
  return std::to_string(std::llround(amount)) + " " + unit;
}

std::string energy_text(double joules) {
  char text[32];
  if (joules < 36000)
    std::snprintf(text, sizeof text, "%.3g kJ", joules / 1000);
  else
    std::snprintf(text, sizeof text, "%.2g kWh", joules / 3.6e6);
  return text;
}

std::string size_text(double bytes) {
  char text[32];
  const bool large = bytes >= 1e9;
  std::snprintf(text, sizeof text, large ? "%.2f GB" : "%.2f MB", bytes / (large ? 1e9 : 1e6));
  return text;
}

Record to_record(const StagePlan& plan) {
  Record record{{"stage", plan.stage},
                {"state", plan.kept ? "kept" : "to do"},
                {"work", plan.unit.empty() ? "" : amount_text(plan.amount, plan.unit)},
                {"amount", plan.amount},
                {"unit", plan.unit},
                {"seconds", nullptr},
                {"low", nullptr},
                {"high", nullptr},
                {"time", "not known"},
                {"likely", ""},
                {"source", plan.source},
                {"disk_bytes", std::llround(plan.disk_bytes)},
                {"peak_memory_bytes", std::llround(plan.memory_bytes)},
                {"disk", size_text(plan.disk_bytes)},
                {"memory", size_text(plan.memory_bytes)},
                {"energy_joules", nullptr},
                {"energy", "not known"}};
  if (plan.timed) {
    record["seconds"] = plan.seconds;
    record["low"] = plan.low;
    record["high"] = plan.high;
    record["time"] = duration_text(plan.seconds);
    record["likely"] = duration_text(plan.low) + " to " + duration_text(plan.high);
  }
  if (plan.joules) {
    record["energy_joules"] = *plan.joules;
    record["energy"] = energy_text(*plan.joules);
    record["energy_from"] = plan.watts;
  }
  return record;
}

// What is still to do. Low and high are sums, as if all estimates were wrong in one direction.
StagePlan total_of(const std::vector<StagePlan>& plans) {
  StagePlan total;
  total.stage = "total to do";
  total.source = "sum";
  total.kept = true;
  total.joules = 0;
  total.watts = "sum";
  for (const StagePlan& plan : plans) {
    if (plan.kept) continue;
    total.kept = false;
    total.timed = total.timed && plan.timed;
    total.seconds += plan.seconds;
    total.low += plan.low;
    total.high += plan.high;
    total.disk_bytes += plan.disk_bytes;
    total.memory_bytes = std::max(total.memory_bytes, plan.memory_bytes);
    total.joules = total.joules && plan.joules ? std::optional(*total.joules + *plan.joules) : std::nullopt;
  }
  return total;
}

const std::vector<Column> kPlanColumns{
    {"stage", "stage"}, {"state", "state"},        {"work", "work"},
    {"time", "about"},  {"likely", "likely"},      {"source", "known from"},
    {"disk", "disk"},   {"memory", "peak memory"}, {"energy", "energy (modelled)"}};

struct PlanOptions {
  std::string path, link = "1gbit", compress = "none";
  int ranks = 1, local_steps = 1;
};

Result<std::vector<StagePlan>> plan_project(const fs::path& project, const PlanOptions& options) {
  NAS_TRY(config, read_line_config(project));
  Machines machines;
  machines.ranks = options.ranks;
  NAS_TRY(exchange, supernet::parse_compression(options.compress));
  machines.exchange = exchange;
  machines.exchange.local_steps = options.local_steps;
  NAS_TRY(link, supernet::parse_link(options.link));
  machines.link_bytes_per_second = link;
  return plan_stages(project, config, machines);
}

// A project's folder or hwnas.json, a search, or a file of jobs.
Result<std::vector<StagePlan>> plan_any(const fs::path& project, const PlanOptions& options) {
  const std::string& path = options.path;
  std::error_code ignored;
  if (path.empty()) return plan_project(project, options);
  if (fs::is_directory(path, ignored)) return plan_project(path, options);
  if (fs::path(path).filename() == "hwnas.json")
    return plan_project(fs::absolute(path).parent_path(), options);
  NAS_TRY(document, JsonDocument::load(path));
  if (document.root().is_object() && document.root().contains("problem"))
    return plan_search_file(project, path);
  return plan_jobs_file(project, path);
}

Result<int> print_plan(const Context& context, const PlanOptions& options) {
  NAS_TRY(plans, plan_any(context.project, options));
  std::vector<Record> records;
  for (const StagePlan& plan : plans) records.push_back(to_record(plan));
  const StagePlan total = total_of(plans);
  records.push_back(to_record(total));
  print_records(context, kPlanColumns, records);
  if (context.quiet) return 0;
  if (total.kept)
    std::fprintf(stderr, "nothing is left to do\n");
  else if (total.timed)
    std::fprintf(stderr,
                 "about %s, likely %s to %s, on a machine as busy as now; nothing was run or written\n",
                 duration_text(total.seconds).c_str(), duration_text(total.low).c_str(),
                 duration_text(total.high).c_str());
  return 0;
}

}  // namespace

void add_plan_command(CLI::App& app, Context& context) {
  CLI::App* plan =
      add_command(app, "plan", "What a project, a search or a file of jobs will need; nothing runs",
                  {"hwnas plan", "hwnas plan mine -f json", "hwnas plan searches/mcu.json",
                   "hwnas plan --ranks 8 --link 1gbit --compress powersgd:4"});
  auto options = std::make_shared<PlanOptions>();
  plan->add_option("--ranks", options->ranks,
                   "Machines like this one that share training and sweep (modelled)")
      ->check(CLI::Range(1, 65536));
  plan->add_option("--link", options->link, "Between them: 100mbit, 10gbit, 1gbyte (default: 1gbit)");
  plan->add_option("--compress", options->compress, "As hwnas train has it");
  plan->add_option("--local-steps", options->local_steps, "As hwnas train has it")
      ->check(CLI::Range(1, 1000000));
  plan->add_option(
      "CONFIG", options->path,
      "A project's folder or hwnas.json (default: the project), a search's file, or a file of jobs");
  plan->callback([&context, options] {
    context.action = [&context, options] { return print_plan(context, *options); };
  });
}

}  // namespace nas::apps
