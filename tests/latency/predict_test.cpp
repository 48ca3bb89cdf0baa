#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "latency/few_shot.h"
#include "latency/predict_csv.h"
#include "space/base/rng.h"

namespace nas::latency {
namespace {

using testing::HasSubstr;

TEST(CsvFile, ReadsQuotesBlankLinesAndWindowsEnds) {
  const auto csv = parse_csv("a,b\r\n\"x, \"\"y\"\"\",1\r\n\n2,3\n", "t.csv");
  ASSERT_TRUE(csv) << to_string(csv.error());
  ASSERT_EQ(csv->rows.size(), 2U);
  EXPECT_EQ(csv->rows[0][0], "x, \"y\"");
  EXPECT_EQ(csv->lines[1], 4U);
}

TEST(CsvFile, NamesWhatIsWrongAndWhere) {
  const auto message = [](const std::string& text) {
    const auto csv = parse_csv(text, "t.csv");
    return csv ? std::string() : to_string(csv.error());
  };
  EXPECT_THAT(message(""), HasSubstr("t.csv: error: the file is empty"));
  EXPECT_THAT(message("a,b\n"), HasSubstr("header but no rows"));
  EXPECT_THAT(message("a,a\n1,2\n"), HasSubstr("t.csv:1: error: column 'a' appears twice"));
  EXPECT_THAT(message("a,b\n1\n"), HasSubstr("t.csv:2: error: a row needs 2 fields, found 1"));
  EXPECT_THAT(message("a,b\n\"1,2\n"), HasSubstr("t.csv:2: error: a quoted field is not closed"));
  const auto csv = parse_csv("time,b\nnan,2\n", "t.csv");
  EXPECT_THAT(to_string(csv->column("tine").error()), HasSubstr("did you mean 'time'"));
  EXPECT_THAT(to_string(target_column(*csv, "time", false).error()),
              HasSubstr("t.csv:2: error: column 'time' needs a finite number"));
}

TEST(CsvFile, SurvivesMutations) {
  const std::string good = "arch,t\n|none~0|+|none~0|none~1|+|none~0|none~1|none~2|,1.5\n\"q\",2\n";
  Rng rng(1, "csv-fuzz");
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (std::uint64_t k = 1 + rng.below(4); k > 0; --k)
      bad[rng.below(bad.size())] = static_cast<char>(rng.below(256));
    const auto csv = parse_csv(bad, "fuzz");
    if (!csv) continue;
    for (const auto& row : csv->rows) ASSERT_EQ(row.size(), csv->header.size());
    for (const char* space : {"nasbench201", "fbnet", "ofa-mbv3-w1.0"}) (void)encode_space(*csv, space);
  }
}

// A file of its own per test, removed at the end.
class PredictCsv : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("hwnas_predict_" + std::to_string(getpid()) + ".csv");
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::string error_of(const std::string& text, PredictRequest request) {
    std::ofstream(path_) << text;
    request.file = path_.string();
    const auto report = predict_csv(request);
    return report ? "" : to_string(report.error());
  }
  std::filesystem::path path_;
};

std::string planted(int rows, double noise) {
  std::string text = "a,b,c,t\n";
  Rng rng(7, "planted");
  for (int i = 0; i < rows; ++i) {
    const auto a = static_cast<double>(rng.below(4));
    const auto b = static_cast<double>(rng.below(3));
    const double c = rng.uniform(1, 2);
    const double t = (5 + 2 * a + b * b + 3 * c) * std::exp(noise * rng.normal());
    text += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(c) + "," + std::to_string(t) +
            "\n";
  }
  return text;
}

TEST_F(PredictCsv, FindsAPlantedTableAndKeepsItsInterval) {
  std::ofstream(path_) << planted(800, 0.02);
  const auto report = predict_csv({.file = path_.string(), .features = {"a", "b", "c"}, .target = "t"});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_EQ(report->n_train, 560U);
  EXPECT_EQ(report->test.n, 160U);
  // E|N(0, 0.02)| = 1.6 %: the noise is the floor.
  EXPECT_LT(report->test.mape, 1.9);
  EXPECT_NEAR(report->coverage90, 90, 7);
  const auto again = predict_csv({.file = path_.string(), .features = {"a", "b", "c"}, .target = "t"});
  EXPECT_EQ(report->test.mape, again->test.mape);
}

