#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "space/base/file.h"

// Searches whose candidates are evaluated on a trained supernet, as users type them.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class SupernetSearch : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fs::create_directories(project_);
    ASSERT_EQ(hwnas("-q train --space tiny --data procedural:classes=4,count=600,side=24,difficulty=0.05 "
                    "--recipe sandwich --length 0.05 --batch 32 --out " +
                    (project_ / "runs/supernet").string()),
              0)
        << said_;
  }
  static void TearDownTestSuite() { fs::remove_all(project_); }
  // Exit code; stdout in output_, stderr in said_.
  static int hwnas(const std::string& arguments) {
    const fs::path said = project_ / "stderr.txt";
    output_.clear();
    const std::string command =
        std::string(HWNAS_PROGRAM) + " -C " + project_.string() + " " + arguments + " 2>" + said.string();
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output_.append(buffer, n);
    const int status = ::pclose(pipe);
    const auto text = read_file(said);
    said_ = text ? *text : "";
    return WEXITSTATUS(status);
  }
  static std::string config(const std::string& name, const std::string& strategy, int evaluations) {
    const json c = {
        {"name", name},
        {"budget", std::to_string(evaluations) + "evals"},
        {"strategy", {{"name", strategy}, {"population", 9}, {"batch", 4}, {"updates", 2}}},
        {"problem", {{"kind", "supernet"}, {"run", "runs/supernet"}, {"accuracies", "accuracy.jsonl"}}},
        {"objectives", {{{"metric", "top1"}, {"goal", "max"}}, {{"metric", "macs_m"}, {"goal", "min"}}}}};
    const fs::path path = project_ / (name + ".json");
    std::ofstream(path) << c.dump(1);
    return path.string();
  }
  static std::vector<json> lines(const fs::path& path) {
    std::vector<json> all;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) all.push_back(json::parse(line));
    return all;
  }
  static inline const fs::path project_ =
      fs::temp_directory_path() / ("hwnas-supernet-search-" + std::to_string(::getpid()));
  static inline std::string output_, said_;
};

TEST_F(SupernetSearch, CandidatesHaveTheAccuracyThatEvaluateMeasuresAndAreNotMeasuredTwice) {
  ASSERT_EQ(hwnas("search " + config("evolved", "nsga2", 18) + " -f json"), 0) << said_;
  const json front = json::parse(output_);
  ASSERT_FALSE(front.empty());
  const std::string arch = front[0]["arch"];
  ASSERT_EQ(hwnas("evaluate \"" + arch + "\" --run " + (project_ / "runs/supernet").string() + " -f json"),
            0);
  EXPECT_EQ(json::parse(output_)[0]["top1"], front[0]["top1"]);
  // A header and one line a candidate; the same search again and its trial find everything there.
  const std::size_t measured = lines(project_ / "accuracy.jsonl").size();
  EXPECT_EQ(measured, 19u);
  ASSERT_EQ(hwnas("search " + config("evolved", "nsga2", 18) + " --name again"), 0) << said_;
  ASSERT_EQ(hwnas("try evolved \"" + arch + "\""), 0) << said_;
  EXPECT_THAT(output_, HasSubstr("on the front"));
  EXPECT_EQ(lines(project_ / "accuracy.jsonl").size(), measured);
  EXPECT_EQ(*read_file(project_ / "runs/again/front.json"), *read_file(project_ / "runs/evolved/front.json"));
}

TEST_F(SupernetSearch, CheckSaysWhereTheFrontsPredictionsAndTheTestImagesDisagree) {
  ASSERT_EQ(hwnas("search " + config("judged", "random", 8)), 0) << said_;
  ASSERT_EQ(hwnas("check judged --run runs/supernet --networks 3 -f json"), 0) << said_;
  const json checked = json::parse(output_);
  ASSERT_FALSE(checked.empty());
  EXPECT_LE(checked.size(), 3u);
  EXPECT_THAT(said_, HasSubstr("top1 predicted against measured on the test split: "));
  EXPECT_THAT(said_, HasSubstr("farthest is r="));
  EXPECT_EQ(said_.find("./runs"), std::string::npos) << said_;
  const std::string arch = checked[0]["network"];
  ASSERT_EQ(hwnas("evaluate \"" + arch + "\" --run runs/supernet --split test -f json"), 0) << said_;
  EXPECT_EQ(json::parse(output_)[0]["top1"], checked[0]["top1"]);
  ASSERT_EQ(hwnas("try judged \"" + arch + "\" -f json"), 0) << said_;
  const json tried = json::parse(output_);
  for (const json& metric : tried["metrics"])
    if (metric["metric"] == "top1") {
      EXPECT_EQ(metric["measured"], checked[0]["top1"]);
    }
  EXPECT_EQ(hwnas("check juged --run runs/supernet"), 2);
  EXPECT_THAT(said_, HasSubstr("did you mean \"judged\"?"));
  EXPECT_EQ(hwnas("check judged --run runs/nowhere"), 2);
  EXPECT_THAT(said_, HasSubstr("nowhere"));
}

