#include "latency/measure/design.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "latency/measure/energy.h"
#include "latency/measure/kernel_set.h"
#include "latency/table.h"
#include "latency/table_import.h"
#include "space/base/file.h"
#include "space/base/rng.h"

namespace nas::latency {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// ---- which kernels to measure ----

// A made-up device with a bend that no smooth model knows: depthwise kernels of many channels are slow.
double law(const Kernel& kernel) {
  const Layer& l = kernel.anchor;
  const double time =
      500 + 0.8 * static_cast<double>(macs(l).count()) + 2.5 * static_cast<double>(l.out.elements());
  return is_depthwise(l) && l.in.channels > 60 ? 3 * time : time;
}

void measure(const std::vector<Kernel>& kernels, Session& session) {
  for (const Kernel& kernel : kernels) {
    KernelRecord r;
    r.signature = signature(kernel);
    r.n = r.visits = 5;
    r.median = law(kernel);
    r.low = 0.99 * r.median;
    r.high = 1.01 * r.median;
    r.steady = true;
    session.kernels.push_back(r);
  }
}

Session empty_session() { return {{"s", "device", "p", "c", "int8", "ns", "tiny", ""}, {}}; }

// Mean absolute error of what a table says of all kernels, unknown ones counted as wholly wrong.
double error_of(const Session& session, const std::vector<Kernel>& all) {
  const auto table = LatencyTable::make(session);
  double sum = 0;
  for (const Kernel& kernel : all) {
    const auto guess = table->estimate(kernel);
    sum += guess ? std::abs(guess->value / law(kernel) - 1) : 1;
  }
  return sum / static_cast<double>(all.size());
}

TEST(Design, RefiningGoesWhereTheTableIsUnsureAndStopsAtTheBudget) {
  const std::vector<Kernel> all = reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels;
  const std::size_t budget = all.size() / 2;
  Session session = empty_session();
  measure(space_filling(all, budget / 2), session);
  const Coverage before = coverage_of(all, session, 0.1);
  EXPECT_EQ(before.measured, session.kernels.size());
  EXPECT_EQ(before.measured + before.sure + before.unsure + before.unknown, all.size());
  while (session.kernels.size() < budget) {
    const auto found =
        next_kernels(all, session, std::min<std::size_t>(8, budget - session.kernels.size()), 0.1);
    ASSERT_TRUE(found) << to_string(found.error());
    const std::vector<Kernel>& next = *found;
    if (next.empty()) break;
    std::set<std::string> known;
    for (const KernelRecord& r : session.kernels) known.insert(r.signature);
    for (const Kernel& kernel : next) EXPECT_TRUE(known.insert(signature(kernel)).second);
    measure(next, session);
  }
  const Coverage after = coverage_of(all, session, 0.1);
  EXPECT_LE(after.measured, budget);
  EXPECT_LT(after.unsure + after.unknown, before.unsure + before.unknown);
  Session plain = empty_session();
  measure(space_filling(all, session.kernels.size()), plain);
  EXPECT_LE(error_of(session, all), error_of(plain, all));
}

TEST(Design, NothingIsLeftWhenEveryKernelIsMeasured) {
  const std::vector<Kernel> all = reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels;
  Session session = empty_session();
  measure(all, session);
  EXPECT_TRUE(next_kernels(all, session, 10, 0.01)->empty());
  EXPECT_EQ(coverage_of(all, session, 0.01).measured, all.size());
}

TEST(Design, AKernelThatFailedIsNotAskedForAgain) {
  const std::vector<Kernel> all = reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels;
  Session session = empty_session();
  measure({all.begin() + 1, all.end()}, session);
  KernelRecord failed;
  failed.signature = signature(all[0]);
  failed.failure = "crashed";
  session.kernels.push_back(failed);
  EXPECT_TRUE(next_kernels(all, session, 10, 10)->empty());
}

// ---- tables that others made ----

TEST(TableImport, ExportAndImportGiveTheSameNumbers) {
  Session session = empty_session();
  measure(reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels, session);
  session.kernels[3].steady = false;
  KernelRecord failed;
  failed.signature = "conv \"quoted\", with a comma";
  failed.failure = "does not fit: 3, \"4\"";
  session.kernels.push_back(failed);
  const auto back = read_table_csv(to_csv(session), "t.csv");
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(back->info.device, "device");
  EXPECT_EQ(back->info.precision, "int8");
  ASSERT_EQ(back->kernels.size(), session.kernels.size());
  for (std::size_t i = 0; i < session.kernels.size(); ++i) {
    EXPECT_EQ(back->kernels[i].signature, session.kernels[i].signature);
    EXPECT_EQ(back->kernels[i].median, session.kernels[i].median);
    EXPECT_EQ(back->kernels[i].low, session.kernels[i].low);
    EXPECT_EQ(back->kernels[i].high, session.kernels[i].high);
    EXPECT_EQ(back->kernels[i].n, session.kernels[i].n);
    EXPECT_EQ(back->kernels[i].steady, session.kernels[i].steady);
    EXPECT_EQ(back->kernels[i].failure, session.kernels[i].failure);
  }
}

TEST(TableImport, AColumnOfMillisecondsIsEnough) {
  const auto session = read_table_csv("signature,ms\nconv a,2.5\nconv b,1\n", "t.csv");
  ASSERT_TRUE(session) << to_string(session.error());
  EXPECT_DOUBLE_EQ(session->kernels[0].median, 2.5e6);
  EXPECT_THAT(to_string(read_table_csv("signature,ms\na,0\n", "t.csv").error()), HasSubstr("t.csv:2"));
  EXPECT_THAT(read_table_csv("signature,ms\na,fast\n", "t.csv").error().message, HasSubstr("fast"));
  EXPECT_FALSE(read_table_csv("name,ms\na,1\n", "t.csv"));
  EXPECT_FALSE(read_table_csv("signature,n\na,1\n", "t.csv"));
  EXPECT_THAT(read_table_csv("signature,ms\na,1\na,2\n", "t").error().message, HasSubstr("two of a"));
  EXPECT_THAT(read_table_csv("signature,unit,median\na,miles,1\n", "t").error().message, HasSubstr("miles"));
  EXPECT_THAT(read_table_csv("device,signature,ms\nx,a,1\ny,b,1\n", "t").error().message,
              HasSubstr("one device"));
}

TEST(TableImport, MutatedTablesAreReadOrRefusedNeverWorse) {
  Session session = empty_session();
  const auto all = reachable_kernels(*load_space("tiny"), {}, {8, 8}).kernels;
  measure({all.begin(), all.begin() + 5}, session);
  const std::string sound = to_csv(session);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Rng rng(7, "table fuzz", i);
    std::string text = sound;
    for (std::uint64_t edits = 1 + rng.below(6); edits > 0; --edits) {
      const std::size_t at = rng.below(text.size());
      if (rng.below(3) == 0)
        text.erase(at, 1 + rng.below(5));
      else if (rng.below(2) == 0)
        text[at] = static_cast<char>(rng.below(256));
      else
        text.insert(at, text.substr(rng.below(text.size()), rng.below(20)));
      if (text.empty()) text = "x";
    }
    const auto read = read_table_csv(text, "t");
    if (!read) {
      EXPECT_FALSE(read.error().message.empty());
      continue;
    }
    for (const KernelRecord& r : read->kernels) {
      EXPECT_FALSE(r.signature.empty());
      if (r.failure.empty()) {
        EXPECT_GT(r.median, 0);
        EXPECT_TRUE(std::isfinite(r.median));
      }
    }
  }
}

