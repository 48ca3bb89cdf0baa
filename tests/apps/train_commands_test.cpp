#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "space/base/rng.h"
#include "tests/apps/program.h"
#include "tests/supernet/data/encode.h"

// hwnas data, train and evaluate as users meet them.
namespace nas::apps {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;
using namespace data::testing_tools;

#define HWNAS_TINY                                                                                      \
  "train --space tiny --data procedural:classes=4,count=400,side=16,difficulty=0.05 --recipe sandwich " \
  "--batch 32"
constexpr const char* kTiny = HWNAS_TINY " --length 0.15 --checkpoint-every 3";
constexpr const char* kLong = HWNAS_TINY " --length 1000 --checkpoint-every 3";

class TrainCommands : public ProgramTest {
 protected:
  // A folder of classes with that many pictures each; all pictures differ.
  std::string pictures(const std::string& name, int classes, int each) {
    for (int c = 0; c < classes; ++c)
      for (int i = 0; i < each; ++i)
        data::testing_tools::put(
            project_ / name / ("class" + std::to_string(c)) / (std::to_string(i) + ".png"),
            png_of(gradient(20, 20, 7 * i + 101 * c)));
    return name;
  }
  void expect_refused(const std::string& arguments, const std::string& words, int code = 2) {
    EXPECT_EQ(hwnas("-q " + arguments), code) << arguments << "\n" << errors_;
    EXPECT_THAT(errors_, HasSubstr(words)) << arguments;
    EXPECT_EQ(output_, "") << arguments;
  }
};

TEST_F(TrainCommands, KilledAtRandomMomentsItEndsWithTheSameSupernet) {
  ASSERT_EQ(hwnas(std::string("-q ") + kTiny + " --out whole"), 0) << errors_;
  Rng rng(3, "kills", 0);
  int caught = 0;
  for (int kill = 0; kill < 8; ++kill)
    caught += killed(std::string(kTiny) + " --out cut", std::chrono::milliseconds(150 + rng.below(1200)));
  EXPECT_GT(caught, 0);
  ASSERT_EQ(hwnas(std::string("-q ") + kTiny + " --out cut"), 0) << errors_;
  ASSERT_NE(bytes("whole/supernet.safetensors"), "");
  EXPECT_EQ(bytes("cut/supernet.safetensors"), bytes("whole/supernet.safetensors"));
}

TEST_F(TrainCommands, OneAndTwoAndFourProcessesTrainTheSameSupernet) {
  for (const std::string n : {"1", "2", "4"})
    ASSERT_EQ(hwnas("-q " + std::string(kTiny) + " --shards 4 --nproc " + n + " --out by" + n), 0) << errors_;
  ASSERT_NE(bytes("by1/supernet.safetensors"), "");
  EXPECT_EQ(bytes("by1/supernet.safetensors"), bytes("by2/supernet.safetensors"));
  EXPECT_EQ(bytes("by1/supernet.safetensors"), bytes("by4/supernet.safetensors"));
  expect_refused(std::string(kTiny) + " --shards 3 --nproc 2 --out odd", "3 shards");
}

TEST_F(TrainCommands, AskedToStopItEndsWithACheckpointAndExitCode75Or130AfterSigint) {
  const std::string command = std::string(kLong) + " --shards 2 --nproc 2 --out asked";
  EXPECT_EQ(signalled(command, SIGUSR1, "asked/checkpoints"), 75);
  EXPECT_EQ(hwnas("-q " + command + " --seed 9"), 2);  // what it left is a whole checkpoint
  EXPECT_THAT(errors_, HasSubstr("another run"));
  EXPECT_EQ(signalled(std::string(kLong) + " --out alone", SIGTERM, "alone/checkpoints"), 75);
  EXPECT_EQ(signalled(std::string(kLong) + " --out keyed", SIGINT, "keyed/checkpoints"), 130);
}

TEST_F(TrainCommands, ShardsAndRanksOfASweepMeasureWhatOneSweepDoes) {
  put("p/hwnas.json", "{}");
  ASSERT_EQ(hwnas_in("p", std::string(kTiny) + " --out runs/net"), 0) << errors_;
  for (const char* copy : {"1", "2", "3"})
    fs::copy(project_ / "p", project_ / copy, fs::copy_options::recursive);
  ASSERT_EQ(hwnas_in("p", "sweep --run runs/net --networks 20 --nproc 2"), 0) << errors_;
  std::multiset<std::string> parts, whole;
  const auto read = [&](const std::string& file, std::multiset<std::string>& rows) {
    std::ifstream lines(project_ / file);
    std::string line;
    for (std::getline(lines, line); std::getline(lines, line);) rows.insert(line);
  };
  read("p/accuracy.jsonl", whole);
  for (const std::string i : {"1", "2", "3"}) {
    ASSERT_EQ(hwnas_in(i, "sweep --run runs/net --networks 20 --shard " + i + "/3"), 0) << errors_;
    read(i + "/accuracy." + i + "-of-3.jsonl", parts);
  }
  EXPECT_EQ(whole.size(), 20u);
  EXPECT_EQ(parts, whole);
  // Merged, the store knows all of them: a sweep of the whole measures nothing.
  ASSERT_EQ(hwnas_in("1", "db merge ../2 ../3"), 0) << errors_;
  ASSERT_EQ(hwnas_in("1", "db check"), 0) << errors_;
  ASSERT_EQ(hwnas_in("1", "sweep --run runs/net --networks 20 -f json"), 0) << errors_;
  EXPECT_EQ(Json::parse(output_)["reused"], 20);
  EXPECT_EQ(bytes("1/accuracy.jsonl"), bytes("p/accuracy.jsonl"));
  ASSERT_EQ(hwnas_in("p", "evaluate smallest largest --run runs/net -f json"), 0) << errors_;
  const std::string alone = output_;
  ASSERT_EQ(hwnas_in("p", "evaluate smallest largest --run runs/net -f json --nproc 3"), 0) << errors_;
  EXPECT_EQ(output_, alone);
}

TEST_F(TrainCommands, AFullDiskOnOneRankEndsAllWithItsWordsAndTheLastCheckpointWhole) {
  const std::string command = std::string(kLong) + " --shards 2 --out full --compress topk:0.1";
  ASSERT_EQ(signalled(command + " --nproc 2", SIGUSR1, "full/checkpoints"), 75);
  // Rank 1 alone has no room: what it owes the others is larger than the limit.
  const std::string both = "export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29871; ";
  const std::string other = HWNAS_PROGRAM + std::string(" -q -C ") + project_.string() + " " + command +
                            " >" + (project_ / "rank0").string() + " 2>&1";
  const int code = hwnas("-q " + command, both + "(RANK=0 timeout 100 " + other +
                                              " &) ; export RANK=1; trap '' XFSZ; ulimit -f 64;");
  EXPECT_NE(code, 0);
  EXPECT_THAT(errors_, HasSubstr("owed-"));
  for (int i = 0; i < 600 && bytes("rank0").empty(); ++i) ::usleep(100'000);
  EXPECT_THAT(bytes("rank0"), HasSubstr("another rank is gone or too late"));
  EXPECT_EQ(hwnas("-q " + command + " --seed 9"), 2);  // what it left is a whole checkpoint
  EXPECT_THAT(errors_, HasSubstr("another run"));
}

TEST_F(TrainCommands, AnotherQuestionInTheSameFolderIsRefused) {
  ASSERT_EQ(hwnas(std::string("-q ") + kTiny + " --out run"), 0) << errors_;
  const std::string before = bytes("run/supernet.safetensors");
  ASSERT_NE(before, "");
  EXPECT_EQ(hwnas(std::string("-q ") + kTiny + " --seed 9 --out run"), 2) << errors_;
  EXPECT_THAT(errors_, HasSubstr("another run"));
  EXPECT_EQ(bytes("run/supernet.safetensors"), before);
}

TEST_F(TrainCommands, AFullDiskWhileWritingACheckpointNamesTheFileAndLeavesNoHalfOne) {
  // A limit on the size of a file stands for the full disk: writing beyond it fails in the same place.
  const int code = hwnas(std::string("-q ") + kTiny + " --out full", "trap '' XFSZ; ulimit -f 64;");
  EXPECT_NE(code, 0);
  EXPECT_NE(code, 124);
  EXPECT_THAT(errors_, HasSubstr("checkpoint-"));
  if (fs::exists(project_ / "full/checkpoints")) {
    EXPECT_TRUE(fs::is_empty(project_ / "full/checkpoints"));
  }
  ASSERT_EQ(hwnas(std::string("-q ") + kTiny + " --out full"), 0) << errors_;
}

TEST_F(TrainCommands, ALossThatIsNotFiniteEndsTheRunWithStepAndSubNetwork) {
  put("wild.json", R"({"name": "wild", "phases": [{"name": "train", "steps": 40, "sampling": "sandwich",
      "optimizer": {"learning_rate": 1000, "weight_decay": 1, "schedule": "constant"}}]})");
  EXPECT_EQ(
      hwnas("-q train --space tiny --data procedural:classes=4,count=200,side=16 --recipe wild.json --batch "
            "32 --out run"),
      1)
      << errors_;
  EXPECT_THAT(errors_, HasSubstr("step "));
  EXPECT_THAT(errors_, HasSubstr("sub-network"));
  EXPECT_THAT(errors_, HasSubstr("last good checkpoint"));
}

