#include "apps/slurm.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "apps/line/stage.h"
#include "devices/process.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What every element runs by. A wait that a signal interrupts is begun again until the command is gone.
constexpr const char* kStage = R"sh(
# stage NUMBER COMMAND...: runs it unless an earlier try of this element has done it.
stage() {
  local mark="$here/$SLURM_ARRAY_TASK_ID.stage-$1.done" child code; shift
  [ -e "$mark" ] && return
  "$@" &
  child=$!
  asked=
  trap 'asked=USR1; kill -USR1 "$child" 2>/dev/null' USR1
  trap 'asked=TERM; kill -TERM "$child" 2>/dev/null' TERM
  while :; do
    wait "$child"; code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  trap - USR1 TERM
  echo "$(date -Is) element $SLURM_ARRAY_TASK_ID, try $((${SLURM_RESTART_COUNT:-0} + 1)): exit code $code: $*"
  case $code in
    0) touch "$mark" ;;
    75) # It has a checkpoint and wants to be run again. After SIGTERM it is Slurm that decides on that.
      [ "$asked" = TERM ] || scontrol requeue "$SLURM_JOB_ID"
      exit 75 ;;
    *) exit $code ;;
  esac
}
)sh";

Result<std::string> command_of(const results::Task& task, const std::string& device,
                               const fs::path& project) {
  const json payload = json::parse(task.payload, nullptr, false);
  if (!device.empty() || task.needs != "[]")
    return usage_error("a task that needs a device or tags cannot be a Slurm job: hwnas worker runs it");
  std::string line;
  if (payload.contains("env"))
    for (const auto& [key, value] : payload["env"].items())
      line += " " + shell_word(key + "=" + value.get<std::string>());
  line = line.empty() ? "" : "env" + line + " ";
  if (payload.contains("cwd")) line = "env -C " + shell_word(payload["cwd"].get<std::string>()) + " " + line;
  std::vector<std::string> words;
  if (task.kind == "hwnas") {
    std::error_code ignored;
    const fs::path self = fs::read_symlink("/proc/self/exe", ignored);
    words = {(self.parent_path() / "hwnas").string(), "-C", project.string()};
  }
  for (const json& word : payload.at("argv")) words.push_back(word.get<std::string>());
  std::string command = line;
  for (const std::string& word : words)
    command += (command.empty() || command.ends_with(' ') ? "" : " ") + shell_word(word);
  return command;
}

// Slurm's file names and ours: letters, digits, dots and dashes.
std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name)
    plain += std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_' ? c : '-';
  return plain.empty() || plain.front() == '.' ? "job" + plain : plain;
}

// What follows each other inside one element of the array.
struct Element {
  std::string name;
  std::vector<std::string> commands;
};

// A run with stages is one element; tasks that need not wait for each other are one each.
Result<std::vector<Element>> elements_of(const std::vector<Submission>& runs, const fs::path& project) {
  std::vector<Element> elements;
  for (const Submission& one : runs) {
    const bool together = std::ranges::all_of(
        one.tasks, [&](const results::Task& task) { return task.stage == one.tasks.front().stage; });
    for (std::size_t t = 0; t < one.tasks.size(); ++t) {
      NAS_TRY(command, command_of(one.tasks[t], one.devices[t], project));
      if (t == 0 || together) elements.push_back({one.run.name, {}});
      elements.back().commands.push_back(std::move(command));
    }
  }
  return elements;
}

std::string script_of(const std::vector<Element>& elements, const std::string& name, const fs::path& folder,
                      const fs::path& project, int notice) {
  const std::string here = folder.string();
  std::string text =
      "#!/bin/bash\n# Made by hwnas submit --slurm.\n#SBATCH --job-name=" + name + "\n#SBATCH --array=0-" +
      std::to_string(elements.size() - 1) + "\n#SBATCH --signal=B:USR1@" + std::to_string(notice) +
      "\n#SBATCH --requeue\n#SBATCH --open-mode=append\n#SBATCH --output=" + here + "/%a.log\n";
  text += "here=" + shell_word(here) + "\ncd " + shell_word(project.string()) + " || exit 1\n" + kStage +
          "\ncase $SLURM_ARRAY_TASK_ID in\n";
  for (std::size_t i = 0; i < elements.size(); ++i) {
    text += std::to_string(i) + ") # " + elements[i].name + "\n";
    for (std::size_t c = 0; c < elements[i].commands.size(); ++c)
      text += "  stage " + std::to_string(c) + " " + elements[i].commands[c] + "\n";
    text += "  ;;\n";
  }
  return text + "esac\n";
}

}  // namespace

Result<int> submit_to_slurm(const Context& context, const std::vector<Submission>& runs,
                            const SlurmOptions& options) {
  const std::string& batch = runs.front().run.batch;
  const std::string name = plain_name(batch.empty() ? runs.front().run.name : batch);
  std::error_code failed;
  const fs::path project = fs::current_path(failed);
  const fs::path folder = project / "slurm" / name, script = folder / "job.sh";
  NAS_TRY(elements, elements_of(runs, project));
  const fs::path receipt = folder / "job";  // what sbatch answered
  if (fs::exists(receipt, failed))
    return usage_error(
        "jobs of this name were submitted before: their marks of finished stages are there; "
        "take another name or remove the folder",
        folder.string());
  fs::create_directories(folder, failed);
  NAS_CHECK(write_file(script, script_of(elements, name, folder, project, options.notice_s)));
  std::string job = "";
  if (!options.dry_run) {
    devices::Command sbatch{{"sbatch", "--parsable"}};
    sbatch.arguments.insert(sbatch.arguments.end(), options.sbatch.begin(), options.sbatch.end());
    sbatch.arguments.push_back(script.string());
    const auto done = devices::run_checked(sbatch);
    if (!done) {
      fs::remove(script, failed);
      fs::remove(folder, failed);  // if nothing else is in it
      return done.error();
    }
    job = done->output.substr(0, done->output.find_first_of(";\n"));
    NAS_CHECK(write_file(receipt, job + "\n"));
  }
  print_record(context,
               {{"job", "Slurm job"}, {"elements", "elements"}, {"script", "script"}, {"logs", "logs"}},
               {{"job", job.empty() ? json() : json(job)},
                {"elements", elements.size()},
                {"script", script.lexically_relative(project).string()},
                {"logs", (folder / "%a.log").lexically_relative(project).string()}});
  return 0;
}

}  // namespace nas::apps
