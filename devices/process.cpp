#include "devices/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

extern char** environ;

namespace nas::devices {
namespace {

using Clock = std::chrono::steady_clock;

Error device_error(std::string message, std::string where = {}) {
  return {std::move(message), std::move(where), ErrorKind::device};
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return device_error(std::string("cannot make a pipe: ") + std::strerror(errno));
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

std::vector<std::string> environment_with(const std::vector<std::string>& extra) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& other : extra) replaced = replaced || other.starts_with(name);
    if (!replaced) result.push_back(text);
  }
  result.insert(result.end(), extra.begin(), extra.end());
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct Child {
  pid_t pid = 0;
  Descriptor in;
  Descriptor out;
  Descriptor err;
};

Result<Child> spawn(const Command& command) {
  NAS_TRY(in, make_pipe());
  NAS_TRY(out, make_pipe());
  NAS_TRY(err, make_pipe());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), 2);
  if (!command.working_folder.empty())
    posix_spawn_file_actions_addchdir_np(&actions, command.working_folder.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);

  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> variables = environment_with(command.extra_environment);
  Child child;
  const int failed = posix_spawnp(&child.pid, arguments.front().c_str(), &actions, &attributes,
                                  pointers(arguments).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0)
    return device_error("cannot start the program: " + std::string(std::strerror(failed)),
                        command.arguments.front());
  child.in = std::move(in.write);
  child.out = std::move(out.read);
  child.err = std::move(err.read);
  return child;
}

void read_some(Descriptor& from, std::string& into, std::size_t limit) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
  if (got > 0) {
    const std::size_t room = limit > into.size() ? limit - into.size() : 0;
    into.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    from.close();
  }
}

// Blocks SIGPIPE of this thread while it writes: a child may leave its input unread.
void write_some(Descriptor& to, std::string_view& rest) {
  if (rest.empty()) return to.close();
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const ssize_t put = ::write(to.get(), rest.data(), rest.size());
  const int why = errno;
  if (put < 0 && why == EPIPE) {
    const timespec now{};
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (put > 0) rest.remove_prefix(static_cast<std::size_t>(put));
  if ((put < 0 && why != EINTR && why != EAGAIN) || rest.empty()) to.close();
}

int milliseconds_left(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left <= 0 ? 0 : static_cast<int>(std::min<long long>(left + 1, 1000));
}

// Moves bytes until the child closes both outputs or the deadline passes; true when it passed.
bool pump(Child& child, const Command& command, Clock::time_point deadline, Finished& result) {
  std::string_view rest = command.input;
  if (rest.empty()) child.in.close();
  if (child.in.open()) ::fcntl(child.in.get(), F_SETFL, O_NONBLOCK);
  while (child.out.open() || child.err.open()) {
    std::array<pollfd, 3> polled{
        {{child.out.get(), POLLIN, 0}, {child.err.get(), POLLIN, 0}, {child.in.get(), POLLOUT, 0}}};
    const int left = milliseconds_left(deadline);
    if (left == 0) return true;
    if (::poll(polled.data(), polled.size(), left) <= 0) continue;
    if (polled[0].revents != 0) read_some(child.out, result.output, command.output_limit);
    if (polled[1].revents != 0) read_some(child.err, result.errors, command.output_limit);
    if (polled[2].revents != 0) write_some(child.in, rest);
  }
  return false;
}

// Waits for the child itself, which may outlive its closed outputs; true when the deadline passed first.
bool reap(pid_t pid, Clock::time_point deadline, int& status) {
  for (auto pause = std::chrono::microseconds(50);;
       pause = std::min(pause * 2, std::chrono::microseconds(10000))) {
    if (const pid_t got = ::waitpid(pid, &status, WNOHANG); got == pid || (got < 0 && errno == ECHILD))
      return false;
    if (milliseconds_left(deadline) == 0) return true;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

Result<Finished> run_process(const Command& command) {
  if (command.arguments.empty()) return usage_error("a command needs at least a program, found none");
  NAS_TRY(child, spawn(command));
  const auto deadline = Clock::now() + command.timeout;
  Finished result;
  int status = 0;
  result.timed_out = pump(child, command, deadline, result) || reap(child.pid, deadline, status);
  if (result.timed_out) {
    ::kill(-child.pid, SIGKILL);
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) continue;
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

std::string describe_end(const Finished& finished) {
  if (finished.timed_out) return "timed out";
  if (finished.signal != 0) return "signal " + std::to_string(finished.signal);
  return "exit " + std::to_string(finished.exit_code);
}

Result<Finished> run_checked(const Command& command) {
  NAS_TRY(finished, run_process(command));
  if (finished.ok()) return finished;
  std::string words = finished.errors.empty() ? finished.output : finished.errors;
  if (words.size() > 2000) words = "..." + words.substr(words.size() - 2000);
  return device_error("the program must end with exit 0, found " + describe_end(finished) + ": " + words,
                      command.arguments.front());
}

Result<std::string> find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::filesystem::path candidate = std::filesystem::path(rest.substr(0, end)) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return device_error("program " + name + " is needed and is not in PATH");
}

}  // namespace nas::devices