// ---- energy ----

class Rapl : public testing::Test {
 protected:
  void SetUp() override { show(0); }
  void TearDown() override { fs::remove_all(folder_); }
  void show(double joules) {
    const auto count = static_cast<std::uint64_t>(joules * 1e6) % kRange;
    ASSERT_TRUE(write_file(folder_ / "intel-rapl:0/energy_uj", std::to_string(count) + "\n"));
    ASSERT_TRUE(write_file(folder_ / "intel-rapl:0/max_energy_range_uj", std::to_string(kRange) + "\n"));
    ASSERT_TRUE(write_file(folder_ / "intel-rapl:0:0/energy_uj", "5\n"));  // a core: inside the package
  }
  static constexpr std::uint64_t kRange = 50'000'000;
  fs::path folder_ = fs::temp_directory_path() / ("hwnas-rapl-" + std::to_string(::getpid()));
};

TEST_F(Rapl, WhatTheIdleMachineUsesIsTakenOffAlsoOverAWrap) {
  auto counter = EnergyCounter::open(folder_);
  ASSERT_TRUE(counter) << to_string(counter.error());
  double time = 100, joules = 0;
  const auto pass = [&](double seconds, double watts) {
    time += seconds;
    joules += seconds * watts;
    show(joules);
  };
  const auto now = [&] { return time; };
  const auto idle = idle_watts(*counter, now, [&] { pass(0.5, 10); });
  ASSERT_TRUE(idle) << to_string(idle.error());
  EXPECT_NEAR(*idle, 10, 1e-6);
  // 4 runs of 1 s at 25 W: 15 J each above idle; 100 J run over the counter's 50 J twice.
  for (int i = 0; i < 3; ++i) {
    const auto run = joules_a_run(*counter, *idle, 1, now, [&]() -> Result<void> {
      pass(1, 25);
      return {};
    });
    ASSERT_TRUE(run) << to_string(run.error());
    EXPECT_NEAR(*run, 15, 1e-5);
  }
  const auto nothing = joules_a_run(*counter, *idle, 1, now, [&]() -> Result<void> {
    pass(1, 9);
    return {};
  });
  EXPECT_FALSE(nothing) << "less than idle is no energy, not a negative one";
}