TEST_F(PredictCsv, RefusesBadInputInOneLine) {
  const PredictRequest request{.features = {"a"}, .target = "t"};
  EXPECT_THAT(error_of("a,t\n1,2\n2,-3\n3,4\n", request), HasSubstr(":3: error: a time cannot be negative"));
  EXPECT_THAT(error_of("a,t\n1,2\n2,2\n", request), HasSubstr("the same in all 2 rows"));
  EXPECT_THAT(error_of("a,t\n1,2\n2,3\n", request), HasSubstr("at least 10 rows"));
  EXPECT_THAT(error_of("a,u\n1,2\n", request), HasSubstr("no column 't'"));
  EXPECT_THAT(error_of("a,t\n1,2\n2,3\n", {.space = "nasbench201", .target = "t"}),
              HasSubstr("is it another space's file?"));
  EXPECT_THAT(error_of("a,t\n1,2\n2,3\n", {.space = "nosuch", .target = "t"}), HasSubstr("found 'nosuch'"));
}

// So many devices without a setting, the new one among them.
std::vector<DeviceName> named(std::size_t devices) {
  std::vector<DeviceName> names;
  for (std::size_t d = 0; d < devices; ++d) names.push_back({"device " + std::to_string(d), ""});
  return names;
}

TEST(FewShotTransfer, RecoversADeviceThatMixesKnownOnes) {
  constexpr std::size_t kRows = 300;
  learn::Matrix table(kRows, 12);
  std::vector<std::vector<double>> devices(4, std::vector<double>(kRows));
  std::vector<double> target(kRows);
  Rng rng(3, "few-shot-test");
  std::array<std::array<double, 12>, 4> cost{};
  for (auto& device : cost) {
    for (double& c : device) c = rng.uniform(0.1, 1);
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < 12; ++j) table(i, j) = static_cast<double>(rng.below(2));
    for (std::size_t d = 0; d < 4; ++d) {
      devices[d][i] = 1;
      for (std::size_t j = 0; j < 12; ++j) devices[d][i] += cost[d][j] * table(i, j);
    }
    target[i] = 3 * (0.6 * devices[0][i] + 0.4 * devices[2][i]);
  }
  const auto fit = few_shot(table, devices, named(5), target, 10, 1);
  ASSERT_TRUE(fit) << to_string(fit.error());
  EXPECT_EQ(fit->measured.size(), 10U);
  EXPECT_LT(learn::mape(target, fit->predicted), 3);
  EXPECT_FALSE(few_shot(table, {devices[0]}, named(2), target, 10, 1));
  EXPECT_FALSE(few_shot(table, devices, named(5), target, kRows, 1));
}

TEST(FewShotTransfer, WidensItsIntervalForADeviceUnlikeTheKnownOnes) {
  constexpr std::size_t kRows = 300;
  learn::Matrix table(kRows, 12);
  std::vector<std::vector<double>> devices(5, std::vector<double>(kRows, 1.0));
  std::vector<double> alike(kRows, 1.0), unlike(kRows, 1.0);
  Rng rng(5, "few-shot-unlike");
  std::array<double, 12> shared{}, own{};
  for (double& c : shared) c = rng.uniform(0.1, 1);
  for (double& c : own) c = rng.uniform(0.1, 1);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < 12; ++j) {
      table(i, j) = static_cast<double>(rng.below(2));
      for (auto& device : devices) device[i] += shared[j] * table(i, j);
      alike[i] += shared[j] * table(i, j);
      unlike[i] += own[j] * table(i, j);
    }
    for (auto& device : devices) device[i] *= std::exp(0.01 * rng.normal());
    alike[i] *= std::exp(0.01 * rng.normal());
  }
  const auto width = [](const FewShot& f) {
    double sum = 0;
    for (std::size_t i = 0; i < f.low.size(); ++i) sum += std::log(f.high[i] / f.low[i]);
    return sum / static_cast<double>(f.low.size());
  };
  const auto near = few_shot(table, devices, named(6), alike, 10, 1),
             far = few_shot(table, devices, named(6), unlike, 10, 1);
  ASSERT_TRUE(near && far);
  EXPECT_GT(width(*far), 2 * width(*near));
  EXPECT_GE(learn::coverage(alike, near->low, near->high), 80);
  EXPECT_GE(learn::coverage(unlike, far->low, far->high), 70);
  EXPECT_EQ(few_shot(table, devices, named(6), unlike, 10, 1)->predicted, far->predicted);
}

