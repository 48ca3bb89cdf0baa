#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/apps/program.h"

// Work in parts: shards whose stores merge, and job arrays of Slurm, as users meet them.
namespace nas::apps {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class Shards : public ProgramTest {
 protected:
  static std::string search(const std::string& name, int evaluations, const std::string& strategy) {
    return R"({"name": ")" + name + R"(", "budget": ")" + std::to_string(evaluations) + R"(evals", "seed": 3,
      "objectives": [{"metric": "proxy", "goal": "max"}, {"metric": "macs_m", "goal": "min"}],
      "strategy": {"name": ")" +
           strategy + R"("}, "problem": {"kind": "closed-form"}})";
  }
  // What the candidates of a project's store are, whatever their numbers and runs.
  std::multiset<std::string> rows(const std::string& project) {
    std::multiset<std::string> found;
    EXPECT_EQ(hwnas_in(project, "db export --to jsonl"), 0) << errors_;
    std::istringstream lines(output_);
    for (std::string line; std::getline(lines, line);) {
      const Json row = Json::parse(line);
      found.insert(row["genotype"].dump() + row["macs"].dump() + row["extra"].dump() + row["state"].dump());
    }
    return found;
  }
};

TEST_F(Shards, OfASearchMergeToTheRowsOfTheWhole) {
  for (const std::string strategy : {"random", "grid"}) {
    put(strategy + ".json", search(strategy, 150, strategy));
    const std::string file = " " + (project_ / (strategy + ".json")).string();
    ASSERT_EQ(hwnas_in(strategy + "/whole", "search --keep-all" + file), 0) << errors_;
    for (const std::string part : {"1", "2", "3"})
      ASSERT_EQ(hwnas_in(strategy + "/" + part, "search --shard " + part + "/3" + file), 0) << errors_;
    ASSERT_EQ(hwnas_in(strategy + "/1", "db merge ../2 ../3"), 0) << errors_;
    ASSERT_EQ(hwnas_in(strategy + "/1", "db check"), 0) << errors_;
    const auto whole = rows(strategy + "/whole"), merged = rows(strategy + "/1");
    EXPECT_EQ(whole.size(), 150u);
    EXPECT_EQ(merged, whole);
    EXPECT_GT(rows(strategy + "/2").size(), 20u);  // no shard did it all
  }
}

TEST_F(Shards, AreRefusedWhereTheyWouldNotBePartsOfOneSearch) {
  put("n.json", search("n", 50, "nsga2"));
  EXPECT_EQ(hwnas("search n.json --shard 1/2"), 2);
  EXPECT_THAT(errors_, HasSubstr("required for --shard: random, grid or exhaustive"));
  put("r.json", search("r", 50, "random"));
  EXPECT_EQ(hwnas("search r.json --shard 1/2 --budget 2h"), 2);
  EXPECT_THAT(errors_, HasSubstr("required a budget of evaluations"));
  for (const char* wrong : {"0/2", "3/2", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1/0", "1/99999999999"}) {
    EXPECT_EQ(hwnas(std::string("search r.json --shard ") + wrong), 2) << wrong;
    EXPECT_THAT(errors_, HasSubstr("--shard")) << wrong;
  }
  EXPECT_FALSE(std::filesystem::exists(project_ / "runs"));
}

TEST_F(Shards, AStoppedSearchEndsWithExitCode75AndGoesOnAsIfItHadNot) {
  put("s.json", search("s", 20000, "nsga2"));
  EXPECT_EQ(signalled("search s.json", SIGUSR1, "runs/s/state.json"), 75);
  EXPECT_LT(bytes("runs/s/candidates.jsonl").size(), 20000u * 50);
  EXPECT_FALSE(std::filesystem::exists(project_ / "runs/s/front.json"));
  ASSERT_EQ(hwnas("-q search s.json"), 0) << errors_;
  ASSERT_EQ(hwnas("-q search s.json --name whole"), 0) << errors_;
  EXPECT_EQ(bytes("runs/s/candidates.jsonl"), bytes("runs/whole/candidates.jsonl"));
  EXPECT_EQ(bytes("runs/s/front.json"), bytes("runs/whole/front.json"));
}

class SlurmArray : public Shards {
 protected:
  // sbatch and scontrol of tests/slurm come first in PATH.
  int submit(const std::string& arguments, const std::string& variables = "") {
    const std::string tools = std::string(HWNAS_SOURCE_DIR) + "/tests/slurm";
    return hwnas("submit " + arguments, "export PATH=" + tools + ":$PATH STAND_IN_STATE=" +
                                            (project_ / "state").string() + " " + variables + ";");
  }
};

TEST_F(SlurmArray, RunsEveryCellAndPutsBackTheOneThatWasSignalled) {
  for (const char* name : {"a", "b", "c"}) put(std::string(name) + ".json", search(name, 20000, "nsga2"));
  put("jobs.json", R"({"name": "three", "kind": "hwnas", "argv": ["search", "{f}.json"],
                       "matrix": {"f": ["a", "b", "c"]}})");
  ASSERT_EQ(submit("jobs.json --slurm --sbatch=--time=10 -f json",
                   "STAND_IN_NOTICE=1:" + (project_ / "runs/b/state.json").string()),
            0)
      << errors_;
  const Json said = Json::parse(output_);
  EXPECT_EQ(said["job"], "71");
  EXPECT_EQ(said["elements"], 3);
  EXPECT_EQ(bytes("state/ends"), "0 0 0\n1 0 75\n1 1 0\n2 0 0\n");
  EXPECT_THAT(bytes("slurm/three/1.log"), HasSubstr("the same command continues"));
  const std::string script = bytes(said["script"].get<std::string>());
  for (const char* line : {"#SBATCH --array=0-2\n", "#SBATCH --signal=B:USR1@120\n", "#SBATCH --requeue\n",
                           "#SBATCH --job-name=three\n"})
    EXPECT_THAT(script, HasSubstr(line));
  EXPECT_EQ(bytes("runs/a/candidates.jsonl"), bytes("runs/b/candidates.jsonl"));
  EXPECT_EQ(bytes("runs/a/front.json"), bytes("runs/b/front.json"));
  EXPECT_EQ(submit("jobs.json --slurm"), 2) << "of the same name";
  EXPECT_THAT(errors_, HasSubstr("submitted before"));
}

