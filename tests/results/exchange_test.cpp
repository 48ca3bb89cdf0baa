#include "results/exchange.h"

#include <bit>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "results/measurements.h"
#include "results/queue.h"
#include "results/runs.h"
#include "space/base/file.h"
#include "space/base/rng.h"
#include "space/search_space.h"
#include "tests/results/fixture.h"

namespace nas::results {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class Exchange : public ProjectTest {
 protected:
  // A run of 20 candidates of a real space, some of them infeasible or failed.
  Id make_run(Store& store, const std::string& name = "phone") {
    const SearchSpace space = need(load_space("ofa-mbv3-w1.0"));
    const Id space_id = need(keep(store, Space{.name = space.name(), .json = space.json()}));
    const Id run = need(
        add_run(store, {.name = name,
                        .kind = "search",
                        .space_id = space_id,
                        .objectives = R"([{"metric":"accuracy","direction":"maximize"},)"
                                      R"({"metric":"latency_ms","direction":"minimize"}])",
                        .constraints = R"([{"metric":"latency_ms","max":10},{"metric":"joy","min":1}])"}));
    std::vector<Architecture> archs;
    std::vector<Candidate> rows;
    for (int i = 0; i < 20; ++i) {
      Rng rng(1, name, 0, static_cast<std::uint64_t>(i));
      genotypes_.push_back(space.sample(rng));
      const Genotype& g = genotypes_.back();
      archs.push_back({.space_id = space_id,
                       .hash = space.hash(g),
                       .genes = {g.begin(), g.end()},
                       .text = space.text(g)});
      rows.push_back({.number = i,
                      .state = i == 7       ? CandidateState::failed
                               : i % 3 == 0 ? CandidateState::infeasible
                                            : CandidateState::ok,
                      .violation = i % 3 == 0 ? 1.0 : 0.0,
                      .accuracy = 0.5 + 0.01 * i,
                      .latency_ms = 1.0 * i,
                      .extra = R"({"joy":)" + std::to_string(i) + "}",
                      .error = i == 7 ? "broke, \"badly\"" : ""});
    }
    const auto ids = need(keep_architectures(store, archs));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].arch_id = ids[i];
    rows[7].accuracy.reset();
    need(add_candidates(store, run, rows));
    need(set_front(store, run, std::vector<std::int64_t>{4, 5}, 5));
    std::vector<CurvePoint> curve;
    for (int i = 0; i < 5; ++i)
      curve.push_back({.owner_id = run, .name = "hypervolume", .step = i, .value = 0.25 * i});
    need(add_curve(store, curve));
    return run;
  }
  std::vector<Genotype> genotypes_;
};

// The checksum bit by bit, from its definition (RFC 3720): another way than the table in the product.
std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const std::uint32_t one = ((crc ^ (static_cast<unsigned char>(c) >> bit)) & 1u);
      crc >>= 1;
      if (one != 0) crc ^= 0x82F63B78u;
    }
  return ~crc;
}

TEST(Crc32c, MatchesThePublishedVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(slow_crc32c("123456789"), 0xE3069283u);
}

// A reader of event files written for the test from the formats' descriptions alone.
struct EventReader {
  std::string bytes;
  std::size_t at = 0;
  std::uint64_t little(int n) {
    std::uint64_t value = 0;
    for (int i = 0; i < n; ++i) value |= std::uint64_t{static_cast<unsigned char>(bytes.at(at++))} << (8 * i);
    return value;
  }
  static std::uint64_t varint(const std::string& text, std::size_t& pos) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(text.at(pos++));
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
  }
  // Field number to raw content.
  static std::map<int, std::string> fields(const std::string& text) {
    std::map<int, std::string> all;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::uint64_t key = varint(text, pos);
      const std::size_t start = pos;
      std::size_t size = 0;
      if ((key & 7) == 0) {
        varint(text, pos);
        all[static_cast<int>(key >> 3)] = text.substr(start, pos - start);
        continue;
      }
      size = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : varint(text, pos);
      all[static_cast<int>(key >> 3)] = text.substr(pos, size);
      pos += size;
      if (pos > text.size()) throw std::runtime_error("field runs over the end");
    }
    return all;
  }
  static std::uint32_t unmask(std::uint64_t masked) {
    const std::uint32_t rotated = static_cast<std::uint32_t>(masked) - 0xA282EAD8u;
    return (rotated >> 17) | (rotated << 15);
  }
  std::string record() {
    const std::size_t start = at;
    const std::uint64_t size = little(8);
    EXPECT_EQ(unmask(little(4)), slow_crc32c(bytes.substr(start, 8)));
    const std::string content = bytes.substr(at, size);
    at += size;
    EXPECT_EQ(unmask(little(4)), slow_crc32c(content));
    return content;
  }
};

