
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "space/base/rng.h"
#include "tests/apps/program.h"

// Searches as users type them, with the program itself.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

json closed_form(const std::string& name) {
  return {{"name", name},
          {"budget", "300evals"},
          {"problem", {{"kind", "closed-form"}, {"space", "ofa-mbv3-w1.0"}}},
          {"objectives", {{{"metric", "proxy"}, {"goal", "max"}}, {{"metric", "macs_m"}, {"goal", "min"}}}}};
}

class SearchCommands : public ProgramTest {
 protected:
  std::string config(const json& text) {
    const std::string name = text.at("name").get<std::string>() + ".json";
    put(name, text.dump(1));
    return name;
  }
  static std::string front(const std::string& run) { return "runs/" + run + "/front.json"; }
};

TEST_F(SearchCommands, ContradictionsAreToldWithWhatIsReachableBeforeAnythingIsSpent) {
  json c = closed_form("never");
  c["constraints"] = {{{"metric", "macs_m"}, {"max", 1}}};
  EXPECT_EQ(hwnas("search " + config(c)), 3);
  EXPECT_THAT(errors_, HasSubstr("macs_m: the tightest reachable is"));
  EXPECT_THAT(errors_, HasSubstr("the limit asks 1; violated by"));
  // Each limit alone can be met, both together cannot.
  c["constraints"] = {{{"metric", "macs_m"}, {"max", 150}}, {{"metric", "proxy"}, {"min", 46.9}}};
  EXPECT_EQ(hwnas("search " + config(c)), 3);
  EXPECT_THAT(errors_, HasSubstr("the tightest reachable with"));
  c["constraints"] = {{{"metric", "macs_m"}, {"max", 100}, {"min", 200}}};
  EXPECT_EQ(hwnas("search " + config(c)), 3);
  EXPECT_FALSE(fs::exists(project_ / "runs" / "never" / "candidates.jsonl"));
}

TEST_F(SearchCommands, WrongQuestionsEndWithTwoAndTheNearestName) {
  json c = closed_form("wrong");
  c["objectives"][1]["metric"] = "mac_m";
  EXPECT_EQ(hwnas("search " + config(c)), 2);
  EXPECT_THAT(errors_, HasSubstr("\"macs_m\""));
  const std::string good = config(closed_form("wrong"));
  EXPECT_EQ(hwnas("search " + good + " --budget 0evals"), 2);
  EXPECT_THAT(errors_, HasSubstr("budget"));
  EXPECT_EQ(hwnas("search " + good + " --set strategy.name=nsga3"), 2);
  EXPECT_THAT(errors_, HasSubstr("nsga2"));
  EXPECT_EQ(hwnas("search " + good + " --set strategy.populaton=8"), 2);
  EXPECT_THAT(errors_, HasSubstr("did you mean \"population\""));
  EXPECT_EQ(hwnas("search " + good + " --set nonsense"), 2);
  EXPECT_FALSE(fs::exists(project_ / "runs" / "wrong"));
}

TEST_F(SearchCommands, ADryRunTellsTheCostAndWritesNothing) {
  const std::string file = config(closed_form("dry"));
  ASSERT_EQ(hwnas("search " + file + " --dry-run --set strategy.name=random --budget 77evals -f json"), 0)
      << errors_;
  const json plan = json::parse(output_);
  EXPECT_EQ(plan["strategy"], "random");
  EXPECT_EQ(plan["evaluations"], 77);
  EXPECT_GT(plan["networks"].get<double>(), 1e19);
  EXPECT_FALSE(fs::exists(project_ / "runs"));
}

TEST_F(SearchCommands, TheSameSeedGivesTheSameBytesAndAnotherSeedAnotherRun) {
  const std::string file = config(closed_form("seeded"));
  ASSERT_EQ(hwnas("search " + file + " --seed 5 --name a"), 0) << errors_;
  ASSERT_EQ(hwnas("search " + file + " --seed 5 --name b"), 0);
  ASSERT_EQ(hwnas("search " + file + " --seed 6 --name c"), 0);
  ASSERT_FALSE(bytes(front("a")).empty());
  EXPECT_EQ(bytes(front("a")), bytes(front("b")));
  EXPECT_NE(bytes(front("a")), bytes(front("c")));
  EXPECT_EQ(hwnas("search " + file + " --seed 6 --name a"), 2) << "another question in the same folder";
}

