#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

// The program itself: what users type and what comes back.
namespace nas::apps {
namespace {

using testing::HasSubstr;

class JobCommands : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(project_); }
  void TearDown() override { std::filesystem::remove_all(project_); }
  // Exit code; stdout and stderr together in output_.
  int hwnas(const std::string& arguments) {
    output_.clear();
    const std::string command =
        std::string(HWNAS_PROGRAM) + " -C " + project_.string() + " " + arguments + " 2>&1";
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output_.append(buffer, n);
    const int status = ::pclose(pipe);
    return WEXITSTATUS(status);
  }
  std::filesystem::path project_ =
      std::filesystem::temp_directory_path() / ("hwnas-jobs-" + std::to_string(::getpid()));
  std::string output_;
};

TEST_F(JobCommands, AMatrixOfJobsRunsToItsEndAndIsSeenInEveryListing) {
  std::ofstream(project_ / "jobs.json") << R"({
    "name": "demo", // two by two
    "stages": [{"argv": ["sh", "-c", "echo searching {device} {limit}"]},
               {"kind": "hwnas", "argv": ["space", "list"]}],
    "matrix": {"device": ["pixel", "mcu"], "limit": [5, 8]}})";
  ASSERT_EQ(hwnas("submit " + (project_ / "jobs.json").string()), 0) << output_;
  ASSERT_EQ(hwnas("worker -q -j 2 --drain"), 0) << output_;
  ASSERT_EQ(hwnas("ls -f json"), 0);
  const auto runs = nlohmann::json::parse(output_);
  ASSERT_EQ(runs.size(), 4u);
  for (const auto& run : runs) {
    EXPECT_EQ(run["state"], "done");
    EXPECT_EQ(run["tasks"], 2);
    EXPECT_EQ(run["batch"], "demo");
  }
  EXPECT_EQ(hwnas("logs demo-mcu-8"), 0);
  EXPECT_THAT(output_, HasSubstr("searching mcu 8\n"));
  EXPECT_EQ(hwnas("status demo-mcu-8 --watch -q"), 0);
  EXPECT_EQ(hwnas("db check"), 0) << output_;
  EXPECT_EQ(hwnas("rm demo-mcu-8"), 0);
  EXPECT_EQ(hwnas("status demo-mcu-8"), 2);
}