TEST_F(SlurmArray, DoesStagesOnceInOrderWithWordsAsTheyAreWritten) {
  put("jobs.json", R"({"name": "it's", "stages": [
    {"argv": ["sh", "-c", "echo \"$X\" >> made; echo $0", "a b'c"], "env": {"X": "1 $HOME *"}},
    {"argv": ["sh", "-c", "echo again >> made; [ -e twice ] || { touch twice; exit 75; }"]}]})");
  ASSERT_EQ(submit("jobs.json --slurm"), 0) << errors_;
  EXPECT_EQ(bytes("made"), "1 $HOME *\nagain\nagain\n");  // the first stage once
  EXPECT_EQ(bytes("state/ends"), "0 0 75\n0 1 0\n");
  EXPECT_THAT(bytes("slurm/it-s/0.log"), HasSubstr("a b'c\n"));
}

TEST_F(SlurmArray, WhatSlurmRefusesOrCannotDoIsSaidAndLeavesNothing) {
  put("jobs.json", R"({"name": "x", "argv": ["true"]})");
  EXPECT_EQ(submit("jobs.json --slurm", "STAND_IN_FAILURE='Invalid account'"), 5);
  EXPECT_THAT(errors_, HasSubstr("Invalid account"));
  EXPECT_FALSE(std::filesystem::exists(project_ / "slurm/x"));
  const std::string bin = (project_ / "bin").string();  // no sbatch there
  EXPECT_EQ(hwnas("submit jobs.json --slurm",
                  "mkdir " + bin + "; ln -s $(command -v timeout) " + bin + "; export PATH=" + bin + ";"),
            5);
  EXPECT_THAT(errors_, HasSubstr("sbatch"));
  put("usb.json", R"({"name": "u", "argv": ["true"], "tags": ["usb"]})");
  EXPECT_EQ(submit("usb.json --slurm"), 2);
  EXPECT_THAT(errors_, HasSubstr("hwnas worker"));
  EXPECT_EQ(submit("jobs.json --notice 5"), 2) << "without --slurm";
  ASSERT_EQ(submit("jobs.json --slurm --dry-run --notice 33"), 0) << errors_;
  EXPECT_THAT(bytes("slurm/x/job.sh"), HasSubstr("USR1@33"));
  EXPECT_FALSE(std::filesystem::exists(project_ / "state"));
  EXPECT_EQ(submit("jobs.json --slurm"), 0) << "a dry run is no submission: " << errors_;
}

}  // namespace
}  // namespace nas::apps
