#pragma once
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// What every command shares. A command's callback only sets `action`; main runs it, prints its error as one
// line and turns it into the exit code.
struct Context {
  std::string format = "table";      // table, json, jsonl, csv, value
  std::vector<std::string> columns;  // keys to print, in order; empty: the command's own
  std::string project = ".";         // the project folder: hwnas.json, hwnas.db, runs/, exports/
  int verbosity = 0;
  bool quiet = false;
  std::vector<std::string> arguments;  // argv as given
  // Returns the exit code of a run that did not fail (0, or 3, 4, 6, 75, … with its meaning already printed).
  std::function<Result<int>()> action;
};

// One column of a listing: key in the records, heading, unit ("" for none).
struct Column {
  std::string key;
  std::string heading;
  std::string unit = {};
};

// Prints to stdout in the chosen format: aligned text, one JSON array, one object a line, CSV, bare values.
// JSON keeps every key of the records; the other formats print the columns (or --columns).
void print_records(const Context& context, const std::vector<Column>& columns,
                   const std::vector<nlohmann::ordered_json>& records);
// One record: "heading  value unit" lines, or one JSON object.
void print_record(const Context& context, const std::vector<Column>& columns,
                  const nlohmann::ordered_json& record);

// A subcommand whose help shows `examples` before anything else.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description,
                      const std::vector<std::string>& examples);

// Runs the same command line in hwnas-torch, the build of this program that is linked with LibTorch (its
// start costs most of a second, so only commands that need it pay). Returns only when that program cannot be
// started.
Result<int> continue_with_torch(const Context& context);
// The command line for a further program of ours: the project's folder was entered already and HWNAS_PROJECT
// says so; a relative one would be entered twice.
std::vector<std::string> arguments_inside(const Context& context);
// True in hwnas-torch.
bool has_torch();
const char* version();

// The explicit list of commands, one function a group, each in <group>_commands.cpp.
void add_data_commands(CLI::App& app, Context& context);
void add_device_commands(CLI::App& app, Context& context);
void add_doctor_commands(CLI::App& app, Context& context);
void add_estimate_commands(CLI::App& app,
                           Context& context);             // and `predict explain`: after add_predict_commands
void add_line_commands(CLI::App& app, Context& context);  // init, run, demo
void add_plan_command(CLI::App& app, Context& context);
void add_predict_commands(CLI::App& app, Context& context);
void add_profile_commands(CLI::App& app, Context& context);
void add_search_commands(CLI::App& app, Context& context);
void add_session_model_commands(CLI::App& app,
                                Context& context);  // verbs of `predict`: after add_predict_commands
void add_space_commands(CLI::App& app, Context& context);
void add_cost_commands(CLI::App& app, Context& context);  // verbs of `space`: after add_space_commands
void add_table_commands(CLI::App& app, Context& context);
struct TorchForms;  // apps/verify/forms.h
void add_verify_commands(CLI::App& app, Context& context, const TorchForms& torch);
void add_export_commands(CLI::App& app, Context& context);    // in hwnas-torch
void add_compress_command(CLI::App& app, Context& context);   // in hwnas-torch
void add_train_commands(CLI::App& app, Context& context);     // in hwnas-torch, as the next
void add_accuracy_commands(CLI::App& app, Context& context);  // evaluate, sweep
void add_check_command(CLI::App& app, Context& context);
void add_job_commands(CLI::App& app, Context& context);    // submit, worker, cancel, pause, resume, …
void add_watch_commands(CLI::App& app, Context& context);  // ls, status, logs
void add_db_commands(CLI::App& app, Context& context);
void add_report_commands(CLI::App& app, Context& context);  // report
void add_serve_command(CLI::App& app, Context& context);
void add_show_command(CLI::App& app, Context& context);
void add_completion_commands(CLI::App& app, Context& context);  // completion, man

}  // namespace nas::apps