// Orders to runs, each as a user gives it, and what is seen then.
TEST_F(JobCommands, RunsArePausedBumpedFollowedCancelledAndRemoved) {
  const auto state = [&](const std::string& run) {
    hwnas("-q -f value --columns state status " + run);
    return output_.substr(0, output_.find('\n'));
  };
  const auto wait_for = [&](const std::string& run, const std::string& wanted) {
    for (int i = 0; i < 600 && state(run) != wanted; ++i) ::usleep(50'000);
    EXPECT_EQ(output_, wanted + "\n") << run;
  };
  std::ofstream(project_ / "usb.json") << R"({"name": "usb", "argv": ["true"], "tags": ["usb"]})";
  ASSERT_EQ(hwnas("-q submit " + (project_ / "usb.json").string()), 0) << output_;
  ASSERT_EQ(hwnas("-q submit --shell 'echo begun; sleep 100' --name long"), 0);
  ASSERT_EQ(hwnas("-q submit --shell 'echo b' --name b"), 0);
  ASSERT_EQ(hwnas("bump b --priority 0"), 0);
  ASSERT_EQ(hwnas("pause long"), 0);
  EXPECT_THAT(output_, HasSubstr("run long: paused"));
  EXPECT_EQ(hwnas("worker --drain --max-tasks 1"), 0) << output_;
  EXPECT_EQ(state("b"), "done");      // first, though last submitted
  EXPECT_EQ(state("usb"), "queued");  // no worker has its tag
  EXPECT_EQ(hwnas("-q worker --drain --tags usb"), 0);
  EXPECT_EQ(state("usb"), "done");
  EXPECT_EQ(state("long"), "paused");

  ASSERT_EQ(hwnas("resume long"), 0);
  std::FILE* const worker =
      ::popen((std::string(HWNAS_PROGRAM) + " -q -C " + project_.string() + " worker --drain").c_str(), "r");
  wait_for("long", "running");
  EXPECT_EQ(hwnas("rm long"), 7) << "its task runs";
  EXPECT_THAT(output_, HasSubstr("hwnas cancel"));
  EXPECT_EQ(hwnas("pause long"), 0);
  EXPECT_EQ(hwnas("resume long"), 0);
  EXPECT_EQ(hwnas("resume long"), 2);
  wait_for("long", "running");
  EXPECT_EQ(hwnas("cancel long"), 0);
  EXPECT_EQ(hwnas("logs long -F"), 0);  // until it is over
  EXPECT_THAT(output_, HasSubstr("begun"));
  EXPECT_EQ(hwnas("status long --watch"), 1);
  EXPECT_EQ(state("long"), "cancelled");
  ::pclose(worker);
  const auto logs = project_ / "runs/2";
  EXPECT_TRUE(std::filesystem::exists(logs / "task-0.1.log"));
  EXPECT_EQ(hwnas("rm long"), 0);
  EXPECT_FALSE(std::filesystem::exists(logs)) << "another run may get the number";
  EXPECT_EQ(hwnas("db check"), 0) << output_;
}

TEST_F(JobCommands, AnExtendedSearchEndsAsIfItHadHadTheBudgetFromTheStart) {
  const auto search = [](const std::string& name, int evaluations) {
    return R"({"name": ")" + name + R"(", "budget": ")" + std::to_string(evaluations) + R"(evals", "seed": 3,
      "objectives": [{"metric": "proxy", "goal": "max"}, {"metric": "macs_m", "goal": "min"}],
      "strategy": {"name": "nsga2", "population": 8}, "problem": {"kind": "closed-form"}})";
  };
  const auto bytes = [&](const std::string& file) {
    std::ifstream in(project_ / file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  std::ofstream(project_ / "whole.json") << search("whole", 75);
  ASSERT_EQ(hwnas("-q search whole.json"), 0) << output_;
  std::ofstream(project_ / "toy.json") << search("toy", 30);
  std::ofstream(project_ / "job.json")
      << R"({"name": "job", "kind": "hwnas", "argv": ["search", "toy.json"]})";
  ASSERT_EQ(hwnas("-q submit job.json"), 0) << output_;
  ASSERT_EQ(hwnas("-q worker --drain"), 0) << output_;
  ASSERT_EQ(hwnas("extend job --budget +20evals"), 0) << output_;
  ASSERT_EQ(hwnas("extend job --budget +25evals"), 0) << output_;
  ASSERT_EQ(hwnas("-q worker --drain"), 0) << output_;
  EXPECT_EQ(bytes("runs/toy/candidates.jsonl"), bytes("runs/whole/candidates.jsonl"));
  EXPECT_EQ(bytes("runs/toy/front.json"), bytes("runs/whole/front.json"));
  EXPECT_EQ(hwnas("extend toy --budget +20evals"), 2);  // no job
  EXPECT_THAT(output_, HasSubstr("larger --budget"));
  EXPECT_EQ(hwnas("-q search toy.json --budget 90evals"), 0) << output_;
  EXPECT_EQ(hwnas("-q search toy.json --budget 40evals"), 2) << "less than it has had";
  ASSERT_EQ(hwnas("-f json ls"), 0);
  int searches = 0;
  for (const auto& run : nlohmann::json::parse(output_)) searches += run["kind"] == "search" ? 1 : 0;
  EXPECT_EQ(searches, 2) << "a run that goes on is the same run";
  EXPECT_EQ(hwnas("db check"), 0) << output_;
}

TEST_F(JobCommands, FailuresEndInTheirExitCodes) {
  ASSERT_EQ(hwnas("submit --shell 'exit 9' --name bad"), 0);
  EXPECT_EQ(hwnas("worker -q --drain"), 6);
  EXPECT_EQ(hwnas("status bad --watch"), 1);
  EXPECT_EQ(hwnas("ls tasks --run bad -f json"), 0);
  EXPECT_EQ(nlohmann::json::parse(output_)[0]["error"], "exit code 9");
  EXPECT_EQ(hwnas("retry bad --failed"), 0);
  EXPECT_EQ(hwnas("cancel bad"), 0);
  EXPECT_EQ(hwnas("retry bad --failed"), 2);
  std::ofstream(project_ / "bad.json") << R"({"name": "x", "argv": ["a"], "tris": 3})";
  EXPECT_EQ(hwnas("submit " + (project_ / "bad.json").string()), 2);
  EXPECT_THAT(output_, HasSubstr("did you mean \"tries\""));
  EXPECT_EQ(hwnas("-C /no/such/project ls"), 2);
}

}  // namespace
}  // namespace nas::apps
