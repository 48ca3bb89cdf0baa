#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "devices/process.h"
#include "results/runs.h"
#include "results/store.h"
#include "space/base/file.h"

// What commands leave in the project's store, and that the store never stands in their way.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

class LedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(project_);
    configure("20evals");
  }
  void TearDown() override { fs::remove_all(project_); }

  void configure(const std::string& budget) {
    const Json search{
        {"name", "toy"},
        {"budget", budget},
        {"seed", 3},
        {"objectives", {{{"metric", "proxy"}, {"goal", "max"}}, {{"metric", "macs_m"}, {"goal", "min"}}}},
        {"constraints", {{{"metric", "macs_m"}, {"max", 400}}}},
        {"strategy", {{"name", "nsga2"}}},
        {"problem", {{"kind", "closed-form"}}}};
    std::ofstream(project_ / "toy.json") << search.dump();
  }
  std::vector<std::string> command(std::vector<std::string> arguments) const {
    std::vector<std::string> all{HWNAS_PROGRAM, "-C", project_.string()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
  devices::Finished hwnas(std::vector<std::string> arguments) const {
    auto ran = devices::run_process(
        {.arguments = command(std::move(arguments)), .timeout = std::chrono::minutes(2)});
    EXPECT_TRUE(ran);
    return *ran;
  }
  devices::Finished search() const { return hwnas({"search", (project_ / "toy.json").string()}); }
  // The same, left running in a process group of its own.
  pid_t start_search() const {
    const auto words = command({"-q", "search", (project_ / "toy.json").string()});
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    std::freopen("/dev/null", "w", stdout);
    std::freopen("/dev/null", "w", stderr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  Json listed(const std::string& what, const std::string& run = "") const {
    std::vector<std::string> arguments{"-f", "json", "ls", what};
    if (!run.empty()) arguments.insert(arguments.end(), {"--run", run});
    const auto ran = hwnas(arguments);
    EXPECT_TRUE(ran.ok()) << ran.errors;
    return Json::parse(ran.output, nullptr, false);
  }
  bool clean() const { return hwnas({"db", "check"}).ok(); }
  void wait_for(const fs::path& path) const {
    for (int i = 0; i < 30000 && !fs::exists(path); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  fs::path project_ = fs::temp_directory_path() / ("hwnas-ledger-" + std::to_string(::getpid()));
};

TEST_F(LedgerTest, ASearchIsFoundWithItsOriginAndItsFront) {
  const auto ran = search();
  ASSERT_TRUE(ran.ok()) << ran.errors;
  const Json runs = listed("runs");
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0]["name"], "toy");
  EXPECT_EQ(runs[0]["kind"], "search");
  EXPECT_EQ(runs[0]["state"], "done");
  EXPECT_EQ(runs[0]["seed"], 3);
  const Json kept = Json::parse(*read_file(project_ / "runs/toy/front.json"))["front"];
  const Json candidates = listed("candidates", "toy");
  ASSERT_EQ(candidates.size(), kept.size()) << "of a search by models the front is stored";
  const auto status = hwnas({"-f", "json", "status", "toy"});
  const Json record = Json::parse(status.output);
  EXPECT_EQ(record["config_sha256"].get<std::string>().size(), 64U);
  EXPECT_EQ(record["space_name"], "ofa-mbv3-w1.0");
  EXPECT_TRUE(clean());
}

TEST_F(LedgerTest, KeepAllStoresEveryCandidateWithTheNumbersOfTheFolder) {
  ASSERT_TRUE(hwnas({"search", (project_ / "toy.json").string(), "--keep-all"}).ok());
  auto store = results::Store::open(project_, {.access = results::Access::read});
  ASSERT_TRUE(store) << store.error().message;
  const auto rows = results::list_candidates(*store, 1);
  ASSERT_TRUE(rows);
  std::ifstream file(project_ / "runs/toy/candidates.jsonl");
  std::size_t number = 0;
  for (std::string line; std::getline(file, line); ++number) {
    const Json json = Json::parse(line);
    ASSERT_LT(number, rows->size());
    const results::Candidate& row = (*rows)[number];
    EXPECT_EQ(row.number, json["number"]);
    EXPECT_EQ(row.made_by, json["origin"]);
    EXPECT_NEAR(static_cast<double>(*row.macs), json["values"]["macs_m"].get<double>() * 1e6, 1);
    EXPECT_EQ(Json::parse(row.extra)["proxy"], json["values"]["proxy"]);
    EXPECT_EQ(results::get_architecture(*store, row.arch_id)->text, json["arch"]);
  }
  EXPECT_EQ(number, 20U);
  EXPECT_EQ(rows->size(), 20U);
}

TEST_F(LedgerTest, TheSameCommandIsTheSameRunAndAChangedOneSetsTheOldAside) {
  ASSERT_TRUE(search().ok());
  ASSERT_TRUE(search().ok());
  EXPECT_EQ(listed("runs").size(), 1U);
  configure("10evals");
  EXPECT_FALSE(search().ok()) << "the folder holds another question";
  fs::remove_all(project_ / "runs/toy");
  ASSERT_TRUE(search().ok());
  const Json runs = listed("runs");
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0]["name"], "toy");
  EXPECT_EQ(runs[1]["name"], "toy.1");
  EXPECT_TRUE(clean());
}

TEST_F(LedgerTest, AStoreLockedForTooLongIsToldAndTheSearchGoesOn) {
  auto store = results::Store::open(project_);
  ASSERT_TRUE(store) << store.error().message;
  auto held = store->begin();
  ASSERT_TRUE(held);
  const auto ran = search();
  EXPECT_TRUE(ran.ok());
  EXPECT_THAT(ran.errors, HasSubstr("warning: not kept in the project's store"));
  EXPECT_TRUE(fs::exists(project_ / "runs/toy/front.json"));
}

TEST_F(LedgerTest, AKilledSearchIsCalledInterruptedAndItsContinuationIsTheSameRun) {
  configure("100000evals");
  ASSERT_TRUE(search().ok());
  const std::string wanted = *read_file(project_ / "runs/toy/front.json");
  const Json rows = listed("candidates", "toy");
  fs::remove_all(project_ / "runs");
  fs::remove(project_ / "hwnas.db");
  const pid_t child = start_search();
  wait_for(project_ / "runs/toy/candidates.jsonl");
  ::kill(child, SIGSTOP);  // it must not end before the second one looks
  const auto second = search();
  EXPECT_EQ(second.exit_code, 7) << "two searches must not write one folder";
  EXPECT_THAT(second.errors, HasSubstr("another hwnas process works in this folder"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_FALSE(fs::exists(project_ / "runs/toy/front.json")) << "it ended before it was killed";
  EXPECT_EQ(listed("runs")[0]["state"], "interrupted");
  EXPECT_TRUE(clean());
  ASSERT_TRUE(search().ok());
  EXPECT_EQ(*read_file(project_ / "runs/toy/front.json"), wanted);
  const Json runs = listed("runs");
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0]["state"], "done");
  const Json again = listed("candidates", "toy");
  ASSERT_EQ(again.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const char* key : {"number", "macs", "params", "extra", "on_front", "made_by"})
      EXPECT_EQ(again[i][key], rows[i][key]);
  EXPECT_TRUE(clean());
}

}  // namespace
}  // namespace nas::apps