TEST_F(TrainCommands, PicturesThatCannotBeUsedAreNamed) {
  pictures("photos", 2, 12);
  expect_refused("train --space tiny --data nowhere --out r", "nowhere: error: no such file or folder");
  fs::create_directories(project_ / "nothing");
  expect_refused("train --space tiny --data nothing --out r", "not a data set");
  pictures("alone", 1, 12);
  expect_refused("train --space tiny --data alone --out r", "only one class ('class0')");
  pictures("few", 2, 1);
  expect_refused("train --space tiny --data few --out r", "class 'class0' has 1 picture");
  pictures("hole", 2, 12);
  fs::create_directories(project_ / "hole/none");
  expect_refused("train --space tiny --data hole --out r", "class 'none' is empty");
  put("photos/class1/broken.jpg", "\xFF\xD8\xFF\xE0 and no more");
  put("photos/class1/zero.png", "");
  expect_refused("train --space tiny --data photos --out r", "class1/broken.jpg: broken JPEG");
  EXPECT_THAT(errors_, HasSubstr("class1/zero.png: an empty file (0 bytes)"));
  EXPECT_THAT(errors_, HasSubstr("--skip-bad"));
  EXPECT_FALSE(fs::exists(project_ / "r"));
  EXPECT_EQ(hwnas("-q train --space tiny --data photos --skip-bad --length 0.05 --batch 4 --out r"), 0)
      << errors_;
}

