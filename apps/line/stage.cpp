#include "apps/line/stage.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>

#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

fs::path record_path(const fs::path& project, const Stage& stage) {
  std::string file = stage.name;
  std::replace_if(
      file.begin(), file.end(), [](char c) { return c == ' ' || c == '/'; }, '-');
  return project / ".hwnas" / "stages" / (file + ".json");
}

Result<std::string> folder_hash(const fs::path& folder) {
  std::vector<std::string> lines;
  std::error_code failed;
  for (fs::recursive_directory_iterator it(folder, failed), end; it != end && !failed; it.increment(failed)) {
    std::error_code gone;
    if (!it->is_regular_file(gone)) continue;
    lines.push_back(fs::relative(it->path(), folder, gone).string() + " " +
                    std::to_string(it->file_size(gone)) + " " +
                    std::to_string(it->last_write_time(gone).time_since_epoch().count()));
  }
  if (failed) return Error{"cannot list the folder: " + failed.message(), folder.string()};
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return sha256(text);
}

Result<std::string> path_hash(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? folder_hash(path) : sha256_file(path);
}

// A folder that was made is known by its manifest or run record, else by being there.
Result<std::string> made_hash(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return sha256_file(path);
  for (const char* known : {"manifest.json", "front.json", "supernet.safetensors"})
    if (fs::exists(path / known, ignored)) return sha256_file(path / known);
  return std::string("folder");
}

Json to_json(const StageEnd& end) {
  return {{"seconds", end.seconds}, {"peak_kilobytes", end.peak_kilobytes}};
}

