#pragma once
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tbb/global_control.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "space/base/file.h"
#include "supernet/ranks.h"

// Every rank is a process; the test itself never trains, so that it may fork.
namespace nas::supernet {

inline int free_port() {
  const int s = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(s, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(s, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(s);
  return ntohs(address.sin_port);
}

class RankProcesses : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs `body` in a process a rank; what it returns is kept in errors_ (empty: it succeeded).
  void run(int world, const std::function<Result<void>(Ranks&)>& body) {
    const int port = free_port();
    std::vector<pid_t> children;
    for (int r = 0; r < world; ++r) {
      const pid_t child = ::fork();
      if (child == 0) {
        const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
        auto ranks = Ranks::join({r, world, "127.0.0.1", port, 20});
        const Result<void> done = ranks ? body(*ranks) : Result<void>(ranks.error());
        if (!write_file(report(r), done ? "" : to_string(done.error()))) ::_exit(2);
        ::_exit(0);
      }
      children.push_back(child);
    }
    errors_.clear();
    for (int r = 0; r < world; ++r) {
      int status = 0;
      ::waitpid(children[static_cast<std::size_t>(r)], &status, 0);
      const auto text = read_file(report(r));
      errors_.push_back(WIFSIGNALED(status) ? "killed" : text ? *text : "no report");
      std::filesystem::remove(report(r));
    }
  }
  void expect_all_well() {
    for (const std::string& error : errors_) EXPECT_EQ(error, "");
  }
  std::filesystem::path report(int rank) const { return folder_ / ("report" + std::to_string(rank)); }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("hwnas-ranks-" + std::to_string(::getpid()));
  std::vector<std::string> errors_;
};

}  // namespace nas::supernet
