#include "devices/process.h"

#include <gtest/gtest.h>

namespace nas::devices {
namespace {

using namespace std::chrono_literals;

TEST(RunProcess, ReturnsBothStreamsAndTheExitCode) {
  const auto done = run_process({.arguments = {"sh", "-c", "echo out; echo err >&2; exit 3"}});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->output, "out\n");
  EXPECT_EQ(done->errors, "err\n");
  EXPECT_EQ(done->exit_code, 3);
  EXPECT_EQ(describe_end(*done), "exit 3");
}

TEST(RunProcess, TellsASignalFromAnExit) {
  const auto done = run_process({.arguments = {"sh", "-c", "kill -SEGV $$"}});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->signal, 11);
  EXPECT_FALSE(done->ok());
}

TEST(RunProcess, KillsTheWholeGroupAtTheTimeout) {
  const auto before = std::chrono::steady_clock::now();
  const auto done = run_process({.arguments = {"sh", "-c", "sleep 30 & sleep 30"}, .timeout = 100ms});
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
}

TEST(RunProcess, KillsAChildThatClosedItsOutputsButLives) {
  const auto done = run_process({.arguments = {"sh", "-c", "exec >&- 2>&-; sleep 30"}, .timeout = 100ms});
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->timed_out);
}

TEST(RunProcess, PassesMegabytesThroughAChildWithoutDeadlock) {
  std::string data(3 << 20, 'x');
  const auto done = run_process({.arguments = {"cat"}, .input = data});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->output, data);
}

TEST(RunProcess, SurvivesAChildThatDoesNotReadItsInput) {
  const auto done = run_process({.arguments = {"true"}, .input = std::string(3 << 20, 'x')});
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->ok());
}

TEST(RunProcess, KeepsAtMostTheOutputLimit) {
  const auto done =
      run_process({.arguments = {"cat"}, .input = std::string(1 << 20, 'y'), .output_limit = 1000});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->output.size(), 1000u);
}

TEST(RunProcess, SetsEnvironmentAndFolder) {
  const auto done = run_process({.arguments = {"sh", "-c", "echo $NAS_X; pwd"},
                                 .extra_environment = {"NAS_X=7"},
                                 .working_folder = "/"});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->output, "7\n/\n");
}

TEST(RunProcess, NamesAProgramThatDoesNotExist) {
  const auto done = run_process({.arguments = {"no-such-program-here"}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().where, "no-such-program-here");
  EXPECT_EQ(done.error().kind, ErrorKind::device);
}

TEST(RunChecked, QuotesTheLastWordsOfAFailure) {
  const auto done = run_checked({.arguments = {"sh", "-c", "echo broken pipe fitting >&2; exit 4"}});
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("found exit 4: broken pipe fitting"), std::string::npos);
}

TEST(FindProgram, FindsShAndNamesWhatIsAbsent) {
  EXPECT_TRUE(find_program("sh"));
  const auto missing = find_program("no-such-program-here");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("no-such-program-here"), std::string::npos);
}

}  // namespace
}  // namespace nas::devices
