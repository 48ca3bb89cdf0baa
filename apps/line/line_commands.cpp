#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "apps/command.h"
#include "apps/line/line_stages.h"
#include "apps/progress.h"
#include "devices/device_lock.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Record = nlohmann::ordered_json;

struct LineOptions {
  std::string folder = ".", form = "mcu", until;
  bool dry_run = false;
};

Result<int> init_project(const LineOptions& o) {
  NAS_TRY(text, template_text(o.form));
  const fs::path path = fs::path(o.folder) / "hwnas.json";
  std::error_code ignored;
  if (fs::exists(path, ignored)) return usage_error("there is a project here already", path.string());
  NAS_CHECK(write_file(path, text));
  std::fprintf(stderr, "wrote %s: set \"data\" to your images, then\n  cd %s && hwnas run\n", path.c_str(),
               o.folder.c_str());
  return 0;
}

std::string memory_text(std::int64_t kilobytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(kilobytes) / 1048576);
  return text;
}

Record stage_record(const Stage& stage, const char* state, const std::optional<StageEnd>& end) {
  Record record{{"stage", stage.name}, {"state", state}};
  if (end) {
    record["seconds"] = end->seconds;
    record["peak"] = memory_text(end->peak_kilobytes);
  }
  record["command"] = command_line(stage.commands.front());
  return record;
}

// Only what a user asked for, up to and with the stage named (or its kind: "train").
std::vector<Stage> chosen(std::vector<Stage> stages, const std::string& until) {
  if (until.empty()) return stages;
  const auto last = std::find_if(stages.rbegin(), stages.rend(), [&](const Stage& s) {
    return s.name == until || s.name.starts_with(until + " ");
  });
  stages.erase(last.base(), stages.end());
  return stages;
}

Result<int> run_line(const Context& context, const LineOptions& o) {
  const fs::path project = context.project;
  NAS_TRY(config, read_line_config(project));
  NAS_TRY(lock, devices::DeviceLock::take(
                    project / ".hwnas" / "locks",
                    {"project", devices::lock_owner(), "run", ::getpid(), std::time(nullptr) + 7 * 86400},
                    std::time(nullptr)));
  for (const auto& [path, text] : search_files(config)) {
    const auto old = read_file(project / path, 1 << 20);
    if (!old || *old != text) NAS_CHECK(write_file(project / path, text));
  }
  const std::vector<Stage> stages = chosen(line_stages(config), o.until);
  if (stages.empty()) return usage_error("--until " + o.until + ": no such stage");
  std::vector<Record> records;
  std::set<std::string> remade;  // by stages that a dry run leaves to do
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    const auto before = finished_stage(project, stage);
    const bool stale = std::ranges::any_of(stage.reads, [&](const std::string& path) {
      return std::ranges::any_of(remade, [&](const std::string& made) { return path.starts_with(made); });
    });
    if (before && *before && !stale) {
      records.push_back(stage_record(stage, "kept", *before));
      continue;
    }
    if (o.dry_run) {
      remade.insert(stage.makes.begin(), stage.makes.end());
      records.push_back(stage_record(stage, "to do", {}));
      continue;
    }
    if (!context.quiet) std::fprintf(stderr, "[%zu/%zu] %s\n", i + 1, stages.size(), stage.name.c_str());
    NAS_TRY(end, run_stage(project, stage, context.quiet));
    if (!context.quiet)
      std::fprintf(stderr, "      %s, peak memory %s\n", duration_text(end.seconds).c_str(),
                   memory_text(end.peak_kilobytes).c_str());
    records.push_back(stage_record(stage, "done", end));
  }
  print_records(context,
                {{"stage", "stage"},
                 {"state", "state"},
                 {"seconds", "took", "s"},
                 {"peak", "peak memory"},
                 {"command", "command"}},
                records);
  return 0;
}

struct DemoOptions {
  std::string out = "hwnas-demo";
  double ram_kb = 12, length = 0.6;
};

// A project on generated images for an emulated microcontroller and this machine.
std::string demo_config(const DemoOptions& o) {
  const Record config{
      {"space", "tiny"},
      {"data", "procedural:classes=10,count=4000,side=24,difficulty=0.05"},
      {"train", {{"recipe", "sandwich"}, {"length", o.length}, {"batch", 64}}},
      {"search", {{"sweep", 120}, {"evaluations", 4000}}},
      {"targets",
       {{{"name", "cortex-m4"}, {"device", "cortex-m4-qemu"}, {"limits", {{"ram_kb", o.ram_kb}}}},
        {{"name", "host"}, {"device", "host"}, {"precision", "int8"}}}}};
  return "// Written by hwnas demo; change it and `hwnas run` here.\n" + config.dump(2) + "\n";
}

Result<int> run_demo(Context context, const DemoOptions& o) {
  const fs::path path = fs::path(o.out) / "hwnas.json";
  const std::string wanted = demo_config(o);
  const auto old = read_file(path, 1 << 20);
  if (old && *old != wanted)
    return usage_error("holds another project; choose another --out or remove it", o.out);
  if (!old) NAS_CHECK(write_file(path, wanted));
  context.project = o.out;
  NAS_TRY(code, run_line(context, {}));
  if (!context.quiet)
    std::fprintf(stderr,
                 "\npicture   %s/report.html\nnetworks  %s/exports/cortex-m4 and host: C, weights, manifest\n"
                 "next      cd %s; hwnas front cortex-m4; hwnas estimate cortex-m4:best --space "
                 "accuracy.jsonl --session "
                 "cortex-m4-qemu-int8\n          hwnas verify exports/cortex-m4 --operations mps2-an386\n"
                 "your own  hwnas init mine --template mcu\n",
                 o.out.c_str(), o.out.c_str(), o.out.c_str());
  return code;
}

}  // namespace

void add_line_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<LineOptions>();
  CLI::App* init = add_command(app, "init", "A starting hwnas.json: your images, your devices, their limits",
                               {"hwnas init mine --template mcu", "hwnas init mine --template phone"});
  init->add_option("DIR", options->folder, "Folder of the project; made where missing");
  init->add_option("--template", options->form, "mcu, phone, gpu or cpu");
  init->callback([&context, options] { context.action = [options] { return init_project(*options); }; });

  auto demo_options = std::make_shared<DemoOptions>();
  CLI::App* demo = add_command(app, "demo", "From nothing to networks on devices, on generated images",
                               {"hwnas demo", "hwnas demo --out /tmp/demo --ram 10"});
  demo->add_option("--out", demo_options->out, "Folder for everything that is made");
  demo->add_option("--ram", demo_options->ram_kb, "The microcontroller's limit on activation memory, KiB")
      ->check(CLI::PositiveNumber);
  demo->add_option("--length", demo_options->length, "Multiplies the training recipe")
      ->check(CLI::PositiveNumber);
  demo->callback([&context, demo_options] {
    context.action = [&context, demo_options] { return run_demo(context, *demo_options); };
  });

  CLI::App* run = add_command(
      app, "run", "The whole line of a project: train, sweep, profile, search, check, export, verify",
      {"hwnas run", "hwnas -C mine run --until sweep", "hwnas run --dry-run"});
  run->add_option("--until", options->until, "Stop after this stage");
  run->add_flag("--dry-run", options->dry_run, "Say which stages are done and which are to do");
  run->callback(
      [&context, options] { context.action = [&context, options] { return run_line(context, *options); }; });
}

}  // namespace nas::apps