TEST_F(SearchCommands, FrontsAreNarrowedAndRunsCompared) {
  const std::string file = config(closed_form("many"));
  ASSERT_EQ(hwnas("search " + file + " --set strategy.name=nsga2 --name evolved"), 0) << errors_;
  ASSERT_EQ(hwnas("search " + file + " --set strategy.name=random --name drawn"), 0) << errors_;
  ASSERT_EQ(hwnas("front evolved -f json"), 0);
  const json whole = json::parse(output_);
  std::vector<double> macs;
  for (const json& point : whole) macs.push_back(point["macs_m"]);
  std::ranges::sort(macs);
  const double limit = macs[macs.size() / 2];
  ASSERT_EQ(hwnas("front evolved --max macs_m=" + json(limit).dump() + " -f json"), 0);
  const json below = json::parse(output_);
  // No point of a front with fewer MACs is dominated by one with more: the narrowed front is a part of it.
  std::set<std::string> expected, found;
  for (const json& point : whole)
    if (point["macs_m"] <= limit) expected.insert(point["arch"]);
  for (const json& point : below) found.insert(point["arch"]);
  EXPECT_FALSE(found.empty());
  EXPECT_LT(found.size(), whole.size());
  EXPECT_EQ(found, expected);
  EXPECT_EQ(hwnas("front evolved --max macs_m=1 -f json"), 3);
  EXPECT_EQ(hwnas("front evolved --max macs_m -f json"), 2);
  EXPECT_EQ(hwnas("front evolvd"), 2);
  ASSERT_EQ(hwnas("compare evolved drawn -f json"), 0) << errors_;
  const json both = json::parse(output_);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0]["shared"], 300);
  EXPECT_EQ(both[1]["candidates"], 300);
  EXPECT_GT(both[0]["hypervolume"].get<double>(), both[1]["hypervolume"].get<double>());
}

// Every network of a small table, so that the front is known by hand.
TEST_F(SearchCommands, ATableOfMeasuredNetworksIsSearchedToItsTrueFront) {
  std::ofstream(project_ / "table.csv")
      << "id,g1,g2,top1,ms\n0,3,1,70,5\n1,5,1,71,6\n2,3,2,69,7\n3,5,2,75,9\n";
  const json c = {
      {"name", "table"},
      {"budget", "10evals"},
      {"problem",
       {{"kind", "csv"},
        {"file", "table.csv"},
        {"genes", {"g*"}},
        {"metrics", {{{"name", "top1"}}, {{"name", "latency_ms"}, {"column", "ms"}, {"unit", "ms"}}}}}},
      {"strategy", {{"name", "exhaustive"}}},
      {"objectives", {{{"metric", "top1"}, {"goal", "max"}}, {{"metric", "latency_ms"}, {"goal", "min"}}}}};
  const std::string file = config(c);
  ASSERT_EQ(hwnas("search " + file + " -f json"), 0) << errors_;
  std::set<double> front;
  for (const json& point : json::parse(output_)) front.insert(point["top1"].get<double>());
  EXPECT_EQ(front, (std::set<double>{70, 71, 75}));
  EXPECT_EQ(hwnas("search " + file + " --name none --set constraints='[{\"metric\":\"top1\",\"min\":80}]'"),
            3);
  EXPECT_THAT(errors_, HasSubstr("top1: the tightest reachable is 75; the limit asks 80; violated by 5"));
  EXPECT_FALSE(fs::exists(project_ / "runs" / "none"));
}

