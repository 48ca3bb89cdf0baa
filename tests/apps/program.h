#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "space/base/file.h"

namespace nas::apps {

// hwnas as a user meets it: run in a project folder of its own, which is removed afterwards.
class ProgramTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(project_); }
  void TearDown() override { std::filesystem::remove_all(project_); }

  // The exit code; what it said is in output_ (stdout) and errors_ (stderr). `before` goes in front of the
  // program (shell: variables, limits). A hang ends after five minutes in 124.
  int hwnas(const std::string& arguments, const std::string& before = "") {
    const std::filesystem::path err = project_ / "stderr.txt";
    const std::string command = before + " timeout 300 " + HWNAS_PROGRAM + " -C " + project_.string() + " " +
                                arguments + " 2>" + err.string() + " </dev/null";
    output_.clear();
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output_.append(buffer, n);
    const int status = ::pclose(pipe);
    errors_ = bytes("stderr.txt");
    return WEXITSTATUS(status);
  }

  // In a project of its own below this one.
  int hwnas_in(const std::string& folder, const std::string& arguments) {
    const auto top = std::exchange(project_, project_ / folder);
    std::filesystem::create_directories(project_);
    const int code = hwnas("-q " + arguments);
    project_ = top;
    return code;
  }

  // Runs it and kills it, with all it started, after that long. True when it was still running then.
  bool killed(const std::string& arguments, std::chrono::milliseconds after) {
    const pid_t child = start(arguments);
    std::this_thread::sleep_for(after);
    ::kill(-child, SIGKILL);
    return WIFSIGNALED(end_of(child));
  }

  // Runs it, sends it the signal as soon as it has made the file or folder, and gives its exit code; -1 when
  // a signal ended it or nothing appeared within a minute.
  int signalled(const std::string& arguments, int number, const std::string& once_there) {
    const pid_t child = start(arguments);
    bool there = false;
    for (int i = 0; i < 6000 && !there; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      there = std::filesystem::exists(project_ / once_there);
    }
    ::kill(there ? child : -child, there ? number : SIGKILL);
    const int status = end_of(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((project_ / name).parent_path());
    ASSERT_TRUE(write_file(project_ / name, text));
  }
  std::string bytes(const std::string& name) const {
    const auto text = read_file(project_ / name);
    return text ? *text : "";
  }

  // In a process group of its own.
  pid_t start(const std::string& arguments) {
    const std::string command = std::string("exec ") + HWNAS_PROGRAM + " -q -C " + project_.string() + " " +
                                arguments + " >/dev/null 2>&1 </dev/null";
    const pid_t child = ::fork();
    if (child == 0) {
      ::setpgid(0, 0);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::setpgid(child, child);
    return child;
  }
  static int end_of(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }

  std::filesystem::path project_ =
      std::filesystem::temp_directory_path() /
      ("hwnas-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->test_suite_name()) +
       "-" + std::to_string(::getpid()));
  std::string output_, errors_;
};

}  // namespace nas::apps
