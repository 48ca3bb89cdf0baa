// Leave-one-group-out and unseen runs: predictors of few rows, on planted laws and on public measurements.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "latency/leave_out.h"
#include "latency/predict_csv.h"
#include "latency/run_table.h"
#include "space/base/rng.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using testing::HasSubstr;

TEST(CsvFile, FiltersByTextAndByNumber) {
  const auto csv = parse_csv("a,t\nx,1\ny,2\nx,3\nz,\n", "t.csv");
  ASSERT_TRUE(csv);
  const auto rows = [&](const std::vector<std::string>& conditions) {
    const auto kept = filter(*csv, conditions);
    return kept ? kept->rows.size() : 0;
  };
  EXPECT_EQ(rows({"a=x"}), 2U);
  EXPECT_EQ(rows({"a!=x"}), 2U);
  EXPECT_EQ(rows({"t>1"}), 2U);
  EXPECT_EQ(rows({"t>=1", "t<3"}), 2U);
  EXPECT_EQ(rows({"t<=1"}), 1U);
  EXPECT_EQ(rows({"t>3"}), 0U);
  EXPECT_THAT(filter(*csv, {"a>1"}).error().message, HasSubstr("needs a finite number, found 'x'"));
  EXPECT_THAT(filter(*csv, {"t>two"}).error().message, HasSubstr("needs a number, found 'two'"));
  EXPECT_THAT(filter(*csv, {"t"}).error().message, HasSubstr("a filter is COLUMN=VALUE"));
  EXPECT_THAT(filter(*csv, {"=1"}).error().message, HasSubstr("a filter is COLUMN=VALUE"));
}

// Six families of networks whose time is 3 cycles a MAC of one kind, 20 of another; the file also lists a
// work that costs nothing.
std::string families(double noise) {
  Rng rng(7, "families");
  std::string text = "model,a,b,idle,t\n";
  for (int family = 0; family < 6; ++family) {
    for (int i = 0; i < 5; ++i) {
      const double a = rng.uniform(1e5, 1e7), b = a * (0.02 + 0.05 * family);
      const double t = (3 * a + 20 * b) * std::exp(noise * rng.normal());
      text += "net-" + std::string(1, static_cast<char>('A' + family)) + std::to_string(i) + "," +
              std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(rng.uniform(1e5, 1e7)) +
              "," + std::to_string(t) + "\n";
    }
  }
  return text;
}

const std::vector<std::string> kFamilies{"net-A", "net-B", "net-C", "net-D", "net-E", "net-F"};

TEST(LeaveGroupsOut, FindsTheCostsOfAFamilyThatWasNeverSeen) {
  const auto csv = parse_csv(families(0.01), "t.csv");
  ASSERT_TRUE(csv);
  const auto rows = read_work(*csv, {"a", "b", "idle"}, "model", kFamilies, {});
  ASSERT_TRUE(rows) << to_string(rows.error());
  const auto target = target_column(*csv, "t", false);
  const auto fit = leave_groups_out(*rows, *target);
  ASSERT_TRUE(fit) << to_string(fit.error());
  // E|N(0, 0.01)| is 0.8 %.
  EXPECT_LT(learn::mape(*target, fit->predicted), 1.6);
  EXPECT_GE(learn::coverage(*target, fit->low, fit->high), 80);
  EXPECT_EQ(leave_groups_out(*rows, *target)->predicted, fit->predicted);
}

TEST(LeaveGroupsOut, ReadsNothingOfTheGroupThatIsLeftOut) {
  const auto csv = parse_csv(families(0.01), "t.csv");
  const auto rows = read_work(*csv, {"a", "b"}, "model", kFamilies, {});
  auto target = *target_column(*csv, "t", false);
  const auto before = leave_groups_out(*rows, target);
  for (std::size_t i = 0; i < 5; ++i) target[i] *= 1.5;  // family A
  const auto after = leave_groups_out(*rows, target);
  ASSERT_TRUE(before && after);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(before->predicted[i], after->predicted[i]);
  EXPECT_NE(before->predicted[7], after->predicted[7]);
}

TEST(LeaveGroupsOut, SaysWhatIsWrongWithRowsAndGroups) {
  const auto csv = parse_csv("model,a,t\nx1,1,2\ny1,-2,3\nz1,3,4\n", "t.csv");
  EXPECT_THAT(to_string(read_work(*csv, {"a"}, "model", {"x", "y"}, {}).error()),
              HasSubstr("t.csv:4: error: a row is of no group: 'z1' contains none of x, y"));
  EXPECT_THAT(to_string(read_work(*csv, {"a"}, "model", {}, {}).error()),
              HasSubstr("t.csv:3: error: an amount of work cannot be negative"));
  WorkRows two{learn::Matrix(2, 1), {}, {"a", "b"}};
  EXPECT_THAT(leave_groups_out(two, std::vector<double>{1, 2}).error().message, HasSubstr("found 2"));
}