TEST_F(SupernetSearch, SuccessiveHalvingSpendsFewImagesOnMostCandidates) {
  ASSERT_EQ(hwnas("search " + config("halved", "successive-halving", 13) + " -f json"), 0) << said_;
  std::map<double, int> by_fidelity;
  for (const json& line : lines(project_ / "runs/halved/candidates.jsonl")) ++by_fidelity[line["fidelity"]];
  ASSERT_GE(by_fidelity.size(), 2u);
  EXPECT_LT(by_fidelity.begin()->first, 1);
  EXPECT_GT(by_fidelity.begin()->second, by_fidelity[1]);
  for (const json& point : json::parse(output_)) EXPECT_GT(point["top1"], 0.2);
}

TEST_F(SupernetSearch, TheGradientFollowsThePathGatesInBothForms) {
  for (const std::string form : {"add", "mul"}) {
    ASSERT_EQ(hwnas("search " + config("gradient", "gradient", 16) + " --name by-" + form +
                    " --set strategy.cost_form=" + form +
                    " --set constraints='[{\"metric\":\"macs_m\",\"max\":1}]' -f json"),
              0)
        << said_;
    EXPECT_FALSE(json::parse(output_).empty());
  }
  // The cost is in the loss: the two forms do not ask for the same networks.
  EXPECT_NE(*read_file(project_ / "runs/by-add/candidates.jsonl"),
            *read_file(project_ / "runs/by-mul/candidates.jsonl"));
}

TEST_F(SupernetSearch, AFolderWithoutASupernetIsRefused) {
  EXPECT_EQ(hwnas("search " + config("lost", "random", 4) + " --set problem.run=runs/nowhere"), 2);
  EXPECT_THAT(said_, HasSubstr("nowhere"));
}

// A run of `tiny`, its networks with rank genes: nothing is trained anew for them.
TEST_F(SupernetSearch, RankGenesAreSweptSearchedCheckedExportedAndTunedOnARunWithoutThem) {
  const std::string space = HWNAS_SOURCE_DIR "/examples/spaces/tiny-rank.json";
  ASSERT_EQ(hwnas("-q sweep --run runs/supernet --space " + space + " --networks 32 --out rank.jsonl"), 0)
      << said_;
  const std::vector<json> swept = lines(project_ / "rank.jsonl");
  ASSERT_EQ(swept.size(), 33u);
  const std::string last = swept.back()["arch"];
  EXPECT_THAT(last, HasSubstr(":rank="));
  ASSERT_EQ(hwnas("-f json evaluate \"" + last + "\" --run runs/supernet --space rank.jsonl"), 0) << said_;
  EXPECT_EQ(json::parse(output_)[0]["top1"], swept.back()["top1"]);
  EXPECT_EQ(hwnas("evaluate \"" + last + "\" --run runs/supernet"), 2) << "the run's own space has no ranks";
  EXPECT_EQ(hwnas("evaluate largest --run runs/supernet --space cifar-mbv3"), 2);
  EXPECT_THAT(said_, HasSubstr("weights of "));

  // Below what tiny's smallest network costs, so that only low rank gets there.
  ASSERT_EQ(hwnas("-f json space cost tiny --min"), 0) << said_;
  const double least = json::parse(output_)["macs"].get<double>() / 1e6;
  json c = json::parse(*read_file(config("thin", "nsga2", 60)));
  c["constraints"] = {{{"metric", "macs_m"}, {"max", 0.95 * least}}};
  c["objectives"].erase(1);
  c["problem"] = {{"kind", "supernet"}, {"run", "runs/supernet"}, {"space", "rank.jsonl"}, {"images", 40}};
  std::ofstream(project_ / "thin.json") << c;
  ASSERT_EQ(hwnas("-q search thin.json"), 0) << said_;
  c["problem"] = {{"kind", "networks"}, {"accuracy", "rank.jsonl"}};
  std::ofstream(project_ / "thin.json") << c;
  ASSERT_EQ(hwnas("-f json search thin.json --name predicted"), 0) << said_;
  const std::string best = json::parse(output_)[0]["arch"];
  EXPECT_THAT(best, testing::AnyOf(HasSubstr("0.25"), HasSubstr("0.5")));
  ASSERT_EQ(hwnas("-f json check predicted --run runs/supernet --space rank.jsonl --on-device 0"), 0)
      << said_;

  ASSERT_EQ(
      hwnas(
          "-q export predicted:best --run runs/supernet --space rank.jsonl --to c,onnx-int8 --test-images 20 "
          "--out thin"),
      0)
      << said_;
  EXPECT_EQ(json::parse(*read_file(project_ / "thin/manifest.json"))["architecture"]["genotype"], best);
  ASSERT_EQ(hwnas("verify thin"), 0) << said_ << output_;
  ASSERT_EQ(
      hwnas("-q evaluate \"" + best + "\" --run runs/supernet --space rank.jsonl --extract thin.safetensors"),
      0)
      << said_;
  ASSERT_EQ(
      hwnas(
          "-q train --network thin.safetensors --data procedural:classes=4,count=600,side=24,difficulty=0.05 "
          "--length 0.05 --batch 32 --out runs/tuned"),
      0)
      << said_;
}

}  // namespace
}  // namespace nas::apps