TEST_F(Exchange, TensorboardEventsAreReadBackByAnIndependentReader) {
  Store store = open();
  const Id run = make_run(store);
  const std::int64_t n = need(export_tensorboard(store, run, project_ / "tb"));
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(project_ / "tb" / "phone"))
    file = entry.path();
  EXPECT_THAT(file.filename().string(), testing::StartsWith("events.out.tfevents."));
  EventReader reader{need(read_file(file))};
  EXPECT_EQ(EventReader::fields(reader.record())[3], "brain.Event:2");
  std::map<std::string, std::map<std::uint64_t, float>> curves;
  std::int64_t records = 0;
  for (; reader.at < reader.bytes.size(); ++records) {
    auto event = EventReader::fields(reader.record());
    auto value = EventReader::fields(EventReader::fields(event[5])[1]);
    std::size_t pos = 0;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i)
      bits |= std::uint32_t{static_cast<unsigned char>(value[2].at(i))} << (8 * i);
    curves[value[1]][EventReader::varint(event[2], pos)] = std::bit_cast<float>(bits);
  }
  EXPECT_EQ(records, n);
  EXPECT_THAT(curves["hypervolume"], SizeIs(5));
  EXPECT_EQ(curves["hypervolume"][3], 0.75f);
  EXPECT_THAT(curves["candidate/accuracy"], SizeIs(19));
  EXPECT_EQ(curves["candidate/latency_ms"][11], 11.0f);
}

TEST_F(Exchange, OptunaOpensTheExportWithValuesDirectionsParametersAndConstraints) {
  if (std::system("/usr/bin/python3 -c 'import optuna' 2>/dev/null") != 0)
    GTEST_SKIP() << "python3-optuna is not installed";
  {
    Store store = open();
    make_run(store);
    EXPECT_EQ(need(export_optuna(store, {}, project_ / "optuna.db")), 20);
    EXPECT_FALSE(export_optuna(store, {}, project_ / "optuna.db"));
  }
  std::ofstream(project_ / "read.py") << R"(
import json, optuna, sys
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="phone", storage="sqlite:///" + sys.argv[1])
trials = study.get_trials()
print(json.dumps({
  "directions": [d.name for d in study.directions],
  "states": [t.state.name for t in trials],
  "values": [t.values for t in trials],
  "constraints": [t.system_attrs["constraints"] for t in trials],
  "params": [t.params for t in trials]}))
study.enqueue_trial(trials[0].params)   # the export is a live study
)";
  ASSERT_EQ(std::system(("/usr/bin/python3 " + (project_ / "read.py").string() + " " +
                         (project_ / "optuna.db").string() + " > " + (project_ / "out.json").string() +
                         " 2> " + (project_ / "err.txt").string())
                            .c_str()),
            0)
      << need(read_file(project_ / "err.txt"));
  const auto seen = nlohmann::json::parse(need(read_file(project_ / "out.json")));
  EXPECT_EQ(seen["directions"], nlohmann::json({"MAXIMIZE", "MINIMIZE"}));
  EXPECT_EQ(seen["states"][7], "FAIL");
  EXPECT_EQ(seen["states"][8], "COMPLETE");
  EXPECT_NEAR(seen["values"][8][0], 0.58, 1e-12);
  EXPECT_EQ(seen["values"][8][1], 8.0);
  EXPECT_EQ(seen["constraints"][12], nlohmann::json({2.0, -11.0}));
  const SearchSpace space = need(load_space("ofa-mbv3-w1.0"));
  for (std::size_t i = 0; i < genotypes_.size(); ++i) {
    std::size_t active = 0;
    for (std::size_t gene = 0; gene < space.genes().size(); ++gene) {
      if (!space.active(genotypes_[i], gene)) continue;
      ++active;
      const Gene& about = space.genes()[gene];
      EXPECT_EQ(seen["params"][i][about.name], about.choices[genotypes_[i][gene]].label);
    }
    EXPECT_EQ(seen["params"][i].size(), active);
  }
}