TEST_F(Rapl, AMachineWithoutACounterIsNamed) {
  const auto none = EnergyCounter::open(folder_ / "nowhere");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("modelled"));
}

TEST(ModelledEnergy, FollowsTheProfilesCoefficientsAndSaysSo) {
  devices::DeviceProfile device;
  EXPECT_FALSE(modelled_energy(device, "ns", 1000));
  device.energy = {200.0, 50.0, "data sheet"};
  const auto time = modelled_energy(device, "ns", 1000);  // 0.2 W for 1 us
  ASSERT_TRUE(time);
  EXPECT_NEAR(time->nanojoules, 200, 1e-9);
  EXPECT_EQ(time->source, "modelled: data sheet");
  EXPECT_NEAR(modelled_energy(device, "instructions", 1000)->nanojoules, 50, 1e-9);
}

TEST(SessionEnergy, SurvivesItsLine) {
  Session session = empty_session();
  measure({*parse_signature("conv k1 s1 p0 g1 8x4x4->8x4x4 w8a8 i8")}, session);
  session.kernels[0].energy = KernelEnergy{12.5, "measured: RAPL"};
  const auto back = parse_session(to_line(session.info) + to_line(session.kernels[0]), "s");
  ASSERT_TRUE(back) << to_string(back.error());
  ASSERT_TRUE(back->kernels[0].energy);
  EXPECT_EQ(back->kernels[0].energy->nanojoules, 12.5);
  EXPECT_EQ(back->kernels[0].energy->source, "measured: RAPL");
  std::string broken = to_line(session.kernels[0]);
  broken.replace(broken.find("12.5"), 4, "-1.5");
  EXPECT_FALSE(parse_session(to_line(session.info) + broken, "s"));
}

}  // namespace
}  // namespace nas::latency
