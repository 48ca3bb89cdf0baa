#include "latency/measure/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "latency/measure/device_state.h"
#include "space/base/rng.h"

namespace nas::latency {
namespace {

class SessionFile : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ =
        std::filesystem::temp_directory_path() / ("hwnas-session-" + std::to_string(::getpid()) + ".jsonl");
    std::filesystem::remove(path_);
    info_ = {"id", "board", "abc", "c", "int8", "ns", "tiny", "2026-01-01T00:00:00Z", {{"load", "0.1"}}};
  }
  void TearDown() override { std::filesystem::remove(path_); }
  static KernelRecord record(const std::string& signature, double median) {
    KernelRecord r;
    r.signature = signature;
    r.n = 60;
    r.median = median;
    r.low = median * 0.99;
    r.high = median / 0.99;
    r.visit_medians = {median, 0.1 + 0.2};
    return r;
  }
  std::filesystem::path path_;
  SessionInfo info_;
};

TEST_F(SessionFile, KeepsEveryBitAndGoesOnAfterAKill) {
  {
    auto log = SessionLog::open(path_, info_);
    ASSERT_TRUE(log) << to_string(log.error());
    ASSERT_TRUE(log->add(record("a", 1.0 / 3)));
    ASSERT_TRUE(log->add(record("b", 2)));
  }
  std::ofstream(path_, std::ios::app) << "{\"signature\":\"c\",\"n\":6";  // the writer was killed here
  {
    auto log = SessionLog::open(path_, info_);
    ASSERT_TRUE(log) << to_string(log.error());
    EXPECT_EQ(log->session().kernels.size(), 2u);
    EXPECT_EQ(log->session().kernels[0].median, 1.0 / 3);
    ASSERT_TRUE(log->add(record("a", 5)));
  }
  const auto session = load_session(path_);
  ASSERT_TRUE(session) << to_string(session.error());
  ASSERT_EQ(session->kernels.size(), 2u);
  EXPECT_EQ(session->kernels[0].median, 5);
  EXPECT_EQ(session->kernels[0].redone, 1u);
  EXPECT_EQ(session->kernels[1].redone, 0u);
  // The same measuring going on is none anew.
  auto log = SessionLog::open(path_, info_);
  KernelRecord more = record("b", 2);
  more.visit_medians.push_back(3);
  ASSERT_TRUE(log->add(more));
  EXPECT_EQ(log->session().kernels[1].redone, 0u);
  EXPECT_EQ(session->info.context.at("load"), "0.1");
}

TEST_F(SessionFile, KeepsTheStatesOfTheDevice) {
  const DeviceState full{1763724000.123, {{"conv", 1.0 / 3}, {"add", 7}}, 1800.5, 51.5, 0.25};
  const DeviceState bare{1763724001, {{"conv", 0.1 + 0.2}}};
  {
    auto log = SessionLog::open(path_, info_);
    ASSERT_TRUE(log);
    ASSERT_TRUE(log->add(full));
    ASSERT_TRUE(log->add(record("a", 2)));
    ASSERT_TRUE(log->add(bare));
    EXPECT_EQ(log->session().states.size(), 2u);
  }
  const auto log = SessionLog::open(path_, info_);
  ASSERT_TRUE(log) << to_string(log.error());
  const std::vector<DeviceState>& states = log->session().states;
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(to_line(states[0]), to_line(full));
  EXPECT_EQ(states[0].time, full.time);
  EXPECT_EQ(states[0].references, full.references);
  EXPECT_EQ(states[0].celsius, full.celsius);
  EXPECT_EQ(states[1].references, bare.references);
  EXPECT_FALSE(states[1].clock_mhz);
  EXPECT_FALSE(states[1].celsius);
  EXPECT_EQ(log->session().kernels.size(), 1u);
}

TEST_F(SessionFile, OfAnotherDeviceIsRefused) {
  { ASSERT_TRUE(SessionLog::open(path_, info_)); }
  info_.device = "phone";
  const auto log = SessionLog::open(path_, info_);
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("another device"), std::string::npos);
}

TEST_F(SessionFile, DefectsAreNamedWithTheirLine) {
  const std::string head = to_line(info_);
  for (const char* bad :
       {"{}", "[1]", "nonsense", "{\"signature\":\"a\",\"n\":1}", "{\"signature\":\"a\",\"failure\":\"\"}",
        "{\"state\":1}", "{\"state\":{\"time\":1,\"references\":{}}}",
        "{\"state\":{\"references\":{\"a\":1}}}", "{\"state\":{\"time\":1,\"references\":{\"a\":-1}}}",
        "{\"state\":{\"time\":1,\"references\":{\"a\":1},\"celsius\":\"hot\"}}"}) {
    const auto session = parse_session(head + bad + "\n", "file");
    ASSERT_FALSE(session) << bad;
    EXPECT_EQ(session.error().where, "file:2") << bad;
  }
  EXPECT_FALSE(parse_session("", "file"));
}