// Reads the child's output to its end, passing it on to ours and to the log.
void tee(int from, int log, bool quiet) {
  char buffer[1 << 14];
  for (;;) {
    const ssize_t n = ::read(from, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    for (const int to : {log, quiet ? -1 : STDOUT_FILENO})
      for (ssize_t done = 0; to >= 0 && done < n;) {
        const ssize_t wrote = ::write(to, buffer + done, static_cast<std::size_t>(n - done));
        if (wrote <= 0) break;
        done += wrote;
      }
  }
}

ErrorKind kind_of_exit(int code) {
  switch (code) {
    case 2:
      return ErrorKind::usage;
    case 3:
      return ErrorKind::infeasible;
    case 4:
      return ErrorKind::verification;
    case 5:
      return ErrorKind::device;
    case 6:
      return ErrorKind::partial;
    case 7:
      return ErrorKind::store;
    default:
      return ErrorKind::failure;
  }
}

// Made before the fork: the child may only call what is safe after it.
std::vector<std::string> argv_of(const std::vector<std::string>& arguments, bool quiet) {
  std::error_code ignored;
  // The light program finds its own way to the other one.
  std::vector<std::string> all{
      (fs::read_symlink("/proc/self/exe", ignored).parent_path() / "hwnas").string()};
  if (quiet) all.emplace_back("-q");
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

Result<StageEnd> run_command(const fs::path& project, const Stage& stage,
                             const std::vector<std::string>& arguments, int log, bool quiet) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{std::string("no pipe: ") + std::strerror(errno)};
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string> words = argv_of(arguments, quiet);
  const std::string folder = project.string();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t line = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    // A stage whose line was killed must not go on beside the next one.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != line) ::_exit(127);
    ::dup2(ends[1], STDOUT_FILENO);
    if (::chdir(folder.c_str()) == 0) ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  if (child > 0) tee(ends[0], log, quiet);
  ::close(ends[0]);
  int status = 0;
  rusage used{};
  while (child > 0 && ::wait4(child, &status, 0, &used) < 0 && errno == EINTR) {
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (child < 0) return Error{std::string("cannot start a process: ") + std::strerror(errno)};
  if (WIFSIGNALED(status))
    return Error{"stage \"" + stage.name + "\" was ended by signal " + std::to_string(WTERMSIG(status)) +
                     "; `hwnas run` continues it",
                 command_line(arguments)};
  if (const int code = WEXITSTATUS(status); code != 0)
    return Error{"stage \"" + stage.name + "\" ended with exit code " + std::to_string(code) +
                     "; what is finished stays, `hwnas run` continues from here",
                 command_line(arguments), kind_of_exit(code)};
  return StageEnd{took.count(), used.ru_maxrss};
}

}  // namespace

std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-./=:,@%+") == std::string::npos;
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string command_line(const std::vector<std::string>& arguments) {
  std::string line = "hwnas";
  for (const std::string& a : arguments) line += " " + shell_word(a);
  return line;
}

Result<std::string> stage_fingerprint(const fs::path& project, const Stage& stage) {
  std::string text;
  for (const auto& command : stage.commands) text += command_line(command) + "\n";
  for (const std::string& read : stage.reads) {
    const fs::path path = fs::path(read).is_absolute() ? fs::path(read) : project / read;
    std::error_code ignored;
    if (!fs::exists(path, ignored))
      return usage_error("stage \"" + stage.name + "\" needs this; it is not there", path.string());
    NAS_TRY(hash, path_hash(path));
    text += read + " " + hash + "\n";
  }
  return sha256(text);
}

std::optional<StageEnd> last_end(const fs::path& project, const Stage& stage) {
  const auto text = read_file(record_path(project, stage), 1 << 20);
  if (!text) return {};
  const Json record = Json::parse(*text, nullptr, false);
  if (!record.is_object() || !record.contains("seconds")) return {};
  return StageEnd{record.value("seconds", 0.0), record.value("peak_kilobytes", std::int64_t{0})};
}

Result<std::optional<StageEnd>> finished_stage(const fs::path& project, const Stage& stage) {
  const auto text = read_file(record_path(project, stage), 1 << 20);
  if (!text) return std::optional<StageEnd>();
  const Json record = Json::parse(*text, nullptr, false);
  if (!record.is_object()) return std::optional<StageEnd>();
  NAS_TRY(fingerprint, stage_fingerprint(project, stage));
  if (record.value("fingerprint", "") != fingerprint) return std::optional<StageEnd>();
  for (const std::string& made : stage.makes) {
    const auto hash = made_hash(project / made);
    if (!hash || record["made"].value(made, "") != *hash) return std::optional<StageEnd>();
  }
  return std::optional(
      StageEnd{record.value("seconds", 0.0), record.value("peak_kilobytes", std::int64_t{0})});
}

Result<StageEnd> run_stage(const fs::path& project, const Stage& stage, bool quiet) {
  NAS_TRY(fingerprint, stage_fingerprint(project, stage));
  std::error_code failed;
  fs::create_directories(project / "logs", failed);
  const fs::path log_path = project / "logs" / record_path("", stage).filename().replace_extension(".log");
  for (const std::string& folder : stage.clears) fs::remove_all(project / folder, failed);
  const int log = ::open(log_path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return Error{std::string("cannot write: ") + std::strerror(errno), log_path.string()};
  StageEnd end;
  for (std::size_t i = 0; i < stage.commands.size(); ++i) {
    const auto& command = stage.commands[i];
    const std::string line = "$ " + command_line(command) + "\n";
    if (::write(log, line.data(), line.size()) < 0) break;
    if (!quiet) ::write(STDERR_FILENO, line.data(), line.size());
    const auto one = run_command(project, stage, command, log, quiet || i >= stage.shown);
    if (!one) {
      ::close(log);
      return one.error();
    }
    end.seconds += one->seconds;
    end.peak_kilobytes = std::max(end.peak_kilobytes, one->peak_kilobytes);
  }
  ::close(log);
  Json record = to_json(end);
  record["stage"] = stage.name;
  record["fingerprint"] = fingerprint;
  record["made"] = Json::object();
  for (const std::string& made : stage.makes) {
    NAS_TRY(hash, made_hash(project / made));
    record["made"][made] = hash;
  }
  NAS_CHECK(write_file(record_path(project, stage), record.dump(2) + "\n"));
  return end;
}

}  // namespace nas::apps
