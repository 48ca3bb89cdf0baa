#include "latency/measure/profiler.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "devices/process.h"
#include "latency/measure/kernel_set.h"

namespace nas::latency {
namespace {

namespace fs = std::filesystem;

class Profiler : public ::testing::Test {
 protected:
  void SetUp() override {
    cache_ = fs::temp_directory_path() / ("hwnas-profiler-" + std::to_string(::getpid()));
  }
  void TearDown() override { fs::remove_all(cache_); }

  std::vector<Kernel> some_kernels(std::uint8_t bits, std::size_t count) const {
    const auto space = load_space("cifar-mbv3");
    return space_filling(reachable_kernels(*space, {}, {bits, bits}, {.random_networks = 1}).kernels, count);
  }
  std::map<std::string, KernelRecord> profile(const std::string& device, const std::string& precision,
                                              std::span<const Kernel> kernels) const {
    const auto loaded = devices::load_profile(device);
    ProfileOptions options;
    options.cache = cache_;
    options.precision = precision;
    options.measure.max_secs = 0.2;
    auto info = describe_session(*loaded, options);
    EXPECT_TRUE(info) << to_string(info.error());
    std::map<std::string, KernelRecord> records;
    ProfileHooks hooks;
    hooks.done = [&](const KernelRecord& r) -> Result<void> {
      records[r.signature] = r;
      return {};
    };
    const auto done = profile_kernels(*loaded, kernels, options, *info, hooks);
    EXPECT_TRUE(done) << to_string(done.error());
    return records;
  }
  fs::path cache_;
};

TEST_F(Profiler, TwoEmulatedSessionsAgreeToTheInstruction) {
  if (!devices::find_program("qemu-system-arm") || !devices::find_program("arm-none-eabi-gcc"))
    GTEST_SKIP() << "needs qemu-system-arm and arm-none-eabi-gcc";
  const auto kernels = some_kernels(8, 10);
  const auto first = profile("cortex-m4-qemu", "int8", kernels);
  const auto second = profile("cortex-m4-qemu", "int8", kernels);
  ASSERT_EQ(first.size(), kernels.size());
  for (const auto& [signature, record] : first) {
    EXPECT_EQ(record.failure, "") << signature;
    EXPECT_EQ(record.median, second.at(signature).median) << signature;
    EXPECT_GT(record.median, 0);
    double classes = 0;
    for (const auto& [name, count] : record.classes) classes += static_cast<double>(count);
    EXPECT_EQ(classes, record.median) << signature;
  }
}

TEST_F(Profiler, WhatDoesNotFitABoardIsAFailureWithTheFigures) {
  if (!devices::find_program("qemu-system-arm") || !devices::find_program("arm-none-eabi-gcc"))
    GTEST_SKIP() << "needs qemu-system-arm and arm-none-eabi-gcc";
  const auto big = parse_signature("conv k1 s1 p0 g1 64x64x64->64x64x64 w8a8 i8");
  const auto small = parse_signature("conv k1 s1 p0 g1 8x4x4->8x4x4 w8a8 i8");
  ASSERT_TRUE(big) << to_string(big.error());
  const auto records = profile("netduinoplus2-qemu", "int8", std::vector{*big, *small});
  EXPECT_NE(records.at(signature(*big)).failure.find("bytes of RAM, netduinoplus2-qemu has 196608"),
            std::string::npos)
      << records.at(signature(*big)).failure;
  EXPECT_EQ(records.at(signature(*small)).failure, "");
}

TEST_F(Profiler, TheHostMeasuresEachKernelAndSaysWhatItHasNoCodeFor) {
  auto kernels = some_kernels(32, 6);
  Kernel attention = kernels[0];
  attention.anchor.kind = LayerKind::attention;
  attention.anchor.heads = 4;
  kernels.push_back(attention);
  const auto records = profile("host", "fp32", kernels);
  ASSERT_EQ(records.size(), kernels.size());
  for (const auto& [signature, record] : records) {
    if (signature.starts_with("attention")) {
      EXPECT_NE(record.failure.find("has no code"), std::string::npos);
      continue;
    }
    EXPECT_EQ(record.failure, "");
    EXPECT_GT(record.median, 1);
    EXPECT_LE(record.low, record.median);
    EXPECT_GE(record.high, record.median);
    EXPECT_GE(record.n, 20u);
  }
}

}  // namespace
}  // namespace nas::latency