TEST_F(TrainCommands, InspectSaysWhatWasFoundAndSplitDividesItTheSameWayEachTime) {
  pictures("photos", 3, 20);
  ASSERT_EQ(hwnas("-f json data inspect photos"), 0) << errors_;
  EXPECT_THAT(output_, HasSubstr("ImageFolder tree: 3 classes, 60 files, 60 PNG"));
  put("photos/class2/zero.png", "");
  EXPECT_EQ(hwnas("data inspect photos"), 6);
  EXPECT_THAT(output_, HasSubstr("class2/zero.png"));
  fs::remove(project_ / "photos/class2/zero.png");
  ASSERT_EQ(hwnas("-q data split photos --seed 7 --out a.json"), 0) << errors_;
  ASSERT_EQ(hwnas("-q data split photos --seed 7 --out b.json"), 0) << errors_;
  ASSERT_EQ(hwnas("-q data split photos --seed 8 --out c.json"), 0) << errors_;
  ASSERT_NE(bytes("a.json"), "");
  EXPECT_EQ(bytes("a.json"), bytes("b.json"));
  EXPECT_NE(bytes("a.json"), bytes("c.json"));
}

TEST_F(TrainCommands, MistakesInTheCommandEndInOneLine) {
  expect_refused("train --space tinny --data procedural: --out r", "tiny");
  expect_refused("train --space tiny --data procedural: --recipe sandwhich --out r", "sandwich");
  expect_refused("train --space tiny --data procedural:clases=3 --out r", "classes");
  expect_refused("train --space tiny --data procedural: --batch 1 --out r", "--batch");
  put("run.json", "{\n  \"space\": \"tiny\",\n  \"dta\": \"procedural:\"\n}");
  expect_refused("train run.json", "run.json:3:3");
  expect_refused("evaluate smallest --run nowhere", "nowhere");
}

TEST_F(TrainCommands, EvaluateKnowsNetworksByNameGenotypeAndFile) {
  ASSERT_EQ(hwnas(std::string("-q ") + kTiny + " --out run"), 0) << errors_;
  ASSERT_EQ(hwnas("-q -f json evaluate smallest largest --run run --split test"), 0) << errors_;
  const Json scores = Json::parse(output_);
  ASSERT_EQ(scores.size(), 2U);
  EXPECT_GT(scores[1]["top1"].get<double>(), 0.25);
  ASSERT_EQ(hwnas("-q evaluate smallest --run run --extract small.safetensors"), 0) << errors_;
  ASSERT_EQ(hwnas("-q -f json evaluate small.safetensors --run run --split test"), 0) << errors_;
  EXPECT_NEAR(Json::parse(output_)[0]["top1"].get<double>(), scores[0]["top1"].get<double>(), 1e-9);
  std::string damaged = bytes("small.safetensors");
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  put("damaged.safetensors", damaged);
  EXPECT_NE(hwnas("-q evaluate damaged.safetensors --run run"), 0);
  EXPECT_THAT(errors_, HasSubstr("damaged.safetensors"));
}

}  // namespace
}  // namespace nas::apps
