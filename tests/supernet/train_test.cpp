#include "supernet/train.h"
#include "supernet/supernet_file.h"

#include <sys/wait.h>
#include <unistd.h>

#include <tbb/global_control.h>

#include <filesystem>
#include <limits>

#include "tests/supernet/test_support.h"

namespace nas::supernet {
namespace {

namespace fs = std::filesystem;

// Images whose mean colour gives the class away: learnable in a few steps.
BatchStream colour_stream(int size, int resolution) {
  return {10, [=](std::int64_t step, Batch& out) {
            Rng rng(9, "colours", static_cast<std::uint64_t>(step));
            out.resolution = resolution;
            out.pixels.resize(static_cast<std::size_t>(size * resolution * resolution * 3));
            out.labels.clear();
            std::size_t at = 0;
            for (int i = 0; i < size; ++i) {
              const auto label = rng.below(10);
              out.labels.push_back(static_cast<std::int64_t>(label));
              for (int p = 0; p < resolution * resolution; ++p)
                for (std::uint64_t c = 0; c < 3; ++c)
                  out.pixels[at++] = static_cast<float>(
                      0.3 * rng.normal() + ((label >> c) & 1U ? 1.0 : -1.0) + (label > 7 ? 2.0 : 0.0));
            }
          }};
}

Recipe recipe_of(const std::string& json) {
  auto recipe = parse_recipe(json, "test");
  if (!recipe) throw std::runtime_error(recipe.error().message);
  return *recipe;
}

// Every mechanism at once: sorting between phases, a frozen teacher, an in-place teacher, average, dropout.
const char* const kBusyRecipe = R"({"name": "busy", "ema": 0.9, "shards": 2, "phases": [
  {"name": "a", "steps": 4, "sampling": "largest", "dropout": 0.2, "optimizer": {"learning_rate": 0.05}},
  {"name": "b", "steps": 4, "sampling": "uniform", "paths": 2, "sort_channels": "l1",
   "distillation": {"teacher": "frozen"}, "optimizer": {"learning_rate": 0.05, "clip_norm": 5}},
  {"name": "c", "steps": 4, "sampling": "best_up", "paths": 3, "candidates": 2,
   "distillation": {"teacher": "in_place", "divergence": "alpha"},
   "optimizer": {"kind": "adamw", "learning_rate": 0.002}}]})";

std::vector<NamedTensor> train_busy(const TrainOptions& options) {
  const SearchSpace space = space_of("tiny", {16});
  auto supernet = Supernet::make(space);
  const auto outcome = train(*supernet, space, recipe_of(kBusyRecipe), colour_stream(8, 16), options);
  if (!outcome) throw std::runtime_error(outcome.error().message);
  return supernet->parameters();
}

class Training : public testing::Test {
 protected:
  Training() { fs::remove_all(folder); }
  ~Training() override { fs::remove_all(folder); }
  const fs::path folder = fs::temp_directory_path() / ("hwnas_train_test_" + std::to_string(getpid()));
};

TEST_F(Training, OneThreadAndFourGiveTheSameWeightsBitForBit) {
  std::vector<NamedTensor> one, four;
  {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
    one = train_busy({});
  }
  {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 4);
    four = train_busy({});
  }
  EXPECT_EQ(one, four);
}

