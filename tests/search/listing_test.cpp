#include "search/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "search/genetic.h"
#include "search/strategies.h"
#include "space/base/file.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Csv : public testing::Test {
 protected:
  fs::path path_ = fs::temp_directory_path() / ("hwnas-listing-" + std::to_string(::getpid()) + ".csv");
  void TearDown() override { fs::remove(path_); }
  Result<CsvProblem> read(const std::string& text) {
    EXPECT_TRUE(write_file(path_, text));
    return csv_problem(path_.string(), {"g*"}, {{"top1", "%", Source::measured}});
  }
};

TEST_F(Csv, ColumnsBecomeGenesAndMetrics) {
  const auto problem = read("id,g1,g2,top1\n0,3,1,70\n1,5,1,71\n2,3,2,72\n3,3,2,99\n4,5,2,\n");
  ASSERT_TRUE(problem) << problem.error().message;
  EXPECT_EQ(problem->listing->size(), 3u);  // the repeated network and the unmeasured one are left out
  EXPECT_EQ(problem->space.genes()[0].choices[1].label, "5");
  Scores scores;
  scores.reset(2, 1);
  problem->evaluator.score(std::vector<Genotype>{{0, 1}, {1, 1}}, 1, scores);
  EXPECT_EQ(scores.row(0)[0], 72);
  EXPECT_EQ(scores.reason(1), "the network is not in the table");
}

TEST_F(Csv, ANetworksTextNamesItsColumnsAndIsReadAgain) {
  ASSERT_TRUE(write_file(path_, "block0_k,block1_k,g3,g 4,top1\n3,5,1,8,70\n5,5,2,9,71\n"));
  const auto problem = csv_problem(path_.string(), {"block*", "g*"}, {{"top1", "%", Source::measured}});
  ASSERT_TRUE(problem) << problem.error().message;
  EXPECT_EQ(problem->space.text({0, 0, 1, 1}), "k=3,5:g3=2:c3=9");
  EXPECT_EQ(*problem->space.parse("k=3,5:g3=2:c3=9"), (Genotype{0, 0, 1, 1}));
}

TEST_F(Csv, BrokenTablesAreRefusedWithTheirPlace) {
  EXPECT_THAT(read("g1,top1\n3,x\n").error().message, HasSubstr("column top1: \"x\" is no number"));
  EXPECT_THAT(read("g1,top1\n3,x\n").error().where, HasSubstr(".csv:2"));
  EXPECT_THAT(read("g1,top1\n3\n").error().message, HasSubstr("1 cells, the header 2"));
  EXPECT_THAT(read("g1,acc\n3,4\n").error().message, HasSubstr("no column \"top1\""));
  EXPECT_THAT(read("h,top1\n3,4\n").error().message, HasSubstr("no column is a gene"));
  EXPECT_THAT(read("g1,top1\n").error().message, HasSubstr("no rows"));
}

TEST_F(Csv, MutatedTextNeverCrashesTheReader) {
  const std::string good = "id,g1,g2,top1\n0,3,1,70\n1,5,1,71\n2,3,2,72\n";
  for (std::uint64_t i = 0; i < 120; ++i) {
    Rng rng(1, "csv fuzz", i);
    std::string text = good;
    for (int edit = 0; edit < 3; ++edit) {
      const std::size_t at = rng.below(text.size());
      switch (rng.below(3)) {
        case 0:
          text[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          text.erase(at, 1 + rng.below(4));
          break;
        default:
          text.insert(at, 1, static_cast<char>(rng.below(256)));
      }
    }
    const auto problem = read(text);
    if (problem)
      EXPECT_GT(problem->listing->size(), 0u);
    else
      EXPECT_FALSE(problem.error().message.empty());
  }
}

TEST(Listing, MovesAProposalToANearKnownNetworkThatIsNoParent) {
  const Listing listing({{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {2, 2, 2, 1}, {2, 2, 1, 1}, {2, 1, 1, 0}});
  const Genotype parent{0, 0, 0, 0};
  const Genotype* const parents[] = {&parent};
  std::set<Genotype> seen;
  for (std::uint64_t i = 0; i < 100; ++i) {
    Rng rng(1, "snap", i);
    Genotype g{0, 0, 0, 1};
    listing.snap(g, rng, parents);
    EXPECT_NE(g, parent);
    seen.insert(g);
  }
  EXPECT_GT(seen.size(), 1u);
  Rng rng(1, "stay");
  Genotype known{2, 2, 2, 1};
  listing.snap(known, rng, parents);
  EXPECT_EQ(known, (Genotype{2, 2, 2, 1}));
}

TEST(AccelNasbench, EveryProposalIsAMeasuredNetwork) {
  const char* data = std::getenv("HWNAS_DATA");
  const fs::path folder = data != nullptr ? fs::path(data) : fs::path(HWNAS_SOURCE_DIR) / "../shared/data";
  const fs::path file = folder / "latency" / "accel_nasbench.csv";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is absent (set HWNAS_DATA)";
  const auto problem =
      csv_problem(file.string(), {"block*"}, {{"top1", "%", Source::measured}, {"macs_m", "MMACs"}});
  ASSERT_TRUE(problem) << problem.error().message;
  EXPECT_GT(problem->listing->size(), 5000u);
  const auto judge =
      *Judge::make({{{"top1", Goal::maximise}, {"macs_m", Goal::minimise}}, {}}, problem->evaluator.metrics);
  for (const char* const name : {"random", "nsga2", "ofa-evolution", "ageing-evolution"}) {
    StrategyConfig config;
    config.name = name;
    auto strategy = make_strategy(config, make_setting(problem->space, judge, 1, nullptr, problem->listing));
    ASSERT_TRUE(strategy);
    const auto run = run_search(problem->space, judge, problem->evaluator, *strategy, test::evaluations(200));
    ASSERT_TRUE(run);
    EXPECT_EQ(run->progress.failed, 0u) << name;
    EXPECT_EQ(run->history.size(), 200u) << name;
  }
}

TEST(Strategies, AnUnknownNameIsRefusedWithASuggestion) {
  const SearchSpace space = test::block_space(2, 2, 2, 2);
  const auto judge = *Judge::make({{{"error"}}, {}}, {{"error", ""}});
  StrategyConfig config;
  config.name = "nsga3";
  const auto strategy = make_strategy(config, make_setting(space, judge, 1));
  ASSERT_FALSE(strategy);
  EXPECT_THAT(strategy.error().message, HasSubstr("did you mean \"nsga2\"?"));
}

}  // namespace
}  // namespace nas::search
