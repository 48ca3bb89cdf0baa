#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "space/base/file.h"
#include "space/base/rng.h"

// hwnas init, run and demo as users meet them.
namespace nas::apps {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kProject = R"({
  "space": "tiny", "data": "procedural:classes=4,count=600,side=24,difficulty=0.05",
  "train": {"recipe": "sandwich", "length": 0.1, "batch": 64},
  "search": {"sweep": 30, "evaluations": 300},
  "profile": {"max_kernels": 0},
  "targets": [{"name": "m4", "device": "cortex-m4-qemu", "limits": {"ram_kb": 16, "minstr": 3},
               "export": ["c", "onnx-int8"], "finetune": 0.5}]
})";

class Line : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(project_); }
  void TearDown() override { fs::remove_all(project_); }
  // Exit code; stdout alone in output_, stderr in errors_.
  int hwnas(const std::string& arguments) {
    const fs::path err = project_ / "stderr.txt";
    const std::string command =
        std::string(HWNAS_PROGRAM) + " -C " + project_.string() + " " + arguments + " 2>" + err.string();
    output_.clear();
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output_.append(buffer, n);
    const int status = ::pclose(pipe);
    const auto text = read_file(err);
    errors_ = text ? *text : "";
    return WEXITSTATUS(status);
  }
  void configure(const std::string& text) { ASSERT_TRUE(write_file(project_ / "hwnas.json", text)); }
  std::map<std::string, std::string> states() {
    EXPECT_EQ(hwnas("-q -f json run --dry-run"), 0) << errors_;
    std::map<std::string, std::string> found;
    for (const Json& stage : Json::parse(output_)) found[stage["stage"]] = stage["state"];
    return found;
  }
  fs::path project_ = fs::temp_directory_path() / ("hwnas-line-" + std::to_string(::getpid()));
  std::string output_, errors_;
};

TEST_F(Line, EveryTemplateIsAProjectThatReads) {
  for (const char* name : {"mcu", "phone", "cpu", "gpu"}) {
    fs::remove(project_ / "hwnas.json");
    ASSERT_EQ(hwnas("init " + project_.string() + " --template " + name), 0) << errors_;
    // The images are not there yet: that is all that is missing.
    EXPECT_EQ(hwnas("-q run"), 2);
    EXPECT_THAT(errors_, HasSubstr("images"));
  }
  EXPECT_EQ(hwnas("init " + project_.string()), 2);
  EXPECT_THAT(errors_, HasSubstr("project here already"));
  fs::remove(project_ / "hwnas.json");
  EXPECT_EQ(hwnas("init " + project_.string() + " --template mcus"), 2);
  EXPECT_THAT(errors_, HasSubstr("did you mean \"mcu\"?"));
}

TEST_F(Line, SaysWhereAConfigurationIsWrong) {
  EXPECT_EQ(hwnas("run"), 2);
  EXPECT_THAT(errors_, HasSubstr("hwnas init"));
  configure("{\n \"space\": \"tiny\",\n \"data\": \"procedural:\",\n \"targts\": []\n}");
  EXPECT_EQ(hwnas("run"), 2);
  EXPECT_THAT(errors_, HasSubstr("hwnas.json:4:"));
  EXPECT_THAT(errors_, HasSubstr("did you mean \"targets\"?"));
  configure(R"({"space": "tiny", "data": "procedural:", "targets": [
  {"name": "a", "device": "cortex-m4-qem"},
  {"name": "a", "device": "host", "limits": {"minstr": 3}, "export": ["onxx"]}]})");
  EXPECT_EQ(hwnas("run"), 2);
  EXPECT_THAT(errors_, HasSubstr("found onxx"));
  EXPECT_THAT(errors_, HasSubstr("cortex-m4-qemu"));  // the device meant
  EXPECT_THAT(errors_, HasSubstr("earlier target"));  // the name twice
  EXPECT_THAT(errors_, HasSubstr("minstr"));          // the host has a clock
}

TEST_F(Line, ALimitThatNothingMeetsIsToldBeforeTheSearch) {
  std::string text = kProject;
  text.replace(text.find("\"minstr\": 3"), 11, "\"minstr\": 0.001");
  configure(text);
  EXPECT_EQ(hwnas("-q run"), 3) << errors_;
  EXPECT_THAT(errors_, HasSubstr("minstr"));
  EXPECT_THAT(errors_, HasSubstr("tightest reachable"));
}

