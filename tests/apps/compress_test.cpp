#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"

// hwnas compress as users meet it: a small supernet, trained for a moment, pruned and rounded, exported,
// verified.
namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;

class Compress : public ProgramTest {
 protected:
  void train(const std::string& length = "0.03") {
    ASSERT_EQ(
        hwnas("-q train --space tiny --data procedural:classes=4,count=400,side=24,difficulty=0.05 --recipe "
              "sandwich --length " +
              length + " --batch 64 --out net"),
        0)
        << errors_;
  }
  Json stages() { return Json::parse(output_); }
};

TEST_F(Compress, AnExportedCompressedNetworkIsTheSameEverywhereAndAsSmallAsTheCostModelSays) {
  train();
  ASSERT_EQ(
      hwnas("-f json compress largest --run net --prune taylor:auto --under macs=900k --rank 0.4 --bits "
            "stage1=8,stage2=4,stage3=2,classifier=4 --images 100 --score-images 16 --calibration mse --out "
            "small"),
      0)
      << errors_;
  const Json rows = stages();
  EXPECT_LE(rows.back()["macs"].get<double>(), 900e3);
  EXPECT_LT(rows.back()["flash"].get<double>(), rows.front()["flash"].get<double>());
  const std::string integers = bytes("small/network.integers");
  std::uint64_t header = 0;
  std::memcpy(&header, integers.data(), 8);
  EXPECT_EQ(integers.size() - 8 - header, rows.back()["flash"].get<std::uint64_t>());

  ASSERT_EQ(hwnas("-f json export small --run net --test-images 40 --device cortex-m4-qemu --out out"), 0)
      << errors_;
  const Json manifest = Json::parse(bytes("out/manifest.json"));
  EXPECT_EQ(manifest["provenance"]["compression"]["prune"]["request"], "taylor:auto");
  EXPECT_EQ(manifest["metrics"]["macs"]["value"], rows.back()["macs"]);
  ASSERT_EQ(hwnas("-f json verify out"), 0) << errors_ << output_;
  for (const Json& row : Json::parse(output_))
    EXPECT_THAT(row["state"].get<std::string>(), AnyOf("equal", "not run")) << row.dump();
  EXPECT_EQ(hwnas("export small --run net --qat 1 --out other"), 2);
  EXPECT_THAT(errors_, HasSubstr("is compressed already"));
}

TEST_F(Compress, TrainsInFewBitsSearchesRatiosAndGoesOnFromWhatItLeft) {
  train();
  ASSERT_EQ(hwnas("-f json compress middle --run net --prune l1:search --evaluations 12 --under macs=500k "
                  "--images 50 "
                  "--score-images 16 --calibration mse --out pruned"),
            0)
      << errors_;
  const Json record = Json::parse(bytes("pruned/compression.json"));
  EXPECT_LE(record["ratio_search"]["loss"].get<double>(),
            record["ratio_search"]["loss_uniform"].get<double>());
  ASSERT_EQ(
      hwnas(
          "-f json compress pruned --run net --bits 4 --qat 0.3 --finetune 0.2 --images 50 --calibration mse "
          "--out both"),
      0)
      << errors_;
  EXPECT_EQ(stages().back()["macs"], record["stages"].back()["macs"]);
  ASSERT_EQ(hwnas("-f json compress pruned --run net --mask 2:4 --codes shared:16 --images 50 --calibration "
                  "mse --out "
                  "coded"),
            0)
      << errors_;
  const Json coded = Json::parse(bytes("coded/compression.json"));
  EXPECT_LT(coded["codes"]["huffman_bytes"].get<double>(), coded["codes"]["float_bytes"].get<double>() / 4);
  EXPECT_LT(coded["mask"]["masked_bytes"].get<double>(), coded["mask"]["dense_bytes"].get<double>());
  ASSERT_EQ(hwnas("-f json export both --run net --test-images 40 --to c,onnx-int8 --out out"), 0) << errors_;
  ASSERT_EQ(hwnas("-f json verify out"), 0) << errors_ << output_;
}

TEST_F(Compress, SaysInOneLineWhatIsWrong) {
  train();
  const auto refused = [&](const std::string& options, int code, const char* why) {
    EXPECT_EQ(hwnas("compress middle --run net --images 20 --score-images 8 --calibration min_max --out x " +
                    options),
              code)
        << options << errors_;
    EXPECT_THAT(errors_, HasSubstr(why)) << options;
    EXPECT_EQ(std::count(errors_.begin(), errors_.end(), '\n'), 1) << errors_;
    EXPECT_FALSE(fs::exists(project_ / "x"));
  };
  refused("--prune l1:1.0", 2, "the ratio must be in [0, 1)");
  refused("--prune l1:0.99", 2, "must keep at least 1 of its");
  refused("--prune magic:0.5", 2, "an importance must be l1, bn, apoz, taylor or second");
  refused("--prune taylor:auto", 2, "need a limit");
  refused("--prune l1:auto --under macs=1k", 3, "cannot reach");
  refused("--bits 3", 2, "engine c has kernels for 8, 4 and 2 bits");
  refused("--bits stage9=4", 2, "stage9");
  refused("--activation-bits 5", 2, "activations of 5 bits");
  refused("--bits mixed", 2, "--under flash");
  refused("--bits mixed --under flash=1k", 3, "at the fewest bits");
  refused("--bits 4 --under flash=2k", 3, "too many");
  refused("--rank 1.5", 2, "--rank");
  refused("--mask 4:4", 2, "a mask must be");
  refused("--codes shared:1", 2, "--codes");
  refused("--under speed=4", 2, "--under");
  refused("--under latency=4", 2, "--session or --device");
  fs::remove_all(project_ / "net");
  train("0.0001");  // no step at all
  std::string untrained = bytes("net/metrics.jsonl");
  EXPECT_EQ(hwnas("compress middle --run nowhere --out x"), 2) << errors_;
}

}  // namespace
}  // namespace nas::apps
