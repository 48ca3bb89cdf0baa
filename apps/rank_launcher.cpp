#include "apps/rank_launcher.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tbb/info.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "apps/stop_signal.h"

namespace nas::apps {
namespace {

// A port that nobody has at this moment.
Result<int> free_port() {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool found = s >= 0 && ::bind(s, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(s, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (s >= 0) ::close(s);
  if (!found) return Error{std::string("no port to meet on: ") + std::strerror(errno)};
  return ntohs(address.sin_port);
}

void drop_option(std::vector<std::string>& arguments, const std::string& name) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const bool two = arguments[i] == name, one = arguments[i].starts_with(name + "=");
    if (!two && !one) continue;
    const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    arguments.erase(at, at + (two && i + 1 < arguments.size() ? 2 : 1));
    return;
  }
}

pid_t start_rank(const std::vector<std::string>& arguments, int rank, int count, int port) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto set = [](const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); };
  set("RANK", std::to_string(rank));
  set("WORLD_SIZE", std::to_string(count));
  set("LOCAL_WORLD_SIZE", std::to_string(count));
  set("MASTER_ADDR", "127.0.0.1");
  set("MASTER_PORT", std::to_string(port));
  std::vector<char*> argv;
  for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execv("/proc/self/exe", argv.data());
  ::_exit(127);
}

void signal_all(const std::vector<pid_t>& ranks, int number) {
  for (const pid_t rank : ranks)
    if (rank > 0) ::kill(rank, number);
}

int exit_code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

Result<int> launch_ranks(std::vector<std::string> arguments, int count) {
  drop_option(arguments, "--nproc");
  NAS_TRY(port, free_port());
  watch_for_stop();
  std::vector<pid_t> ranks;
  for (int r = 0; r < count; ++r) ranks.push_back(start_rank(arguments, r, count, port));
  int code = 0;
  for (int left = count; left > 0;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended < 0) {
      if (errno != EINTR) break;
      signal_all(ranks, stop_signal());
      continue;
    }
    --left;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      if (ranks[r] != ended) continue;
      ranks[r] = -1;
      if (const int its = exit_code_of(status); its != 0 && code == 0) {
        code = its;
        if (WIFSIGNALED(status))
          std::fprintf(stderr, "rank %zu was ended by signal %d (%s)\n", r, WTERMSIG(status),
                       ::strsignal(WTERMSIG(status)));
      }
    }
  }
  return code == 75 || code == 128 + SIGINT ? stopped_code() : code;
}

Result<std::optional<supernet::Ranks>> join_ranks() {
  NAS_TRY(place, supernet::find_rank_place());
  if (!place.launched) return std::optional<supernet::Ranks>();
  NAS_TRY(ranks, supernet::Ranks::join(place));
  return std::optional<supernet::Ranks>(std::move(ranks));
}

void add_processes(CLI::App& command, int& processes) {
  command
      .add_option("--nproc", processes,
                  "Processes on this machine that share every batch; torchrun, srun and "
                  "mpirun may start them instead (docs/several-machines.md)")
      ->check(CLI::Range(1, 1024));
}

std::size_t threads_of_a_rank() {
  const char* const local = std::getenv("LOCAL_WORLD_SIZE");
  const std::size_t ranks = local ? std::max(1UL, std::strtoul(local, nullptr, 10)) : 1;
  return std::max<std::size_t>(1, static_cast<std::size_t>(tbb::info::default_concurrency()) / ranks);
}

}  // namespace nas::apps