TEST_F(Training, KilledAtAnyStepItContinuesToTheSameWeightsBitForBit) {
  const std::vector<NamedTensor> whole = train_busy({});
  for (const std::int64_t victim : {2, 4, 7, 11}) {
    fs::remove_all(folder);
    TrainOptions options;
    options.folder = folder;
    options.checkpoint_every = 3;
    // SIGKILL from inside a step, in a process of its own; no destructor, no flush.
    const pid_t child = fork();
    if (child == 0) {
      options.on_step = [&](const TrainProgress& p) {
        if (p.step == victim) kill(getpid(), SIGKILL);
      };
      const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
      train_busy(options);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    options.on_step = nullptr;
    EXPECT_EQ(train_busy(options), whole) << "killed at step " << victim;
  }
}

TEST_F(Training, LearnsAndKeepsTheLastCheckpointsAndTheBest) {
  const SearchSpace space = space_of("tiny", {16});
  auto supernet = Supernet::make(space);
  TrainOptions options;
  options.folder = folder;
  options.checkpoint_every = 5;
  options.keep = 2;
  double score = 1;
  options.score = [&](const Supernet&) -> Result<double> { return score /= 2; };  // the first is the best
  std::vector<double> losses;
  options.on_step = [&](const TrainProgress& p) { losses.push_back(p.paths.front().loss); };
  const Recipe recipe = recipe_of(
      R"({"name": "s", "phases": [{"name": "p", "steps": 25, "sampling": "sandwich",
          "distillation": {"teacher": "in_place"}, "optimizer": {"learning_rate": 0.05, "warmup_epochs": 0.3}}]})");
  const auto outcome = train(*supernet, space, recipe, colour_stream(24, 16), options);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_TRUE(outcome->finished);
  EXPECT_DOUBLE_EQ(outcome->best_score, 0.5);
  EXPECT_LT(losses.back(), 0.6 * losses.front());
  int checkpoints = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    checkpoints += entry.path().filename().string().starts_with("checkpoint-");
  EXPECT_EQ(checkpoints, 2);
  const auto best = load_supernet(folder / "best.safetensors", space);
  ASSERT_TRUE(best) << best.error().message;
  EXPECT_EQ(best->provenance.steps, 5);
}

TEST_F(Training, RefusesACheckpointOfAnotherRunAndUsesAnOlderOneWhenTheNewestIsDamaged) {
  TrainOptions options;
  options.folder = folder;
  options.checkpoint_every = 4;
  const auto whole = train_busy(options);
  fs::resize_file(folder / "checkpoint-000000012.safetensors", 1000);
  EXPECT_EQ(train_busy(options), whole);
  options.seed = 2;
  EXPECT_THROW(
      {
        try {
          train_busy(options);
        } catch (const std::runtime_error& e) {
          EXPECT_NE(std::string(e.what()).find("seed"), std::string::npos);
          throw;
        }
      },
      std::runtime_error);
}

TEST_F(Training, ALossThatIsNotFiniteStopsWithStepSubNetworkAndCheckpoint) {
  const SearchSpace space = space_of("tiny", {16});
  auto supernet = Supernet::make(space);
  BatchStream poisoned = colour_stream(8, 16);
  poisoned.read = [plain = poisoned.read](std::int64_t step, Batch& out) {
    plain(step, out);
    if (step == 3) out.pixels[5] = std::numeric_limits<float>::quiet_NaN();
  };
  TrainOptions options;
  options.folder = folder;
  options.checkpoint_every = 2;
  const Recipe recipe = recipe_of(R"({"name": "u", "phases": [{"name": "only", "steps": 9}]})");
  const auto outcome = train(*supernet, space, recipe, poisoned, options);
  ASSERT_FALSE(outcome);
  const std::string& message = outcome.error().message;
  EXPECT_NE(message.find("step 4"), std::string::npos) << message;
  EXPECT_NE(message.find("sub-network r=16"), std::string::npos) << message;
  EXPECT_NE(message.find("checkpoint-000000002"), std::string::npos) << message;
}

TEST_F(Training, ACheckpointThatCannotBeWrittenIsAnErrorThatNamesTheFile) {
  const SearchSpace space = space_of("tiny", {16});
  auto supernet = Supernet::make(space);
  TrainOptions options;
  fs::create_directories(folder);
  std::FILE* const blocker = std::fopen((folder / "file").c_str(), "w");
  std::fclose(blocker);
  options.folder = folder / "file" / "inside";  // cannot be made
  options.checkpoint_every = 1;
  const Recipe recipe = recipe_of(R"({"name": "u", "phases": [{"name": "only", "steps": 1}]})");
  const auto outcome = train(*supernet, space, recipe, colour_stream(4, 16), options);
  ASSERT_FALSE(outcome);
  EXPECT_NE(to_string(outcome.error()).find("file"), std::string::npos);
}

TEST(LearningRate, WarmsUpThenFollowsHalfACosine) {
  OptimizerOptions o;
  o.learning_rate = 1;
  o.warmup_epochs = 1;
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 0, 110, 10), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 9, 110, 10), 1);
  EXPECT_NEAR(learning_rate_at(o, 60, 110, 10), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate_at(o, 109, 110, 10), 0.5 * (1 + std::cos(3.141592653589793 * 0.99)), 1e-12);
}

}  // namespace
}  // namespace nas::supernet
