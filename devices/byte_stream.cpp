#include "devices/byte_stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "devices/failure.h"

extern char** environ;

namespace nas::devices {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

int left_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 3600 * 1000));
}

// The three pipes of a child; closes what was not taken.
struct Pipes {
  std::array<int, 2> in{-1, -1}, out{-1, -1}, err{-1, -1};
  ~Pipes() {
    for (auto* p : {&in, &out, &err})
      for (int& fd : *p) close_fd(fd);
  }
  bool make() {
    return ::pipe2(in.data(), O_CLOEXEC) == 0 && ::pipe2(out.data(), O_CLOEXEC) == 0 &&
           ::pipe2(err.data(), O_CLOEXEC) == 0;
  }
};

int spawn_child(const std::vector<std::string>& arguments, const Pipes& pipes, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes.in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, pipes.out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipes.err[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv;
  for (std::string& text : copies) argv.push_back(text.data());
  argv.push_back(nullptr);
  const int failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failed;
}

Result<speed_t> baud_constant(int baud) {
  constexpr std::array<std::pair<int, speed_t>, 8> kRates{{{9600, B9600},
                                                           {19200, B19200},
                                                           {38400, B38400},
                                                           {57600, B57600},
                                                           {115200, B115200},
                                                           {230400, B230400},
                                                           {460800, B460800},
                                                           {921600, B921600}}};
  for (const auto& [rate, constant] : kRates)
    if (rate == baud) return constant;
  return usage_error(
      "the baud rate must be one of 9600 19200 38400 57600 115200 230400 460800 921600, found " +
      std::to_string(baud));
}

// A write to a line whose other end is gone must be an error here, not a SIGPIPE for the program.
ssize_t write_quietly(int fd, std::span<const std::uint8_t> bytes) {
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const ssize_t put = ::write(fd, bytes.data(), bytes.size());
  const int why = errno;
  if (put < 0 && why == EPIPE) {
    const timespec now{};
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = why;
  return put;
}

}  // namespace

ByteStream::ByteStream(ByteStream&& other) noexcept { *this = std::move(other); }

ByteStream& ByteStream::operator=(ByteStream&& other) noexcept {
  if (this == &other) return *this;
  close();
  read_fd_ = std::exchange(other.read_fd_, -1);
  write_fd_ = std::exchange(other.write_fd_, -1);
  error_fd_ = std::exchange(other.error_fd_, -1);
  pid_ = std::exchange(other.pid_, 0);
  errors_ = std::move(other.errors_);
  name_ = std::move(other.name_);
  return *this;
}

ByteStream::~ByteStream() { close(); }

Result<ByteStream> ByteStream::start(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return usage_error("a line to a device needs a program, found none");
  Pipes pipes;
  if (!pipes.make()) return device_failure(Failure::not_responding, "cannot make pipes", arguments[0]);
  pid_t pid = 0;
  if (const int failed = spawn_child(arguments, pipes, pid); failed != 0)
    return device_failure(Failure::not_responding,
                          std::string("the program cannot be started: ") + std::strerror(failed),
                          arguments[0]);
  ByteStream stream;
  stream.pid_ = pid;
  stream.name_ = arguments[0];
  stream.write_fd_ = std::exchange(pipes.in[1], -1);
  stream.read_fd_ = std::exchange(pipes.out[0], -1);
  stream.error_fd_ = std::exchange(pipes.err[0], -1);
  for (const int fd : {stream.write_fd_, stream.read_fd_, stream.error_fd_}) ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return stream;
}

Result<ByteStream> ByteStream::open_tty(const std::string& path, int baud) {
  NAS_TRY(rate, baud_constant(baud));
  ByteStream stream;
  stream.name_ = path;
  stream.read_fd_ = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (stream.read_fd_ < 0)
    return device_failure(Failure::not_responding,
                          std::string("cannot open the port: ") + std::strerror(errno), path);
  stream.write_fd_ = stream.read_fd_;
  termios settings{};
  if (::tcgetattr(stream.read_fd_, &settings) != 0)
    return device_failure(Failure::rejected, "this is not a serial port", path);
  ::cfmakeraw(&settings);
  settings.c_cflag |= CLOCAL | CREAD;
  settings.c_cflag &= ~static_cast<tcflag_t>(CSTOPB | CRTSCTS);
  ::cfsetispeed(&settings, rate);
  ::cfsetospeed(&settings, rate);
  if (::tcsetattr(stream.read_fd_, TCSANOW, &settings) != 0)
    return device_failure(Failure::rejected, std::string("cannot set the port: ") + std::strerror(errno),
                          path);
  ::tcflush(stream.read_fd_, TCIOFLUSH);
  return stream;
}

Result<ByteStream> ByteStream::open_tcp(const std::string& host, int port, milliseconds timeout) {
  const std::string where = host + ":" + std::to_string(port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr)
    return device_failure(Failure::not_responding, "the host's name cannot be resolved", where);
  ByteStream stream;
  stream.name_ = where;
  stream.read_fd_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  stream.write_fd_ = stream.read_fd_;
  const int begun = ::connect(stream.read_fd_, found->ai_addr, found->ai_addrlen);
  const int why = errno;
  ::freeaddrinfo(found);
  if (begun != 0 && why != EINPROGRESS)
    return device_failure(Failure::not_responding, std::strerror(why), where);
  pollfd waiting{stream.write_fd_, POLLOUT, 0};
  int problem = 0;
  socklen_t size = sizeof problem;
  if (::poll(&waiting, 1, static_cast<int>(timeout.count())) <= 0)
    return device_failure(Failure::not_responding,
                          "no connection in " + std::to_string(timeout.count()) + " ms", where);
  ::getsockopt(stream.read_fd_, SOL_SOCKET, SO_ERROR, &problem, &size);
  if (problem != 0) return device_failure(Failure::not_responding, std::strerror(problem), where);
  const int yes = 1;
  ::setsockopt(stream.read_fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return stream;
}

ByteStream ByteStream::from_descriptors(int read_fd, int write_fd, std::string name) {
  ByteStream stream;
  stream.read_fd_ = read_fd;
  stream.write_fd_ = write_fd;
  stream.name_ = std::move(name);
  ::fcntl(read_fd, F_SETFL, O_NONBLOCK);
  ::fcntl(write_fd, F_SETFL, O_NONBLOCK);
  return stream;
}

void ByteStream::drain_errors() {
  std::array<char, 16384> buffer;
  while (error_fd_ >= 0) {
    const ssize_t got = ::read(error_fd_, buffer.data(), buffer.size());
    if (got > 0) {
      errors_.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else {
      if (got == 0) close_fd(error_fd_);
      return;
    }
  }
}

// The line was closed: how did the child end, and what were its last words?
Error ByteStream::ended() {
  if (pid_ == 0)
    return device_failure(Failure::not_responding, "the line was closed at the other end", name_);
  int status = 0;
  pid_t got = 0;
  for (int i = 0; i < 200 && got == 0; ++i) {
    got = ::waitpid(pid_, &status, WNOHANG);
    if (got == 0) std::this_thread::sleep_for(milliseconds(1));
  }
  drain_errors();
  std::string words = errors_.size() > 500 ? errors_.substr(errors_.size() - 500) : errors_;
  if (!words.empty()) words = "; its last words: " + words;
  if (got == 0)
    return device_failure(Failure::not_responding, "it closed its output but runs on" + words, name_);
  pid_ = 0;
  if (WIFSIGNALED(status))
    return device_failure(Failure::crashed, "with signal " + std::to_string(WTERMSIG(status)) + words, name_);
  return device_failure(Failure::crashed, "with exit status " + std::to_string(WEXITSTATUS(status)) + words,
                        name_);
}

Result<std::size_t> ByteStream::read(std::span<std::uint8_t> into, milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (read_fd_ >= 0) {
    drain_errors();
    const ssize_t got = ::read(read_fd_, into.data(), into.size());
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) break;
    std::array<pollfd, 2> waiting{{{read_fd_, POLLIN, 0}, {error_fd_, POLLIN, 0}}};
    const int left = left_ms(deadline);
    if (left == 0)
      return device_failure(Failure::timed_out, "no answer in " + std::to_string(timeout.count()) + " ms",
                            name_);
    ::poll(waiting.data(), error_fd_ >= 0 ? 2 : 1, left);
  }
  return ended();
}

Result<void> ByteStream::write(std::span<const std::uint8_t> bytes, milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (!bytes.empty()) {
    if (write_fd_ < 0) return ended();
    const ssize_t put = write_quietly(write_fd_, bytes);
    if (put > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return ended();
    pollfd waiting{write_fd_, POLLOUT, 0};
    const int left = left_ms(deadline);
    if (left == 0) return device_failure(Failure::timed_out, "the device takes no more bytes", name_);
    ::poll(&waiting, 1, left);
  }
  return {};
}

std::string ByteStream::take_errors() {
  drain_errors();
  return std::exchange(errors_, {});
}

void ByteStream::close(milliseconds patience) {
  if (write_fd_ != read_fd_) close_fd(write_fd_);
  write_fd_ = -1;
  const auto deadline = Clock::now() + patience;
  int status = 0;
  while (pid_ != 0 && ::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() >= deadline) {
      ::kill(-pid_, SIGKILL);
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
      break;
    }
    std::this_thread::sleep_for(milliseconds(1));
  }
  pid_ = 0;
  close_fd(read_fd_);
  close_fd(error_fd_);
}

}  // namespace nas::devices
