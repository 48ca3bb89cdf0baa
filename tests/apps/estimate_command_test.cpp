// `hwnas estimate` as users run it: which session a device's name finds, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "devices/profile.h"
#include "latency/measure/kernel_set.h"
#include "latency/measure/session.h"
#include "results/catalog.h"
#include "results/measurements.h"
#include "results/runs.h"
#include "space/base/file.h"
#include "space/base/rng.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

results::Timing steady_time(double value) {
  return {.n = 1, .median = value, .mean = value, .p05 = value, .p90 = value, .least = value};
}
class EstimateCommand : public testing::Test {
 protected:
  void SetUp() override {
    project_ = fs::temp_directory_path() / ("hwnas-estimate-" + std::to_string(::getpid()));
    fs::create_directories(project_ / "sessions");
    keep("old", "2026-01-01T00:00:00Z", 1);
    keep("new", "2026-02-01T00:00:00Z", 2);
  }
  void TearDown() override { fs::remove_all(project_); }

  // Every kernel of the space in as many instructions as it has elements, times `slower`.
  void keep(const std::string& name, const std::string& started, double slower) const {
    const auto device = devices::load_profile("cortex-m4-qemu");
    ASSERT_TRUE(device);
    std::string text = latency::to_line(latency::SessionInfo{name, device->name, device->fingerprint, "c",
                                                             "int8", "instructions", "tiny", started});
    for (const Kernel& k : latency::reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels) {
      latency::KernelRecord r;
      r.signature = signature(k);
      r.n = r.visits = 1;
      r.median = r.low = r.high = slower * static_cast<double>(k.anchor.out.elements());
      text += latency::to_line(r);
    }
    ASSERT_TRUE(write_file(project_ / "sessions" / (name + ".jsonl"), text));
  }
  // The same numbers in the project's store only, and `networks` random networks at 1.1 times their kernels'
  // sum.
  void keep_in_store(const std::string& uid, std::size_t networks) const {
    const auto profile = devices::load_profile("cortex-m4-qemu");
    const SearchSpace space = *load_space("tiny");
    auto store = results::Store::open(project_);
    ASSERT_TRUE(store) << to_string(store.error());
    const auto device = results::keep(*store, results::Device{.name = profile->name});
    results::Session session;
    session.uid = uid;
    session.device_id = *device;
    session.unit = "instructions";
    session.info =
        R"({"precision": "int8", "engine": "c", "space": "tiny", "started": "2026-03-01T00:00:00Z",)"
        R"( "context": {}, "profile": ")" +
        profile->fingerprint + "\"}";
    const auto id = results::open_session(*store, session);
    ASSERT_TRUE(id) << to_string(id.error());
    std::vector<results::KernelTime> kernels;
    const auto of = [](const Kernel& k) { return static_cast<double>(k.anchor.out.elements()); };
    for (const Kernel& k : latency::reachable_kernels(space, {}, {8, 8}).kernels) {
      kernels.push_back({.session_id = *id, .signature = signature(k), .time = steady_time(of(k))});
    }
    ASSERT_TRUE(results::add_kernel_times(*store, kernels));
    const auto space_id = results::keep(*store, results::Space{.name = space.name(), .json = space.json()});
    std::vector<results::NetworkTime> times;
    for (std::size_t i = 0; i < networks; ++i) {
      Rng rng(3, "stored networks", i);
      const Genotype g = space.sample(rng);
      const auto arch = results::keep_architectures(
          *store, std::vector<results::Architecture>{{.space_id = *space_id,
                                                      .hash = space.hash(g),
                                                      .genes = results::Bytes8(g.begin(), g.end()),
                                                      .text = space.text(g)}});
      double sum = 0;
      for (const Kernel& k : latency::kernels_of(std::vector{space.lower(g)}, {}, {8, 8}).kernels)
        sum += of(k);
      times.push_back(
          {.session_id = *id, .arch_id = arch->front(), .precision = "int8", .time = steady_time(1.1 * sum)});
    }
    ASSERT_TRUE(results::add_network_times(*store, times));
    ASSERT_TRUE(results::close_session(*store, *id, "done"));
  }
  // What the program says on both streams.
  std::string run(const std::string& arguments) const {
    const std::string command =
        std::string(HWNAS_PROGRAM) + " -C " + project_.string() + " " + arguments + " 2>&1";
    FILE* pipe = ::popen(command.c_str(), "r");
    std::string out;
    for (int c; (c = ::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    ::pclose(pipe);
    return out;
  }
  fs::path project_;
};

TEST_F(EstimateCommand, TakesTheNewestSessionOfTheDeviceAndSaysWhich) {
  const std::string out = run("estimate largest --space tiny --device cortex-m4-qemu");
  EXPECT_THAT(out, HasSubstr("session new: cortex-m4-qemu, int8, measured 2026-02-01"));
  EXPECT_THAT(run("-q estimate largest --space tiny --device cortex-m4-qemu --all"),
              HasSubstr("peak memory"));
}

TEST_F(EstimateCommand, RefusesTablesOfAnotherDeviceOrPrecisionInOneLine) {
  EXPECT_THAT(run("estimate largest --space tiny --device host"),
              HasSubstr("no session of host (there are sessions of cortex-m4-qemu)"));
  EXPECT_THAT(run("estimate largest --space tiny --session old --device host"),
              HasSubstr("required host, found cortex-m4-qemu"));
  EXPECT_THAT(run("estimate largest --space tiny --session old --precision fp32"),
              HasSubstr("required fp32, found int8"));
  EXPECT_THAT(run("estimate largest --space mcunet --session old"), HasSubstr("does not cover"));
  EXPECT_THAT(run("estimate largest --space tiny"), HasSubstr("--session, or a device with --device"));
}

TEST_F(EstimateCommand, ASessionOfTheStoreServesAsOneOfAFile) {
  fs::remove_all(project_ / "sessions");
  keep_in_store("s-17", 12);
  EXPECT_THAT(
      run("estimate largest --space tiny --device cortex-m4-qemu"),
      HasSubstr("session cortex-m4-qemu-int8-tiny (from the store): cortex-m4-qemu, int8, measured 2026-03"));
  const std::string by_name = run("estimate largest --space tiny --session cortex-m4-qemu-int8-tiny -f json");
  EXPECT_THAT(by_name, HasSubstr("\"by\""));
  EXPECT_EQ(run("estimate largest --space tiny --session s-17 -f json"), by_name);
  EXPECT_THAT(run("predict eval --space tiny --session s-17"), HasSubstr("sum of kernels"));
  EXPECT_THAT(run("predict fit --space tiny --session s-17"), HasSubstr("factor"));
  EXPECT_THAT(run("estimate largest --space tiny --session s-17"), HasSubstr("on 12 networks"));
  EXPECT_THAT(run("predict explain largest --space tiny --session s-17"), HasSubstr("between kernels"));
  EXPECT_THAT(run("table show s-17"), HasSubstr("conv"));
  EXPECT_THAT(
      run("estimate largest --space tiny --session s-18"),
      HasSubstr(
          "no session 's-18': neither a file, nor in this project, which has cortex-m4-qemu-int8-tiny"));
}

TEST_F(EstimateCommand, RefusesACalibrationThatWasChanged) {
  fs::remove_all(project_ / "sessions");
  keep_in_store("s-17", 12);
  run("predict fit --space tiny --session s-17");
  const fs::path file = project_ / "sessions/cortex-m4-qemu-int8-tiny.calibration";
  auto text = read_file(file, 1 << 20);
  ASSERT_TRUE(text);
  (*text)[text->size() / 2] ^= 1;
  ASSERT_TRUE(write_file(file, *text));
  EXPECT_THAT(run("estimate largest --space tiny --session s-17"),
              HasSubstr(".calibration: error: model file's checksum does not match"));
}

TEST_F(EstimateCommand, RefusesAModelFileThatWasChanged) {
  EXPECT_THAT(run("predict kernels --space tiny --session old --out k.model"), HasSubstr("pointwise conv"));
  auto text = read_file(project_ / "k.model", 1 << 28);
  ASSERT_TRUE(text) << "predict kernels --out writes the file in the project";
  EXPECT_THAT(run("estimate largest --space tiny --session old --model k.model"), HasSubstr("kernels"));
  (*text)[text->size() / 2] ^= 1;
  ASSERT_TRUE(write_file(project_ / "k.model", *text));
  EXPECT_THAT(run("estimate largest --space tiny --session old --model k.model"),
              HasSubstr("k.model: error: model file's checksum does not match"));
}

}  // namespace
}  // namespace nas::apps