TEST(Metric, IsFoundUnderTheNamesOfColumnsAndOfSearches) {
  const Candidate row{.accuracy = 0.5, .ram_bytes = 2048, .macs = 3'000'000, .extra = R"({"minstr":7})"};
  EXPECT_EQ(metric(row, "accuracy"), 0.5);
  EXPECT_EQ(metric(row, "top1"), 0.5);
  EXPECT_EQ(metric(row, "ram_kb"), 2.0);
  EXPECT_EQ(metric(row, "macs_m"), 3.0);
  EXPECT_EQ(metric(row, "minstr"), 7.0);
  EXPECT_FALSE(metric(row, "flash_kb"));
  EXPECT_FALSE(metric(row, "joy"));
}

TEST_F(Exchange, CsvAndJsonlHoldEveryCandidateAndQuoteWhatNeedsIt) {
  Store store = open();
  const Id run = make_run(store);
  std::ostringstream csv, jsonl;
  EXPECT_EQ(need(export_candidates(store, run, TextFormat::csv, csv)), 20);
  EXPECT_EQ(need(export_candidates(store, {}, TextFormat::jsonl, jsonl)), 20);
  EXPECT_THAT(csv.str(), testing::StartsWith("run,arch,genotype,run_id,number,"));
  EXPECT_THAT(csv.str(), HasSubstr(R"("broke, ""badly""")"));
  std::istringstream lines(jsonl.str());
  std::string line;
  for (int i = 0; std::getline(lines, line); ++i) {
    const auto row = nlohmann::json::parse(line);
    EXPECT_EQ(row["number"], i);
    EXPECT_EQ(row["accuracy"].is_null(), i == 7);
  }
  std::ostringstream all;
  EXPECT_THAT(need(dump(store, all)), SizeIs(0));
  EXPECT_THAT(all.str(), HasSubstr(R"({"table":"run","id":1,)"));
}

TEST_F(Exchange, MergingIsIdempotentAndNeedsNoOrder) {
  const auto make_shard = [this](const std::string& name, int salt) {
    Store store = need(Store::open(project_ / name));
    const Id run = make_run(store, "search");
    const Id device = need(keep(store, Device{.name = "board"}));
    const Id session = need(open_session(store, {.device_id = device}));
    need(add_kernel_times(
        store, {{.session_id = session, .signature = "conv", .time = {.n = 1, .samples = {salt}}}}));
    const Id net = need(keep(store, Supernet{.uid = "net", .name = "n", .space_id = 1}));
    const Id weights = need(
        keep(store, Checkpoint{.supernet_id = net, .stage = "full", .object = need(store.put_object("w"))}));
    need(add_evaluations(
        store, std::vector<Evaluation>{{.arch_id = 1, .checkpoint_id = weights, .accuracy = 0.5},
                                       {.arch_id = 2 + salt, .checkpoint_id = weights, .accuracy = 0.6}}));
    need(add_event(store, {.run_id = run, .code = "hello"}));
  };
  make_shard("a", 1);
  make_shard("b", 2);
  std::vector<std::int64_t> counts;
  for (const auto& order :
       {std::vector<const char*>{"a", "b", "a"}, std::vector<const char*>{"b", "a", "b"}}) {
    Store all = need(Store::open(project_ / (std::string("all-") + order[0])));
    const Merged first = need(merge(all, project_ / order[0]));
    EXPECT_EQ(first.runs, 1);
    EXPECT_EQ(first.candidates, 20);
    EXPECT_EQ(first.objects, 1);
    const Merged second = need(merge(all, project_ / order[1]));
    EXPECT_EQ(second.evaluations, 1);
    EXPECT_EQ(second.objects, 0);
    const Merged again = need(merge(all, project_ / order[2]));
    EXPECT_EQ(again.runs + again.candidates + again.evaluations + again.kernel_times + again.objects, 0);
    EXPECT_EQ(need(find_run(all, "search~2")).candidates, 20);
    EXPECT_EQ(need(find_run(all, "search~2")).best, 5);
    EXPECT_THAT(need(front(all, 1)), SizeIs(2));
    expect_clean(all);
    for (const auto& [table, n] : need(info(all)).rows) counts.push_back(n);
  }
  const auto half = static_cast<std::ptrdiff_t>(counts.size() / 2);
  EXPECT_TRUE(std::equal(counts.begin(), counts.begin() + half, counts.begin() + half));
  Store self = need(Store::open(project_ / "a"));
  EXPECT_FALSE(merge(self, project_ / "a"));
}

}  // namespace
}  // namespace nas::results
