#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/command_line.h"
#include "apps/torch_agent.h"
#if HWNAS_HAS_TORCH
#include "apps/quantize_commands.h"
#endif
#include "apps/verify.h"

namespace nas::apps {
namespace {

// Commands whose work needs LibTorch: hwnas hands them to hwnas-torch, which has them all.
struct TorchCommand {
  const char* name;
  const char* description;
};
constexpr TorchCommand kTorchCommands[] = {
    {"train", "Train a once-for-all supernet, or one network"},
    {"evaluate", "Accuracy of sub-networks of a trained supernet"},
    {"sweep", "Measure the accuracy of a spread of sub-networks, once for all devices"},
    {"check", "Measure the front of a search on the supernet and its devices, beside what was predicted"},
    {"compress",
     "Prune, mask, factor and give fewer bits to a network; the result goes to export and estimate"},
    {"quantize-report", "What int8 costs: accuracy by calibration method, sensitivity by layer"},
    {"export", "Sub-networks as TorchScript, ONNX, TFLite, C and safetensors, with what proves them equal"},
};

// Shows a command's examples (kept in its footer) before its usage.
class ExamplesFirst : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    if (mode == CLI::AppFormatMode::Sub) return CLI::Formatter::make_help(app, name, mode);
    std::string text = make_description(app);
    if (!app->get_footer().empty()) text += "\nExamples:\n" + app->get_footer() + "\n";
    text +=
        make_usage(app, name) + make_positionals(app) + make_groups(app, mode) + make_subcommands(app, mode);
    return text;
  }
};

int exit_code(const Error& error) {
  switch (error.kind) {
    case ErrorKind::usage:
      return 2;
    case ErrorKind::infeasible:
      return 3;
    case ErrorKind::verification:
      return 4;
    case ErrorKind::device:
      return 5;
    case ErrorKind::partial:
      return 6;
    case ErrorKind::store:
      return 7;
    case ErrorKind::failure:
      break;
  }
  return 1;
}

// The first argument that is no option nor an option's value.
std::string command_of(const std::vector<std::string>& arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (!arguments[i].starts_with('-')) return arguments[i];
    const auto takes_value = {"-f", "--format", "-C", "--project", "--columns"};
    if (std::find(takes_value.begin(), takes_value.end(), arguments[i]) != takes_value.end()) ++i;
  }
  return {};
}

void add_options(CLI::App& app, Context& context) {
  app.add_option("-f,--format", context.format, "How to print: table, json, jsonl, csv, value")
      ->check(CLI::IsMember({"table", "json", "jsonl", "csv", "value"}));
  app.add_option("--columns", context.columns, "Keys to print, separated by commas")->delimiter(',');
  app.add_option("-C,--project", context.project, "The project folder: as if started there")
      ->envname("HWNAS_PROJECT");
  app.add_flag("-v,--verbose", context.verbosity, "Say more; twice for more still");
  app.add_flag("-q,--quiet", context.quiet, "No progress on stderr");
  app.set_version_flag("--version", std::string("hwnas ") + HWNAS_VERSION);
  app.fallthrough();
  app.require_subcommand(0, 1);
}

bool entered = false;  // the project's folder has become the current one

// Every path on the command line is meant from the project's folder.
Result<void> enter_project(Context& context) {
  std::error_code failed;
  std::filesystem::current_path(context.project, failed);
  if (failed) return usage_error("no project folder: " + failed.message(), context.project);
  context.project = ".";
  entered = true;
  ::setenv("HWNAS_PROJECT", ".", 1);  // for the programs that this one starts
  return {};
}

int run(int argc, char** argv) {
  Context context;
  context.arguments.assign(argv, argv + argc);
  const std::string command = command_of(context.arguments);
  if (!has_torch())
    for (const TorchCommand& torch : kTorchCommands)
      if (command == torch.name) {
        const auto failed = continue_with_torch(context);
        std::fprintf(stderr, "%s\n", to_string(failed.error()).c_str());
        return exit_code(failed.error());
      }
  CLI::App app{"hwnas: networks made for your images and your device", "hwnas"};
  app.formatter(std::make_shared<ExamplesFirst>());
  app.footer("  hwnas demo\n  hwnas space count ofa-mbv3-w1.0 -f json");
  add_options(app, context);
  add_data_commands(app, context);
  add_device_commands(app, context);
  add_doctor_commands(app, context);
  add_line_commands(app, context);
  add_plan_command(app, context);
  add_predict_commands(app, context);
  add_estimate_commands(app, context);
  add_session_model_commands(app, context);
  add_profile_commands(app, context);
  add_search_commands(app, context);
  add_space_commands(app, context);
  add_cost_commands(app, context);
  add_table_commands(app, context);
#if HWNAS_HAS_TORCH
  add_verify_commands(app, context, torch_forms());
  add_train_commands(app, context);
  add_accuracy_commands(app, context);
  add_check_command(app, context);
  add_export_commands(app, context);
  add_compress_command(app, context);
  add_quantize_commands(app, context);
#else
  add_verify_commands(app, context, {});
#endif
  add_job_commands(app, context);
  add_watch_commands(app, context);
  add_db_commands(app, context);
  add_report_commands(app, context);
  add_serve_command(app, context);
  add_show_command(app, context);
  add_completion_commands(app, context);
  if (!has_torch())
    for (const TorchCommand& torch : kTorchCommands) app.add_subcommand(torch.name, torch.description);
  refuse_numbers_that_do_not_fit(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "hwnas: error: %s\n", usage_message(app, e, command).c_str());
    return 2;
  }
  if (!context.action) {
    // A group without its verb: show what there is.
    const auto chosen = app.get_subcommands();
    std::fputs((chosen.empty() ? app : *chosen.front()).help().c_str(),
               chosen.empty() && argc == 1 ? stdout : stderr);
    return argc == 1 ? 0 : 2;
  }
  const auto inside = enter_project(context);
  const Result<int> result = inside ? context.action() : inside.error();
  if (result) return *result;
  std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
  return exit_code(result.error());
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description,
                      const std::vector<std::string>& examples) {
  CLI::App* command = parent.add_subcommand(name, description);
  std::string text;
  for (const std::string& example : examples) text += (text.empty() ? "  " : "\n  ") + example;
  command->footer(text);
  command->fallthrough();
  return command;
}

const char* version() { return HWNAS_VERSION; }

bool has_torch() { return HWNAS_HAS_TORCH != 0; }

std::vector<std::string> arguments_inside(const Context& context) {
  std::vector<std::string> inside;
  for (std::size_t i = 0; i < context.arguments.size(); ++i) {
    const std::string& argument = context.arguments[i];
    if (entered && (argument == "-C" || argument == "--project"))
      ++i;
    else if (!entered || (!argument.starts_with("-C") && !argument.starts_with("--project=")))
      inside.push_back(argument);
  }
  return inside;
}

Result<int> continue_with_torch(const Context& context) {
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  const std::string program = (self.parent_path() / "hwnas-torch").string();
  std::vector<std::string> arguments = arguments_inside(context);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return Error{"this command needs LibTorch, and " + program + " is not there; build with -DHWNAS_TORCH=ON"};
}

}  // namespace nas::apps

int main(int argc, char** argv) {
  try {
#if HWNAS_HAS_TORCH
    if (argc > 1 && std::string_view(argv[1]) == "torch-agent") return nas::apps::torch_agent(argc, argv);
#endif
    return nas::apps::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "hwnas: error: %s\n", e.what());
    return 1;
  }
}
