#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "devices/profile.h"
#include "latency/measure/kernel_set.h"
#include "latency/measure/session.h"
#include "space/cost.h"
#include "space/search_space.h"
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
  // Of those that this process may use.
  static int first_core() {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    EXPECT_EQ(sched_getaffinity(0, sizeof cores, &cores), 0);
    int core = 0;
    while (!CPU_ISSET(core, &cores)) ++core;
    return core;
  }
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
  const std::string search =
      "-f json compress middle --run net --prune l1:search --evaluations 12 --under macs=500k --images 50 "
      "--score-images 16 --calibration mse --out ";
  ASSERT_EQ(hwnas(search + "pruned"), 0) << errors_;
  const Json record = Json::parse(bytes("pruned/compression.json"));
  EXPECT_LE(record["ratio_search"]["loss"].get<double>(),
            record["ratio_search"]["loss_uniform"].get<double>());
  EXPECT_LT(record["ratio_search"]["loss"].get<double>(), 10);  // a measured one
  EXPECT_EQ(record["ratio_search"]["evaluations"].get<int>(), 12);
  ASSERT_EQ(hwnas(search + "again", "taskset -c " + std::to_string(first_core())), 0) << errors_;
  const Json again = Json::parse(bytes("again/compression.json"));
  EXPECT_EQ(again["ratio_search"], record["ratio_search"]) << "another number of threads";
  EXPECT_EQ(again["prune"], record["prune"]);
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

TEST_F(Compress, PrunesAndProjectsInRoundsAndTrainsTernaryScales) {
  train();
  const std::string common = " --run net --images 50 --score-images 16 --calibration mse ";
  const auto macs_of = [&](const std::string& options) {
    EXPECT_EQ(hwnas("-f json compress middle" + common + options), 0) << options << errors_;
    return stages().back()["macs"].get<double>();
  };
  // Three rounds end at the counts that one takes.
  const double once = macs_of("--prune taylor:0.4 --finetune 0.2 --out once");
  EXPECT_EQ(macs_of("--prune taylor:0.4 --finetune 0.3 --rounds 3 --out rounds"), once);
  EXPECT_EQ(Json::parse(bytes("rounds/compression.json"))["prune"]["rounds"], 3);
  EXPECT_NE(bytes("rounds/network.safetensors"), bytes("once/network.safetensors"));

  ASSERT_EQ(hwnas("-f json compress middle" + common + "--rank 0.4 --finetune 0.2 --rounds 2 --out thin"), 0)
      << errors_;
  EXPECT_LT(stages().back()["macs"], stages().front()["macs"]);
  EXPECT_FALSE(Json::parse(bytes("thin/compression.json"))["rank"]["layers"].empty());

  ASSERT_EQ(hwnas("-f json compress middle" + common + "--codes ternary --finetune 0.3 --out ternary"), 0)
      << errors_;
  const Json codes = Json::parse(bytes("ternary/compression.json"))["codes"];
  EXPECT_GT(codes["trained_steps"].get<int>(), 0);
  EXPECT_LT(codes["fixed_bytes"].get<double>(), codes["float_bytes"].get<double>() / 4);
  for (const char* folder : {"rounds", "thin", "ternary"}) {
    const std::string name = folder;
    ASSERT_EQ(hwnas("-f json export " + name + " --run net --test-images 20 --to c --out out-" + name), 0)
        << errors_;
    ASSERT_EQ(hwnas("-f json verify out-" + name), 0) << name << errors_ << output_;
  }
}

TEST_F(Compress, MixesBitsUnderTimeAndFlashWhereTheSessionKnowsTheirKernels) {
  train();
  const auto device = devices::load_profile("cortex-m4-qemu");
  ASSERT_TRUE(device);
  const SearchSpace space = *load_space("tiny", {.classes = 4, .resolutions = {16, 20, 24}});
  // Fewer bits take more instructions: the less, the more.
  const auto session = [&](const std::string& name, const std::vector<int>& bits) {
    std::string text =
        latency::to_line(latency::SessionInfo{name, device->name, device->fingerprint, "c", "int8",
                                              "instructions", "tiny", "2026-01-01T00:00:00Z"});
    std::set<std::string> known;
    for (const int b : bits) {
      Network network = space.lower(space.smallest());
      for (Layer& l : network.layers) l.weight_bits = static_cast<std::uint8_t>(b);
      for (const Kernel& k : kernels(latency::with_precision(network, {8, 8}), device->fusion)) {
        if (!known.insert(signature(k)).second) continue;
        latency::KernelRecord r;
        r.signature = signature(k);
        r.n = r.visits = 1;
        r.median = r.low = r.high = 100 + static_cast<double>(macs(k.anchor).count()) * (1.8 - 0.1 * b);
        text += latency::to_line(r);
      }
    }
    ASSERT_TRUE(write_file(project_ / (name + ".jsonl"), text));
  };
  session("all", {8, 4, 2});
  session("some", {8, 4});
  const std::string common =
      "-f json compress smallest --run net --images 20 --score-images 8 --calibration min_max ";
  ASSERT_EQ(hwnas(common + "--session all.jsonl --out eight"), 0) << errors_;
  const double time = stages().back()["latency"], flash = stages().back()["flash"];
  const auto number = [](double v) { return std::to_string(v); };
  ASSERT_EQ(hwnas(common + "--session all.jsonl --bits mixed --under flash=" + number(0.6 * flash) +
                  " --out flash"),
            0)
      << errors_;
  const double slow = stages().back()["latency"];
  EXPECT_GT(slow, time);
  const double limit = (slow + 3 * time) / 4;
  ASSERT_EQ(hwnas(common + "--session all.jsonl --bits mixed --under flash=" + number(0.8 * flash) +
                  ",latency=" + number(limit) + " --out both"),
            0)
      << errors_;
  EXPECT_LE(stages().back()["latency"].get<double>(), limit);
  EXPECT_LE(stages().back()["flash"].get<double>(), 0.8 * flash);
  EXPECT_EQ(hwnas(common + "--session all.jsonl --bits mixed --under flash=" + number(0.7 * flash) +
                  ",latency=" + number(time) + " --out none"),
            3);
  EXPECT_THAT(errors_, HasSubstr("together with the limit on flash"));
  EXPECT_EQ(hwnas(common + "--session some.jsonl --bits mixed --under latency=1 --out none"), 2);
  EXPECT_THAT(errors_, HasSubstr("with weights of 2 bits: no "));
  EXPECT_FALSE(fs::exists(project_ / "none"));
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
  refused("--bits mixed --under flash=1k", 3, "flash of the weights must be at most 1024 bytes");
  refused("--bits mixed --under energy=0.001", 3, "modelled energy must be at most 0.001 microjoules");
  refused("--under energy=1 --energy nowhere", 2, "nowhere");
  refused("--prune l1:uniform --under macs=1k", 3,
          "no uniform ratio holds the limit: macs must be at most 1000");
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
