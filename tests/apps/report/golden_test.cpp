#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "apps/report/report.h"
#include "apps/report/static_page.h"
#include "latency/measure/session.h"
#include "tests/apps/report/run_fixture.h"

// The report's data and its picture of the front, byte for byte (networks' pictures: tests/space/goldens).
// The files were looked at by people; HWNAS_WRITE_GOLDEN=1 writes them anew after a change that is meant, and
// `git diff` shows what changed.
namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;

void expect_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(HWNAS_GOLDEN) / name;
  if (std::getenv("HWNAS_WRITE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << text;
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file) << path << " is not there";
  std::stringstream wanted;
  wanted << file.rdbuf();
  EXPECT_EQ(text, wanted.str());
}

// A kernel that was told twice, and two states of the device.
std::string session() {
  latency::KernelRecord record;
  record.signature = "conv";
  record.n = 60;
  record.median = record.low = 1000;
  record.high = 1010;
  record.steady = true;
  record.visit_medians = {1000, 1005};
  return latency::to_line(latency::SessionInfo{
             "s", "phone", "p", "c", "int8", "ns", "tiny", "2026-01-01T00:00:00Z", {{"compiler", "gcc"}}}) +
         latency::to_line(latency::DeviceState{1.5, {{"conv", 990}}, 1800, 41.5, 0.25}) +
         latency::to_line(record) + latency::to_line(record) +
         latency::to_line(latency::DeviceState{2, {{"add", 5}}});
}

// Two searches of one question, one of them random; a measurement of one network; a session; a training run.
Json document() {
  const test::Project project("golden");
  project.write("runs/mine/run.json", test::run_json());
  project.write("runs/mine/candidates.jsonl",
                test::line(0, 0, 0, "0.7", "2") + test::line(1, 0, 1, "0.8", "4") +
                    test::line(2, 1, 0, "0.75", "5") + test::line(3, 1, 1, "0.9", "7.5") +
                    test::line(4, 2, 0, "0.95", "9.2") + test::line(5, 2, 1, "null", "1"));
  project.write(
      "runs/mine/predictions.jsonl",
      R"({"arch":"a=1:b=1","device":"d","metric":"accuracy","unit":"share","predicted":0.9,"measured":0.85})"
      "\n");
  project.write("runs/mine-random-1/run.json", test::run_json("random", 1));
  project.write("runs/mine-random-1/candidates.jsonl",
                test::line(0, 0, 0, "0.7", "3") + test::line(1, 0, 1, "0.72", "4"));
  project.write("sessions/phone.jsonl", session());
  project.write("net/config.json", R"({"space": "none", "data": "d", "seed": 1})");
  project.write(
      "net/metrics.jsonl",
      R"({"step":10,"phase":"train","epoch":0.5,"learning_rate":0.1,"images_per_second":9,"paths":[{"genotype":"x","loss":2,"accuracy":0.25}]})"
      "\n"
      R"({"step":20,"split":"validation","score":{"network":"largest","top1":0.5,"images":40}})"
      "\n");
  auto reporter = Reporter::open({.project = project.folder(), .title = "golden", .version = "1"});
  EXPECT_TRUE(reporter) << reporter.error().message;
  Json json = reporter->document();
  json.erase("cursor");  // names files by their inode
  return json;
}

TEST(Golden, TheReportsData) { expect_golden("data.json", document().dump(1) + "\n"); }

TEST(Golden, ThePictureOfTheFront) { expect_golden("front.svg", scatter_svg(document()["runs"][0])); }

}  // namespace
}  // namespace nas::report