TEST_F(SessionFile, MutatedTextIsReadOrRefusedNeverWorse) {
  const std::string text = to_line(info_) + to_line(record("conv", 3)) +
                           to_line(DeviceState{1.5, {{"conv", 2}}, 1800, 40, 1}) + to_line(record("add", 4));
  for (std::uint64_t round = 0; round < 3000; ++round) {
    Rng rng(9, "session fuzz", round);
    std::string bad = text;
    for (int m = 0; m < 3; ++m) {
      const std::size_t at = rng.below(bad.size());
      if (rng.chance(0.5))
        bad[at] = static_cast<char>(rng.next());
      else
        bad.erase(at, rng.below(9));
    }
    const auto session = parse_session(bad, "file");
    if (!session) continue;
    for (const KernelRecord& r : session->kernels) EXPECT_TRUE(!r.failure.empty() || r.median > 0);
    for (const DeviceState& s : session->states)
      for (const auto& [kernel, value] : s.references) EXPECT_GT(value, 0);
  }
}

// A clock that a test moves, and an agent that takes its time to answer.
struct Watched {
  double clock = 100;
  double probing = 0;
  std::map<std::string, std::string> answer = {};
  std::vector<DeviceState> kept = {};
  StateRecorder recorder{[this] { return clock; }, [this] { return 1e9 + clock; },
                         [this] {
                           clock += probing;
                           return std::optional(answer);
                         },
                         [this](const DeviceState& state) { kept.push_back(state); }};
};

TEST(DeviceStates, HoldTheMediansOfTheVisitsSinceTheOneBefore) {
  Watched device;
  device.answer = {{"frequency_khz", "1800000"}, {"load", "0.5 0.4 0.3 1/2 3"}};
  device.recorder.visited("a", 10);
  for (const double value : {11.0, 19.0, 12.0}) {
    device.clock += 0.01;
    device.recorder.visited("a", value);
  }
  device.recorder.visited("b", 5);
  ASSERT_EQ(device.kept.size(), 1u) << "the next is due after 0.2 s";
  device.recorder.finish();
  device.recorder.finish();
  ASSERT_EQ(device.kept.size(), 2u);
  EXPECT_EQ(device.kept[0].references, (std::map<std::string, double>{{"a", 10}}));
  EXPECT_EQ(device.kept[1].references, (std::map<std::string, double>{{"a", 12}, {"b", 5}}));
  EXPECT_EQ(device.kept[0].time, 1e9 + 100);
  EXPECT_EQ(device.kept[1].clock_mhz, 1800);
  EXPECT_EQ(device.kept[1].load, 0.5);
  EXPECT_FALSE(device.kept[1].celsius);
}

TEST(DeviceStates, AreFewAndCheapHoweverLongASessionIs) {
  Watched device;
  const auto run = [&](double seconds) {
    for (const double end = device.clock + seconds; device.clock < end; device.clock += 0.02)
      device.recorder.visited("a", 10);
  };
  run(10);
  EXPECT_NEAR(static_cast<double>(device.kept.size()), 50, 5);
  run(7200);
  EXPECT_LT(device.kept.size(), 6000u);
  Watched slow;  // 50 ms for an answer: no more than half a percent of the time is spent on it
  slow.probing = 0.05;
  for (; slow.clock < 200; slow.clock += 0.02) slow.recorder.visited("a", 10);
  EXPECT_NEAR(static_cast<double>(slow.kept.size()), 10, 1);
}

TEST(DeviceStates, TakeTheHottestZoneOfTheProcessor) {
  const auto celsius = [](const std::map<std::string, std::string>& probe) {
    return read_state(probe).celsius;
  };
  EXPECT_EQ(celsius({{"temperature.0", "45000 cpu-thermal"},
                     {"temperature.1", "51500 cpu-thermal"},
                     {"temperature.2", "60000 battery"}}),
            51.5);
  EXPECT_EQ(celsius({{"temperature.0", "30000 acpitz"}, {"temperature.1", "33000"}}), 33);
  // Sensors that sleep tell nonsense; texts are no numbers.
  EXPECT_EQ(celsius({{"temperature.0", "-273000 cpu"}, {"temperature.1", "nan"}, {"temperature.2", "cold"}}),
            std::nullopt);
  EXPECT_FALSE(celsius({}));
  EXPECT_FALSE(read_state({{"frequency_khz", "unknown"}}).clock_mhz);
  EXPECT_FALSE(read_state({{"load", "-1"}}).load);
}

}  // namespace
}  // namespace nas::latency
