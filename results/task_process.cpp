#include "results/task_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "results/queue.h"

namespace nas::results {
namespace {

using nlohmann::json;

constexpr int kCheckpointed = 75;  // EX_TEMPFAIL
constexpr std::size_t kMaxMessage = 160 * 1024;

Error system_error(const char* what) { return {std::string(what) + ": " + std::strerror(errno)}; }

// Messages keep their borders (SOCK_SEQPACKET): a task killed while it reports leaves no half message.
bool send_text(int socket, const std::string& text) {
  while (true) {
    const ssize_t n = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (n >= 0 || errno != EINTR) return n == static_cast<ssize_t>(text.size());
  }
}

// Empty: the other side is gone.
std::string receive_text(int socket) {
  std::string text(kMaxMessage, '\0');
  while (true) {
    const ssize_t n = ::recv(socket, text.data(), text.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
}

json to_message(const Task& task) {
  return {{"id", task.id},           {"run_id", task.run_id},     {"number", task.number},
          {"stage", task.stage},     {"kind", task.kind},         {"payload", task.payload},
          {"attempt", task.attempt}, {"priority", task.priority}, {"device_id", task.device_id.value_or(0)}};
}

Task from_message(const json& message) {
  Task task;
  task.id = message["id"];
  task.run_id = message["run_id"];
  task.number = message["number"];
  task.stage = message["stage"];
  task.kind = message["kind"];
  task.payload = message["payload"];
  task.attempt = message["attempt"];
  task.priority = message["priority"];
  if (const Id device = message["device_id"]; device != 0) task.device_id = device;
  return task;
}

// ---- the process of one task ----

void redirect_output(const TaskContext& context) {
  const std::filesystem::path path = context.project / log_path(context.task);
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  const int log = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (in >= 0) ::dup2(in, STDIN_FILENO);
  if (log < 0) return;  // the worker's own output is better than none
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
}

json report(const Result<TaskEnd>& end) {
  if (!end) {
    const bool infeasible = end.error().kind == ErrorKind::infeasible;
    return {{"word", infeasible ? "infeasible" : "failed"}, {"error", to_string(end.error())}};
  }
  if (end->checkpointed) return {{"word", "checkpointed"}};
  if (end->result.size() > kMaxPayload)
    return {{"word", "failed"},
            {"error", "its result has " + std::to_string(end->result.size()) + " bytes, at most " +
                          std::to_string(kMaxPayload) + " are kept; put large things under objects/"}};
  return {{"word", "done"}, {"result", end->result}};
}

[[noreturn]] void be_task(int socket, const TaskContext& context, const Handlers& handlers) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpgid(0, 0);
  std::signal(SIGTERM, SIG_DFL);
  redirect_output(context);
  const auto handler = handlers.find(context.task.kind);
  Result<TaskEnd> end = Error{"this worker knows no tasks of the kind \"" + context.task.kind + "\""};
  try {
    if (handler != handlers.end()) end = handler->second(context);
  } catch (const std::exception& exception) {
    end = Error{std::string("exception: ") + exception.what()};
  }
  if (!end) std::fprintf(stderr, "%s\n", to_string(end.error()).c_str());
  std::fflush(nullptr);
  const std::string text = report(end).dump(-1, ' ', false, json::error_handler_t::replace);
  ::_exit(send_text(socket, text) ? 0 : 1);
}

// ---- the process that forks them ----

volatile sig_atomic_t running_task = 0;

// The worker died: nobody may go on in its name.
void kill_and_leave(int) {
  if (running_task > 0) ::kill(-static_cast<pid_t>(running_task), SIGKILL);
  ::_exit(1);
}

void block_term(bool block) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  ::sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, nullptr);
}

void run_one(int socket, const TaskContext& context, const Handlers& handlers) {
  block_term(true);
  const pid_t child = ::fork();
  if (child == 0) {
    block_term(false);
    be_task(socket, context, handlers);
  }
  if (child > 0) ::setpgid(child, child);
  running_task = child;
  block_term(false);
  if (child < 0) {
    send_text(socket, json{{"word", "failed"}, {"error", system_error("cannot fork").message}}.dump());
    send_text(socket, json{{"status", 0}}.dump());
    return;
  }
  send_text(socket, json{{"pid", child}}.dump());
  // The status is left unread until the group is gone, so that its number cannot be given to another process.
  siginfo_t seen{};
  while (::waitid(P_PID, static_cast<id_t>(child), &seen, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  ::kill(-child, SIGKILL);  // descendants that a task left behind
  int status = 0;
  block_term(true);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  running_task = 0;
  block_term(false);
  send_text(socket, json{{"status", status}}.dump());
}

[[noreturn]] void be_forker(int socket, pid_t worker, const std::filesystem::path& project,
                            const Handlers& handlers) {
  for (const int number : {SIGINT, SIGUSR1})
    std::signal(number, SIG_IGN);  // the worker decides what they mean
  std::signal(SIGTERM, kill_and_leave);
  block_term(false);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setpgid(0, 0);
  if (::getppid() != worker) ::_exit(1);
  while (true) {
    const std::string text = receive_text(socket);
    if (text.empty()) ::_exit(0);
    run_one(socket, TaskContext{project, from_message(json::parse(text))}, handlers);
  }
}

// The last line that a task wrote, shortened: mostly the reason of its failure.
std::string last_line(const std::filesystem::path& log) {
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  if (!file) return {};
  constexpr std::streamoff kTail = 1024;
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kTail));
  std::string line, last;
  while (std::getline(file, line))
    if (!line.empty()) last = line;
  return last.substr(0, 300);
}

std::string signal_name(int number) {
  const char* const name = ::sigabbrev_np(number);
  return "signal " + std::to_string(number) + (name == nullptr ? "" : std::string(", SIG") + name);
}

}  // namespace

