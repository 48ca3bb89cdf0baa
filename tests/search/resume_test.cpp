#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <tbb/global_control.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "search/evolution.h"
#include "search/genetic.h"
#include "search/gradient_search.h"
#include "search/local_search.h"
#include "search/plain_search.h"
#include "search/predictor_search.h"
#include "search/reinforce.h"
#include "search/run_folder.h"
#include "space/base/file.h"
#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

namespace fs = std::filesystem;

const std::vector<Metric> kMetrics{{"error", "%", Source::modelled}, {"latency_ms", "ms", Source::modelled}};

class Resume : public testing::TestWithParam<const char*> {
 protected:
  SearchSpace space_ = test::block_space(2, 3, 3, 3);
  Judge judge_ = *Judge::make(test::two_objectives(), kMetrics);
  fs::path folder_ = fs::temp_directory_path() / ("hwnas-resume-" + std::to_string(::getpid()));

  void TearDown() override { fs::remove_all(folder_); }

  Strategy strategy() const {
    const Setting setting = make_setting(space_, judge_, 3);
    const std::string name = GetParam();
    if (name == "random") return {name, RandomSearch(setting, 16)};
    if (name == "exhaustive") return {name, ExhaustiveSearch(setting, 16)};
    if (name == "ageing") return {name, AgeingEvolution(setting, {})};
    if (name == "ofa") return {name, OfaEvolution(setting, {20})};
    if (name == "local-search") return {name, LocalSearch(setting, 8)};
    if (name == "predictor") return {name, PredictorSearch(setting, {60, 40, 0.2, 200, 2, 120})};
    if (name == "reinforce") return {name, Reinforce(setting, {})};
    if (name == "reinforce-lstm") return {name, Reinforce(setting, {.hidden = 6})};
    if (name == "halving") return {name, SuccessiveHalving(setting, {})};
    if (name == "gradient")
      return {name,
              GradientSearch(setting, {expected(space_, test::block_cost(space_, 1, -1))}, {.updates = 2})};
    return {name, GeneticSearch(setting,
                                {20, 0.9, 0, name == "nsga2" ? Survival::crowding : Survival::hypervolume})};
  }

  // Runs (on) in `folder` and returns the front file's bytes.
  std::string run(const fs::path& folder, int pause_us) const {
    RunRecord record{space_.name(), GetParam(), 3, "{}", judge_.problem(), kMetrics, {}};
    for (const Gene& gene : space_.genes()) record.genes.push_back(gene.name);
    auto store = RunFolder::open(folder, space_, record);
    if (!store) return store.error().message;
    Evaluator evaluator = test::additive_evaluator(
        {"error", "latency_ms"}, {test::block_cost(space_, 1, -1), test::block_cost(space_, 2, 1)});
    evaluator.metrics = kMetrics;
    Evaluator slow = evaluator;
    slow.score = [evaluator, pause_us](std::span<const Genotype> batch, double fidelity, Scores& scores) {
      evaluator.score(batch, fidelity, scores);
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    };
    // The gradient soon asks for the same networks only.
    RunOptions options = test::evaluations(GetParam() == std::string("gradient") ? 40 : 240);
    options.checkpoint_seconds = 0;
    options.journal = store->journal();
    Strategy s = strategy();
    const auto result = run_search(space_, judge_, slow, s, options, store->resume());
    if (!result) return result.error().message;
    if (auto written = store->write_front(*result); !written) return written.error().message;
    return *read_file(folder / "front.json");
  }
};

TEST_P(Resume, KilledAtTwentyRandomMomentsItEndsInTheSameBytes) {
  const std::string expected = run(folder_ / "whole", 0);
  ASSERT_THAT(expected, testing::HasSubstr("\"ending\": "));
  Rng rng(4, GetParam());
  int killed = 0;
  for (int attempt = 0; attempt < 20; ++attempt) {
    const pid_t child = fork();
    if (child == 0) {
      // A fresh process without the parent's threads: one of its own is enough.
      const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
      (void)run(folder_ / "killed", 300);
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + rng.below(6000)));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
  }
  EXPECT_GT(killed, 0);
  EXPECT_EQ(run(folder_ / "killed", 0), expected);
  EXPECT_EQ(*read_file(folder_ / "killed" / "candidates.jsonl"),
            *read_file(folder_ / "whole" / "candidates.jsonl"));
}

TEST_P(Resume, AnyNumberOfThreadsGivesTheSameBytes) {
  std::vector<std::string> fronts;
  for (const std::size_t threads : {1, 2, 4}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    fronts.push_back(run(folder_ / std::to_string(threads), 0));
  }
  EXPECT_EQ(fronts[0], fronts[1]);
  EXPECT_EQ(fronts[0], fronts[2]);
}

TEST_P(Resume, AFinishedRunReadsBackAsItWas) {
  (void)run(folder_ / "whole", 0);
  const auto loaded = load_run(folder_ / "whole");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_GT(loaded->history.size(), 30u);
  EXPECT_EQ(loaded->record.strategy, GetParam());
  EXPECT_EQ(loaded->texts[0], space_.text(loaded->history.genotype(0)));
}

INSTANTIATE_TEST_SUITE_P(Strategies, Resume,
                         testing::Values("random", "exhaustive", "ageing", "ofa", "nsga2", "sms-emoa",
                                         "local-search", "predictor", "reinforce", "reinforce-lstm",
                                         "halving", "gradient"),
                         [](const auto& which) {
                           std::string name = which.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace nas::search
