#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::devices {

// What to run: argv[0] is looked up in PATH unless it holds a slash.
struct Command {
  std::vector<std::string> arguments;
  std::chrono::milliseconds timeout{60000};
  std::string input = {};                           // given to the child's standard input, then end of file
  std::vector<std::string> extra_environment = {};  // "NAME=value", added to (or replacing) our own
  std::string working_folder = {};                  // empty: ours
  std::size_t output_limit = std::size_t{64}
                             << 20;  // bytes kept of each stream; the rest is read and dropped
};

// How a child ended. Exactly one of exit_code and signal is meaningful.
struct Finished {
  int exit_code = 0;
  int signal = 0;  // 0: it exited by itself
  bool timed_out = false;
  std::string output;  // standard output
  std::string errors;  // standard error
  bool ok() const { return signal == 0 && exit_code == 0 && !timed_out; }
};

// Runs a child in its own process group and waits for it. At the time-out the whole group is killed.
// Fails (kind device) only when the child cannot be started; a child that fails is a Finished.
Result<Finished> run_process(const Command& command);

// Like run_process, but a child that exits with anything but 0 is an Error that quotes its last words.
Result<Finished> run_checked(const Command& command);

// The full path of a program in PATH. Error (kind device) names the program when it is absent.
Result<std::string> find_program(const std::string& name);

// "exit 3", "signal 11" or "timed out", for messages.
std::string describe_end(const Finished& finished);

}  // namespace nas::devices