// A second computation of the same evidence: conditioning on one measurement after the other.
TEST(FewShotTransfer, EvidenceByCovarianceIsTheOneByConditioning) {
  constexpr std::size_t kRows = 40;
  learn::Matrix table(kRows, 6);
  std::vector<std::vector<double>> devices(3, std::vector<double>(kRows));
  Rng rng(8, "evidence");
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < 6; ++j) table(i, j) = static_cast<double>(rng.below(2));
    for (auto& device : devices) device[i] = std::exp(rng.normal());
  }
  const std::vector<std::size_t> some{3, 9, 17, 20, 31};
  const KnownDevices measured = known_devices(table, devices, named(3)).rows(some);
  std::vector<double> logs(5), doubt{0, 0.01, 0, 0.2, 0};
  for (double& v : logs) v = rng.normal();
  const Lead lead{{0, 2}, true, 0.1};
  for (const double smooth : {0.0, 0.5}) {
    const FewShotPrior prior{0.6, 0.1, 0.08, smooth};
    const FewShotBasis basis = few_shot_basis(measured, prior, lead);
    // log N(y | m, K) one step ahead, the first step left out, with the Student's tail.
    double surprise = 0, log_spread = 0;
    for (std::size_t step = 1; step < 5; ++step) {
      const std::span<const double> before(logs.data(), step), doubted(doubt.data(), step);
      const auto posterior = condition_few_shot(basis, prior, before, doubted);
      const auto [mean, deviation] = predict_few_shot(basis, posterior, prior, step);
      const double spread = deviation * deviation + doubt[step];
      surprise += (logs[step] - mean) * (logs[step] - mean) / spread;
      log_spread += std::log(spread);
    }
    const auto density = few_shot_evidence(measured, lead, {&prior, 1}, logs, doubt);
    EXPECT_NEAR(density[0], -0.5 * log_spread - 4 * std::log(1 + surprise / 4), 1e-8);
  }
}

// A measurement that something disturbed must not carry the others with it.
TEST(FewShotTransfer, OneDisturbedMeasurementDoesLittle) {
  constexpr std::size_t kRows = 300;
  learn::Matrix table(kRows, 8);
  std::vector<std::vector<double>> devices(4, std::vector<double>(kRows, 1.0));
  std::vector<double> target(kRows, 2.0);
  Rng rng(9, "disturbed");
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < 8; ++j) {
      table(i, j) = static_cast<double>(rng.below(2));
      for (std::size_t d = 0; d < 4; ++d)
        devices[d][i] += 0.1 * static_cast<double>(1 + (j + d) % 4) * table(i, j);
      target[i] += 0.15 * static_cast<double>(1 + j % 3) * table(i, j);
    }
    for (auto& device : devices) device[i] *= std::exp(0.01 * rng.normal());
    target[i] *= std::exp(0.01 * rng.normal());
  }
  const auto sound = few_shot(table, devices, named(5), target, 10, 1);
  ASSERT_TRUE(sound);
  std::vector<double> disturbed = target;
  disturbed[sound->measured[4]] *= 1.8;
  const auto found = few_shot(table, devices, named(5), disturbed, 10, 1);
  ASSERT_TRUE(found);
  EXPECT_LT(learn::mape(target, found->predicted), learn::mape(target, sound->predicted) + 3);
}

// Measured by others (HELP, MIT licence): a processor that no source is, ten of its networks seen.
TEST(FewShotTransfer, PredictsARealProcessorFromTenNetworks) {
  const char* folder = std::getenv("HWNAS_DATA");
  const std::filesystem::path data =
      folder != nullptr ? folder : std::filesystem::path(HWNAS_SOURCE_DIR) / "../shared/data";
  const std::filesystem::path file = data / "latency" / "help_fbnet.csv";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file << ": the measured networks are not here";
  const auto report = predict_csv({.file = file.string(),
                                   .space = "fbnet",
                                   .target = "silver_4114",
                                   .sources = {"1080ti_1", "2080ti_32", "essential_ph_1", "gold_6240",
                                               "samsung_a50", "silver_4210r", "titanx_64"},
                                   .samples = 10});
  ASSERT_TRUE(report) << to_string(report.error());
  EXPECT_EQ(report->n_train, 10U);
  EXPECT_LT(report->test.mape, 4);
  EXPECT_GT(report->test.spearman, 0.88);
  EXPECT_GT(report->coverage90, 75);
}

}  // namespace
}  // namespace nas::latency
