#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "devices/process.h"

// `hwnas plan` as users run it.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class Plan : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(project_); }
  void TearDown() override { fs::remove_all(project_); }

  void configure(const Json& change = Json::object()) {
    Json config{{"space", "tiny"},
                {"data", "procedural:classes=4,count=400,side=16"},
                {"train", {{"length", 0.5}, {"batch", 32}}},
                {"search", {{"sweep", 40}, {"evaluations", 300}}},
                {"targets", {{{"name", "m4"}, {"device", "cortex-m4-qemu"}}}}};
    config.merge_patch(change);
    std::ofstream(project_ / "hwnas.json") << config.dump(2);
  }
  devices::Finished hwnas(const std::string& command) {
    auto ran = devices::run_process(
        {.arguments = {HWNAS_PROGRAM, "-q", "-f", "json", "-C", project_.string(), command},
         .timeout = std::chrono::minutes(1)});
    EXPECT_TRUE(ran);
    return *ran;
  }
  Json plan() {
    const auto ran = hwnas("plan");
    EXPECT_TRUE(ran.ok()) << ran.errors;
    return Json::parse(ran.output);
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(project_)) names.insert(entry.path().string());
    return names;
  }
  // As `hwnas run` records the end of a stage.
  void record(const std::string& stage, double seconds) {
    fs::create_directories(project_ / ".hwnas" / "stages");
    std::ofstream(project_ / ".hwnas" / "stages" / (stage + ".json"))
        << Json{{"seconds", seconds}, {"peak_kilobytes", 1000}}.dump();
  }
  fs::path project_ = fs::temp_directory_path() / ("hwnas-plan-" + std::to_string(::getpid()));
};

TEST_F(Plan, AFreshProjectHasAllStagesToDoWithEstimatesAndTheirSources) {
  configure();
  const auto before = files();
  const Json stages = plan();
  EXPECT_EQ(files(), before) << "a plan writes nothing";
  ASSERT_EQ(stages.size(), 9U) << "train, sweep, five of the target, report, total";
  double sum = 0;
  for (const Json& stage : stages) {
    EXPECT_EQ(stage["state"], "to do") << stage;
    EXPECT_GT(stage["low"], 0.0) << stage;
    EXPECT_LT(stage["low"], stage["seconds"]) << stage;
    EXPECT_LT(stage["seconds"], stage["high"]) << stage;
    EXPECT_GT(stage["peak_memory_bytes"], 0) << stage;
    EXPECT_GT(stage["energy_joules"], 0.0) << stage;
    if (stage != stages.back()) sum += stage["seconds"].get<double>();
  }
  EXPECT_NEAR(stages.back()["seconds"].get<double>(), sum, 1e-9 * sum);
  // 400 images of which 71 of 100 train, 10 of the recipe's 20 epochs in batches of 32.
  EXPECT_EQ(stages[0]["unit"], "steps");
  EXPECT_NEAR(stages[0]["amount"].get<double>(), 8 * 10, 1);
  EXPECT_EQ(stages[0]["source"], "modelled");
  EXPECT_EQ(stages[2]["stage"], "profile m4");
  EXPECT_EQ(stages[2]["source"], "measured now");
  EXPECT_EQ(stages[3]["amount"], 1800) << "the search and five random ones";
}

TEST_F(Plan, AnEarlierRunsRecordReplacesTheModel) {
  configure();
  record("train", 123);
  const Json train = plan()[0];
  EXPECT_EQ(train["source"], "this project's record");
  EXPECT_EQ(train["state"], "to do") << "what it made is not there";
  EXPECT_EQ(train["seconds"], 123);
  EXPECT_EQ(train["peak_memory_bytes"], 1024000);
}

TEST_F(Plan, ABadConfigurationGivesTheErrorsOfRun) {
  for (const Json& change : {Json{{"sweeep", 1}, {"train", {{"batch", 1}}}}, Json{{"data", "no-such-folder"}},
                             Json{{"targets", {{{"name", "x"}, {"device", "cortex-m44"}}}}}}) {
    configure(change);
    const auto planned = hwnas("plan");
    EXPECT_TRUE(planned.output.empty());
    EXPECT_FALSE(fs::exists(project_ / ".hwnas"));
    const auto ran = hwnas("run");
    EXPECT_EQ(planned.errors, ran.errors);
    EXPECT_EQ(planned.exit_code, ran.exit_code);
    EXPECT_FALSE(planned.ok());
    fs::remove_all(project_ / ".hwnas");
  }
}

TEST_F(Plan, SeveralRanksAreModelledAndASlowLinkCosts) {
  configure();
  const auto train = [&](const std::string& options) {
    const auto ran = devices::run_process({.arguments = {"sh", "-c",
                                                         std::string(HWNAS_PROGRAM) + " -q -f json -C " +
                                                             project_.string() + " plan " + options},
                                           .timeout = std::chrono::minutes(1)});
    EXPECT_TRUE(ran && ran->ok()) << ran->errors;
    return Json::parse(ran->output)[0];
  };
  record("train", 102);  // two of them to start
  const Json fast = train("--ranks 4 --link 100gbit"), slow = train("--ranks 4 --link 100kbit");
  EXPECT_EQ(fast["stage"], "train");
  EXPECT_NEAR(fast["seconds"].get<double>(), 2 + 100 / 4.0, 3);
  EXPECT_GT(slow["seconds"].get<double>(), 3 * fast["seconds"].get<double>());
  EXPECT_EQ(slow["source"].get<std::string>().rfind("modelled: 4 ranks", 0), 0u);
  const Json pressed = train("--ranks 4 --link 100kbit --compress topk:0.01");
  EXPECT_LT(pressed["seconds"].get<double>(), slow["seconds"].get<double>() / 3);
  EXPECT_LT(train("--ranks 4 --link 100kbit --local-steps 50")["seconds"].get<double>(),
            slow["seconds"].get<double>() / 3);
}

}  // namespace
}  // namespace nas::apps