Result<TaskProcess> TaskProcess::start(const std::filesystem::path& project, const Handlers& handlers) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return system_error("cannot make a socket");
  std::fflush(nullptr);
  const pid_t worker = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return system_error("cannot fork");
  if (pid == 0) {
    ::close(ends[0]);
    be_forker(ends[1], worker, project, handlers);
  }
  ::close(ends[1]);
  TaskProcess process(ends[0], pid);
  process.project_ = project;
  return process;
}

TaskProcess::TaskProcess(TaskProcess&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      pid_(std::exchange(other.pid_, -1)),
      task_(other.task_),
      is_hwnas_(other.is_hwnas_),
      project_(std::move(other.project_)),
      log_(std::move(other.log_)),
      said_(std::move(other.said_)) {}

TaskProcess::~TaskProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  ::close(socket_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<void> TaskProcess::run(const Task& task) {
  said_.reset();
  task_ = -1;
  is_hwnas_ = task.kind == "hwnas";
  log_ = project_ / log_path(task);
  if (!send_text(socket_, to_message(task).dump(-1, ' ', false, json::error_handler_t::replace)))
    return system_error("the process that starts tasks does not answer");
  return {};
}

void TaskProcess::signal(int number) const {
  if (task_ > 0) ::kill(-task_, number);
}

Result<std::optional<TaskProcess::Ended>> TaskProcess::poll() {
  const std::string text = receive_text(socket_);
  if (text.empty())
    return std::optional<Ended>({"gone", "{}", "the process that starts tasks was killed", true});
  const json message = json::parse(text, nullptr, false);
  if (!message.is_object()) return Error{"a task sent something else than its report: " + text};
  if (message.contains("pid")) {
    task_ = message["pid"];
    return std::optional<Ended>();
  }
  if (message.contains("word")) {
    said_ = Ended{message["word"], message.value("result", "{}"), message.value("error", ""), false};
    return std::optional<Ended>();
  }
  const int status = message.value("status", 0);
  task_ = -1;
  if (WIFSIGNALED(status))
    return std::optional<Ended>({"crashed", "{}", "crashed (" + signal_name(WTERMSIG(status)) + ")", true});
  const int code = WEXITSTATUS(status);
  if (said_ && code == 0) return std::exchange(said_, std::nullopt);
  if (code == 0) return std::optional<Ended>({"done", R"({"exit":0})", "", false});
  if (code == kCheckpointed) return std::optional<Ended>({"checkpointed", "{}", "", false});
  const bool infeasible = is_hwnas_ && code == 3;
  const std::string line = last_line(log_);
  return std::optional<Ended>({infeasible ? "infeasible" : "failed", "{}",
                               "exit code " + std::to_string(code) + (line.empty() ? "" : ": " + line),
                               false});
}

Result<TaskEnd> run_command(const TaskContext& context) {
  const json payload = json::parse(context.task.payload, nullptr, false);
  const json argv = payload.is_object() ? payload.value("argv", json()) : json();
  if (!argv.is_array() || argv.empty() ||
      !std::all_of(argv.begin(), argv.end(), [](const json& word) { return word.is_string(); }))
    return usage_error("command: required \"argv\", a list of texts with one element at least, found " +
                       argv.dump());
  const std::string folder = payload.value("cwd", context.project.string());
  const std::filesystem::path project = std::filesystem::absolute(context.project);
  if (::chdir(folder.c_str()) != 0) return system_error(("command: cannot enter " + folder).c_str());
  ::setenv("HWNAS_PROJECT", project.c_str(), 1);
  ::setenv("HWNAS_JOB_PROJECT", project.c_str(), 1);
  ::setenv("HWNAS_RUN", std::to_string(context.task.run_id).c_str(), 1);
  ::setenv("HWNAS_TASK", std::to_string(context.task.id).c_str(), 1);
  ::setenv("HWNAS_ATTEMPT", std::to_string(context.task.attempt).c_str(), 1);
  const json environment = payload.value("env", json::object());
  for (const auto& [key, value] : environment.items())
    if (value.is_string()) ::setenv(key.c_str(), value.get<std::string>().c_str(), 1);
  auto words = argv.get<std::vector<std::string>>();
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  return system_error(("command: cannot start " + words[0]).c_str());
}

}  // namespace nas::results