// Evaluations that fail, and tables that hold nothing.
TEST_F(SearchCommands, WhatCannotBeScoredIsToldWithItsReason) {
  json c = {{"name", "holes"},
            {"budget", "10evals"},
            {"problem",
             {{"kind", "csv"}, {"file", "holes.csv"}, {"genes", {"g*"}}, {"metrics", {{{"name", "top1"}}}}}},
            {"strategy", {{"name", "exhaustive"}}},
            {"objectives", {{{"metric", "top1"}, {"goal", "max"}}}}};
  const std::string file = config(c);
  std::ofstream(project_ / "holes.csv") << "g1,g2,top1\n3,1,70\n5,1,nan\n3,2,69\n";
  EXPECT_EQ(hwnas("search " + file + " -f json"), 6);
  EXPECT_THAT(errors_, HasSubstr("1 candidate failed, the first: top1 is nan, required a finite number"));
  ASSERT_EQ(json::parse(output_).size(), 1u);
  EXPECT_EQ(json::parse(output_)[0]["top1"], 70);
  std::ofstream(project_ / "holes.csv") << "g1,g2,top1\n3,1,nan\n";
  EXPECT_EQ(hwnas("search " + file + " --name all"), 6);
  std::ofstream(project_ / "holes.csv") << "g1,g2,top1\n";
  EXPECT_EQ(hwnas("search " + file + " --name none"), 2);
  EXPECT_THAT(errors_, HasSubstr("the table has no rows"));
  std::ofstream(project_ / "empty.json") << R"({"name": "empty", "family": "chain", "genes": []})";
  EXPECT_EQ(hwnas("search " + config(closed_form("empty-space")) +
                  " --set problem.space=" + (project_ / "empty.json").string()),
            2);
  EXPECT_THAT(errors_, HasSubstr("empty.json"));
}

TEST_F(SearchCommands, HypervolumesOfRunsOfOneProblemCompare) {
  const std::string file = config(closed_form("volumes"));
  std::map<std::string, json> fronts;
  for (const std::string strategy : {"nsga2", "random", "exact"}) {
    ASSERT_EQ(hwnas("search " + file + " --set strategy.name=" + strategy + " --name " + strategy), 0)
        << errors_;
    EXPECT_THAT(errors_, HasSubstr("hypervolume is measured from proxy"));
    fronts[strategy] = json::parse(bytes(front(strategy)));
  }
  EXPECT_EQ(fronts["nsga2"]["reference"], fronts["random"]["reference"]);
  EXPECT_EQ(fronts["nsga2"]["reference"], fronts["exact"]["reference"]);
  EXPECT_GT(fronts["nsga2"]["hypervolume"], fronts["random"]["hypervolume"]);
  EXPECT_GT(fronts["exact"]["hypervolume"], fronts["nsga2"]["hypervolume"]);
  ASSERT_EQ(hwnas("compare nsga2 random exact -f json"), 0) << errors_;
  for (const json& run : json::parse(output_))
    EXPECT_EQ(run["hypervolume"], fronts[run["run"].get<std::string>()]["hypervolume"]);
}

TEST_F(SearchCommands, ALongFrontIsShownInPartAndWholeInJson) {
  const std::string file = config(closed_form("long"));
  ASSERT_EQ(hwnas("search " + file + " --set strategy.name=exact"), 0) << errors_;
  EXPECT_EQ(std::ranges::count(output_, '\n'), 13);  // a heading and twelve rows
  EXPECT_THAT(errors_, HasSubstr(" more: hwnas front long\n"));
  EXPECT_THAT(errors_, HasSubstr("optimality gap of proxy against the exact optimum of its model: "));
  ASSERT_EQ(hwnas("front long -f json"), 0);
  const json whole = json::parse(output_);
  EXPECT_GT(whole.size(), 13u);
  // For other objectives among the same candidates: the largest network has the best proxy.
  ASSERT_EQ(hwnas("front long --objective min:params_m -f json"), 0);
  EXPECT_EQ(json::parse(output_).size(), 1u);
  EXPECT_EQ(hwnas("front long --objective params_m"), 2);
}