TEST_F(Line, RunsOnceKeepsWhatIsValidAndRedoesOnlyWhatAChangeTouches) {
  configure(kProject);
  ASSERT_EQ(hwnas("-q run"), 0) << errors_;
  for (const char* made : {"report.html", "exports/m4/manifest.json", "exports/m4/c/net.c",
                           "runs/m4/front.json", "runs/m4/predictions.jsonl", "accuracy.jsonl"})
    EXPECT_TRUE(fs::exists(project_ / made)) << made;
  for (const auto& [stage, state] : states()) EXPECT_EQ(state, "kept") << stage;
  // Exported for its device, in the forms asked for and no others.
  const auto manifest = Json::parse(*read_file(project_ / "exports/m4/manifest.json"));
  EXPECT_EQ(manifest["forms"], Json({"c", "onnx-int8"}));
  EXPECT_GT(manifest["metrics"]["instructions"]["value"], 0);
  // The estimate of the chosen network and the emulator's count of the exported one agree.
  ASSERT_EQ(hwnas("-f json estimate m4:best --space " + (project_ / "accuracy.jsonl").string() +
                  " --session cortex-m4-qemu-int8"),
            0)
      << errors_;
  const double predicted = Json::parse(output_)["sum"];
  ASSERT_EQ(hwnas("-f json verify " + (project_ / "exports/m4").string()), 0) << errors_;
  double counted = 0;
  for (const Json& row : Json::parse(output_))
    if (row["runtime"].get<std::string>().find("mps2-an386") != std::string::npos)
      counted = row["instructions"];
  EXPECT_NEAR(predicted / counted, 1, 0.01);
  // So do the stage `check`, which measured whole networks of the front on the board, and what it left for
  // `try`.
  ASSERT_EQ(hwnas("-f json try m4 m4:best"), 0) << errors_;
  std::map<std::string, Json> measured;
  const Json tried = Json::parse(output_);
  for (const Json& metric : tried["metrics"]) measured[metric["metric"]] = metric["measured"];
  ASSERT_TRUE(measured["minstr"].is_number()) << output_;
  EXPECT_NEAR(1e6 * measured["minstr"].get<double>() / counted, 1, 0.01);
  EXPECT_TRUE(measured["top1"].is_number());
  // Another limit: training, sweep and profile stay.
  std::string text = kProject;
  text.replace(text.find("\"minstr\": 3"), 11, "\"minstr\": 1");
  configure(text);
  auto after = states();
  for (const char* stage : {"train", "sweep", "profile m4"}) EXPECT_EQ(after[stage], "kept") << stage;
  EXPECT_EQ(after["search m4"], "to do");
  // Something made and then changed by hand is made again.
  configure(kProject);
  ASSERT_TRUE(write_file(project_ / "accuracy.jsonl", "{}\n"));
  EXPECT_EQ(states()["sweep"], "to do");
  EXPECT_EQ(states()["train"], "kept");
}

// Its result must not depend on how often and when it was killed.
TEST_F(Line, KilledAtRandomMomentsItEndsWithTheSameFront) {
  configure(kProject);
  ASSERT_EQ(hwnas("-q run --until search"), 0) << errors_;
  const std::string front = *read_file(project_ / "runs/m4/front.json");
  const std::string sweep = *read_file(project_ / "accuracy.jsonl");
  fs::remove_all(project_);
  fs::create_directories(project_);
  configure(kProject);
  Rng rng(7, "kills", 0);
  for (int kill = 0; kill < 6; ++kill) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setpgid(0, 0);
      std::freopen("/dev/null", "w", stdout);
      std::freopen("/dev/null", "w", stderr);
      ::execl(HWNAS_PROGRAM, HWNAS_PROGRAM, "-q", "-C", project_.c_str(), "run", "--until", "search",
              nullptr);
      ::_exit(127);
    }
    ::setpgid(child, child);
    std::this_thread::sleep_for(std::chrono::milliseconds(200 + rng.below(2500)));
    ::kill(-child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  ASSERT_EQ(hwnas("-q run --until search"), 0) << errors_;
  EXPECT_EQ(*read_file(project_ / "accuracy.jsonl"), sweep);
  EXPECT_EQ(*read_file(project_ / "runs/m4/front.json"), front);
}

}  // namespace
}  // namespace nas::apps
