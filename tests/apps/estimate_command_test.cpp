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
#include "space/base/file.h"
#include "space/search_space.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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