TEST_F(SearchCommands, TryTellsWhereOneArchitectureStands) {
  json c = closed_form("base");
  c["constraints"] = {{{"metric", "macs_m"}, {"max", 400}}};
  ASSERT_EQ(hwnas("search " + config(c)), 0) << errors_;
  // The best of the run is on its front.
  ASSERT_EQ(hwnas("try base base:best -f json"), 0) << errors_;
  const json best = json::parse(output_);
  EXPECT_EQ(best["feasible"], true);
  EXPECT_TRUE(best["dominated_by"].empty());
  EXPECT_THAT(best["standing"].get<std::string>(), HasSubstr("on the front"));
  // The largest breaks the limit.
  EXPECT_EQ(hwnas("try base largest"), 3);
  EXPECT_THAT(output_, HasSubstr("at most 400"));
  EXPECT_THAT(output_, HasSubstr("violated"));
  EXPECT_THAT(output_, HasSubstr("not feasible: macs_m is "));
  // A candidate that the front dominates says by whom: check by its own numbers.
  std::ifstream lines(project_ / "runs" / "base" / "candidates.jsonl");
  std::string line;
  std::getline(lines, line);
  const json first = json::parse(line);
  ASSERT_EQ(hwnas("try base \"" + first["arch"].get<std::string>() + "\" -f json"),
            first["violation"] == 0 ? 0 : 3);
  const json tried = json::parse(output_);
  EXPECT_EQ(tried["number"], 0);
  ASSERT_EQ(hwnas("front base -f json"), 0);
  std::size_t dominating = 0;
  for (const json& point : json::parse(output_))
    dominating += point["proxy"] >= first["values"]["proxy"] &&
                  point["macs_m"] <= first["values"]["macs_m"] && point["arch"] != first["arch"];
  EXPECT_EQ(tried["dominated_by"].size(), first["violation"] == 0 ? dominating : 0);
  // The exact front's networks would join this one.
  ASSERT_EQ(hwnas("search " + config(c) + " --set strategy.name=exact --name true"), 0) << errors_;
  ASSERT_EQ(hwnas("try base true:best -f json"), 0) << errors_;
  EXPECT_THAT(json::parse(output_)["standing"].get<std::string>(), HasSubstr("it would join the front"));
  EXPECT_EQ(hwnas("try base nonsense"), 2);
  EXPECT_EQ(hwnas("try bass largest"), 2);
}

TEST_F(SearchCommands, OneTwoAndFourCoresGiveTheSameBytes) {
  const std::string file = config(closed_form("cores"));
  for (const std::string cores : {"0", "0,1", "0-3"})
    ASSERT_EQ(hwnas("-q search " + file + " --set strategy.name=predictor --name on-" + cores,
                    "taskset -c " + cores),
              0)
        << errors_;
  ASSERT_FALSE(bytes(front("on-0")).empty());
  EXPECT_EQ(bytes(front("on-0")), bytes(front("on-0,1")));
  EXPECT_EQ(bytes(front("on-0")), bytes(front("on-0-3")));
}

// The strategies whose state is hardest to keep, killed wherever it happens to hit: five times each while
// they ran, over as many runs as that takes.
TEST_F(SearchCommands, KilledAtTwentyRandomMomentsTheFrontIsTheSameBytes) {
  std::uint64_t draw = 0;
  for (const std::string strategy : {"nsga2", "ageing-evolution", "reinforce", "local-search"}) {
    json c = closed_form("calm-" + strategy);
    c["budget"] = "3000evals";
    c["strategy"]["name"] = strategy;
    const std::string calm = config(c);
    const std::string run = "runs/calm-" + strategy, kept = "calm-" + strategy;
    const auto before = std::chrono::steady_clock::now();
    ASSERT_EQ(hwnas("-q search " + calm), 0) << errors_;
    const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before);
    fs::rename(project_ / run, project_ / kept);
    const auto same = [&](const std::string& file) { return bytes(run + file) == bytes(kept + file); };
    ASSERT_FALSE(bytes(kept + "/front.json").empty());
    int hits = 0;
    for (int attempt = 0; hits < 5 && attempt < 40; ++attempt) {
      Rng rng(7, "kill", draw++);
      const auto pause = std::chrono::milliseconds(static_cast<long>(rng.uniform(0.02, 0.9) * took.count()));
      if (killed("search " + calm, pause)) {
        ++hits;
        continue;
      }
      // It came to its end: the same end, and a new start.
      EXPECT_TRUE(same("/front.json") && same("/candidates.jsonl")) << strategy;
      fs::remove_all(project_ / run);
    }
    EXPECT_EQ(hits, 5) << strategy;
    ASSERT_EQ(hwnas("-q search " + calm), 0) << errors_;
    EXPECT_TRUE(same("/front.json") && same("/candidates.jsonl")) << strategy;
  }
}

}  // namespace
}  // namespace nas::apps