// Devices that mix two ways of being fast.
std::string long_file() {
  Rng rng(11, "long-file");
  std::vector<std::pair<double, double>> networks;
  for (int n = 0; n < 12; ++n) networks.emplace_back(rng.uniform(1, 10), rng.uniform(1, 10));
  std::string text = "device,run,threads,model,ms\n";
  for (int device = 0; device < 20; ++device) {
    const double arithmetic = std::exp(rng.normal()), memory = std::exp(rng.normal());
    for (int run = 0; run < 2; ++run)
      for (std::size_t n = 0; n < networks.size(); ++n)
        text += "d" + std::to_string(device) + "," + std::to_string(run) + ",1,n" + std::to_string(n) + "," +
                std::to_string((arithmetic * networks[n].first + memory * networks[n].second) *
                               std::exp(0.01 * rng.normal())) +
                "\n";
  }
  return text;
}

TEST(UnseenRuns, ThreeChosenNetworksTellTheOthersOfADevice) {
  const auto csv = parse_csv(long_file(), "t.csv");
  ASSERT_TRUE(csv);
  const auto table = read_runs(*csv, "model", {"device", "run"}, {"threads"}, "ms");
  ASSERT_TRUE(table) << to_string(table.error());
  EXPECT_EQ(table->networks.size(), 12U);
  EXPECT_EQ(table->device.size(), 40U);
  const auto chosen = predict_unseen_runs(*table, 3, false, 1),
             drawn = predict_unseen_runs(*table, 3, true, 1);
  ASSERT_TRUE(chosen && drawn);
  EXPECT_EQ(chosen->truth.size(), 40U * 9U);
  const double error = learn::mape(chosen->truth, chosen->predicted);
  EXPECT_LT(error, 6);
  EXPECT_LE(error, 1.1 * learn::mape(drawn->truth, drawn->predicted));
  EXPECT_NEAR(learn::coverage(chosen->truth, chosen->low, chosen->high), 90, 10);
  EXPECT_EQ(predict_unseen_runs(*table, 3, false, 1)->predicted, chosen->predicted);
  EXPECT_THAT(predict_unseen_runs(*table, 12, false, 1).error().message, HasSubstr("from 1 to 11"));
}

TEST(UnseenRuns, RefusesFilesThatAreNoRuns) {
  const auto csv = parse_csv("device,model,ms\na,x,1\nb,y,-2\n", "t.csv");
  EXPECT_THAT(to_string(read_runs(*csv, "model", {"device"}, {}, "ms").error()),
              HasSubstr("t.csv:3: error: a time cannot be negative"));
  EXPECT_THAT(read_runs(*csv, "model", {}, {}, "ms").error().message, HasSubstr("the device first"));
  const auto few = parse_csv("device,model,ms\na,x,1\nb,y,2\n", "t.csv");
  EXPECT_THAT(read_runs(*few, "model", {"device"}, {}, "ms").error().message,
              HasSubstr("fewer than 3 networks"));
}

std::filesystem::path data_file(const std::string& name) {
  const char* folder = std::getenv("HWNAS_DATA");
  return std::filesystem::path(folder != nullptr ? folder : HWNAS_SOURCE_DIR "/../shared/data") / "latency" /
         name;
}

TEST(LeaveGroupsOut, ReachesTheAimOnAPublishedBoard) {
  const auto file = data_file("stm32_modelzoo_latency_with_graph.csv");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << ": the measured networks are not here";
  const auto report = predict_csv({.file = file.string(),
                                   .features = {"tfl_macs_pw", "tfl_macs_kxk", "tfl_macs_DEPTHWISE_CONV_2D",
                                                "tfl_macs_FULLY_CONNECTED", "tfl_out_el"},
                                   .target = "latency_ms",
                                   .where = {"board=STM32H747I-DISCO"},
                                   .leave_out = "model",
                                   .groups = {"SSD Mobilenet v1", "SSD Mobilenet v2", "MobileNet v1",
                                              "MobileNet v2", "ResNet v1", "SqueezeNet", "ST MNIST"}});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_EQ(report->n_groups, 7U);
  EXPECT_EQ(report->test.n, 36U);  // ten rows of the file repeat another one
  EXPECT_LE(report->test.mape, 12);
}

TEST(UnseenRuns, ReachesTheAimOnPublishedPhones) {
  const auto file = data_file("ncnn_bench.csv");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << ": the measured phones are not here";
  const auto report = predict_csv({.file = file.string(),
                                   .features = {"num_threads", "powersave"},
                                   .target = "min_ms",
                                   .where = {"gpu_device=-1"},
                                   .item = "model",
                                   .runs = {"device", "run"},
                                   .samples = 3});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_LE(report->test.mape, 18);
  EXPECT_NEAR(report->coverage90, 90, 5);
}

}  // namespace
}  // namespace nas::latency
