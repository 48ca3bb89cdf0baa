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
