#include "supernet/ranks.h"

#include <chrono>
#include <cmath>
#include <sstream>

#include "space/search_space.h"
#include "supernet/evaluate.h"
#include "supernet/supernet.h"
#include "supernet/supernet_file.h"
#include "supernet/tensor_file.h"
#include "supernet/train.h"
#include "tests/supernet/rank_processes.h"

namespace nas::supernet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kImages = 16, kSide = 16;  // of the whole batch

// No choice hangs on a rounding here, as sorting channels or the best of several paths would.
const char* const kRecipe = R"({"name": "busy", "shards": 4, "phases": [
  {"name": "a", "steps": 20, "sampling": "sandwich", "paths": 3, "distillation": {"teacher": "in_place"}, "dropout": 0.2,
   "optimizer": {"learning_rate": 0.05, "clip_norm": 5}},
  {"name": "b", "steps": 30, "sampling": "uniform", "paths": 2, "distillation": {"teacher": "frozen"},
   "optimizer": {"learning_rate": 0.02}}]})";

// A rank's part of a global batch that depends on the step alone.
BatchStream part_of_stream(int rank, int world) {
  return {10, [=](std::int64_t step, Batch& out) {
            Rng rng(9, "colours", static_cast<std::uint64_t>(step));
            out = {kSide, {}, {}, {}};
            for (int i = 0; i < kImages; ++i) {
              const auto label = static_cast<std::int64_t>(rng.below(10));
              const bool mine = i * world / kImages == rank;
              if (mine) out.labels.push_back(label);
              for (int p = 0; p < kSide * kSide * 3; ++p) {
                const auto value =
                    static_cast<float>(0.3 * rng.normal() + ((label >> (p % 3)) & 1 ? 1.0 : -1.0));
                if (mine) out.pixels.push_back(value);
              }
            }
          }};
}

class RanksTest : public RankProcesses {
 protected:
  Result<void> train_on(Ranks& ranks, TrainOptions options, const std::string& out) {
    NAS_TRY(space, load_space("tiny", {.resolutions = {kSide}}));
    NAS_TRY(supernet, Supernet::make(space));
    NAS_TRY(recipe, parse_recipe(kRecipe, "test"));
    options.ranks = &ranks;
    NAS_TRY(outcome, train(supernet, space, recipe, part_of_stream(ranks.rank(), ranks.world()), options));
    if (!outcome.finished) return {};
    return save_supernet(folder_ / (out + std::to_string(ranks.rank())), supernet, space, {});
  }
  std::vector<NamedTensor> weights(const std::string& name) {
    auto file = load_tensors(folder_ / name);
    return file ? std::move(file->tensors) : std::vector<NamedTensor>{};
  }
  void expect_close(const std::vector<NamedTensor>& a, const std::vector<NamedTensor>& b, double bound) {
    ASSERT_FALSE(a.empty());
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t t = 0; t < a.size(); ++t) {
      double worst = 0;
      for (std::size_t i = 0; i < a[t].values.size(); ++i)
        worst = std::max(worst,
                         std::abs(static_cast<double>(a[t].values[i]) - static_cast<double>(b[t].values[i])));
      EXPECT_LT(worst, bound) << a[t].name;
    }
  }
};

TEST_F(RanksTest, SumsReachEveryRank) {
  run(3, [](Ranks& ranks) -> Result<void> {
    std::vector<double> a{static_cast<double>(ranks.rank()), 1}, b(1000, 0.5);
    ranks.begin_sum(a);
    ranks.begin_sum(b);
    NAS_CHECK(ranks.finish());
    if (a[0] != 3 || a[1] != 3 || b[999] != 1.5) return Error{"wrong sums"};
    return {};
  });
  expect_all_well();
}

TEST_F(RanksTest, OneTwoAndFourTrainTheSameWeights) {
  for (const int world : {1, 2, 4}) {
    run(world, [&](Ranks& ranks) { return train_on(ranks, {}, "w" + std::to_string(world) + "-"); });
    expect_all_well();
  }
  expect_close(weights("w1-0"), weights("w2-0"), 1e-6);
  expect_close(weights("w1-0"), weights("w4-0"), 1e-6);
  EXPECT_EQ(weights("w4-0"), weights("w4-3"));  // the ranks of one run agree to the bit
}

TEST_F(RanksTest, ADeadRankEndsTheOthersAndAnotherNumberOfRanksContinues) {
  TrainOptions options;
  options.folder = folder_ / "checkpoints";
  options.checkpoint_every = 7;
  const auto begin = std::chrono::steady_clock::now();
  run(4, [&](Ranks& ranks) {
    TrainOptions mine = options;
    mine.on_step = [&](const TrainProgress& p) {
      if (ranks.rank() == 2 && p.step == 17) ::kill(::getpid(), SIGKILL);
    };
    return train_on(ranks, mine, "dead");
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_EQ(errors_[2], "killed");
  for (const int r : {0, 1, 3})
    EXPECT_THAT(errors_[static_cast<std::size_t>(r)], HasSubstr("another rank is gone or too late"));
  EXPECT_TRUE(fs::exists(folder_ / "checkpoints/checkpoint-000000014.safetensors"));
  run(2, [&](Ranks& ranks) { return train_on(ranks, options, "again"); });
  expect_all_well();
  run(1, [&](Ranks& ranks) { return train_on(ranks, {}, "whole"); });
  expect_close(weights("again0"), weights("whole0"), 1e-6);
}

TEST_F(RanksTest, ARequestToStopOnOneRankStopsAllWithACheckpoint) {
  TrainOptions options;
  options.folder = folder_ / "checkpoints";
  run(2, [&](Ranks& ranks) {
    TrainOptions mine = options;
    std::int64_t step = 0;
    mine.on_step = [&](const TrainProgress& p) { step = p.step; };
    mine.stop = [&] { return ranks.rank() == 1 && step == 5; };
    return train_on(ranks, mine, "stopped");
  });
  expect_all_well();
  EXPECT_FALSE(fs::exists(folder_ / "stopped0"));
  EXPECT_TRUE(fs::exists(folder_ / "checkpoints/checkpoint-000000005.safetensors"));
}

TEST_F(RanksTest, RanksThatWereAskedDifferentThingsAreRefused) {
  run(4, [&](Ranks& ranks) {
    TrainOptions mine;
    mine.data_fingerprint = ranks.rank() == 1 ? "other pictures" : "pictures";
    return train_on(ranks, mine, "refused");
  });
  for (const std::string& error : errors_)
    EXPECT_EQ(error, "error: rank 1 has another data: \"other pictures\", rank 0 has \"pictures\"");
  run(2, [&](Ranks& ranks) {
    TrainOptions mine;
    if (ranks.rank() == 1) mine.exchange.compression = Compression::bf16;
    return train_on(ranks, mine, "refused");
  });
  for (const std::string& error : errors_)
    EXPECT_THAT(error,
                HasSubstr("rank 1 has another compression or local steps: \"bf16\", rank 0 has \"none\""));
  run(3, [&](Ranks& ranks) { return train_on(ranks, {}, "shards"); });
  for (const std::string& error : errors_)
    EXPECT_THAT(error, HasSubstr("4 shards (of the recipe, or --shards)"));
}

// The loss of the first path, averaged over the last steps, tells whether training still works.
TEST_F(RanksTest, EveryWayOfExchangeTrainsTheSameOnAllRanksEachTimeAndAfterAStop) {
  const auto trained = [&](const std::string& way, int local_steps, const std::string& out,
                           std::int64_t stop_at) {
    run(2, [&](Ranks& ranks) -> Result<void> {
      NAS_TRY(exchange, parse_compression(way));
      TrainOptions mine;
      mine.exchange = exchange;
      mine.exchange.local_steps = local_steps;
      mine.folder = folder_ / ("c-" + out.substr(0, out.find('.')));
      mine.checkpoint_every = 20;
      std::int64_t step = 0;
      double loss = 0;
      mine.on_step = [&](const TrainProgress& p) {
        step = p.step;
        if (p.step > 40) loss += p.paths.front().loss / 10;
      };
      mine.stop = [&] { return step == stop_at && stop_at > 0; };
      NAS_CHECK(train_on(ranks, mine, out));
      if (stop_at == 0 && ranks.rank() == 0)
        return write_file(folder_ / (out + "loss"),
                          std::to_string(loss) + " " + std::to_string(ranks.bytes_sent()));
      return {};
    });
    expect_all_well();
  };
  double exact_loss = 0, exact_bytes = 0;
  for (const std::string way : {"none", "bf16", "topk:0.1", "powersgd:2", "local"}) {
    const std::string kind = way == "local" ? "none" : way;
    const int local = way == "local" ? 4 : 1;
    trained(kind, local, way + "a", 0);
    EXPECT_EQ(weights(way + "a0"), weights(way + "a1")) << way;
    if (way != "none") trained(kind, local, way + "b.first", 24);
    trained(kind, local, way + "b.then", 0);
    EXPECT_EQ(weights(way + "a0"), weights(way + "b.then0")) << way << ": stopped and continued";
    ASSERT_FALSE(weights(way + "a0").empty());
    double loss = 0, bytes = 0;
    std::istringstream(*read_file(folder_ / (way + "aloss"))) >> loss >> bytes;
    if (way == "none") exact_loss = loss, exact_bytes = bytes;
    EXPECT_LT(loss, exact_loss + 0.3) << way;
    EXPECT_GT(bytes, 0) << way;
    if (way != "none") {
      EXPECT_LT(bytes, 0.51 * exact_bytes + 2000) << way;
    }
  }
}

TEST_F(RanksTest, BatchesOfAnEvaluationAreSharedAndTheScoresStayTheSame) {
  const auto score = [&](int world) {
    run(world, [&](Ranks& ranks) -> Result<void> {
      NAS_TRY(space, load_space("tiny", {.resolutions = {kSide}}));
      NAS_TRY(supernet, Supernet::make(space));
      const BatchStream images = part_of_stream(0, 1);
      const auto build = [&](int, std::int64_t b, Batch& out) { images.read(b, out); };
      const std::vector<Network> networks{space.lower(space.smallest()), space.lower(space.largest())};
      NAS_TRY(scores, evaluate(supernet, networks, {3, build}, {5, build}, &ranks));
      std::string text;
      char one[120];
      for (const Score& s : scores) {
        std::snprintf(one, sizeof one, "%.17g %.17g %.10g %d\n", s.top1, s.top5, s.loss,
                      static_cast<int>(s.images));
        text += one;
      }
      return write_file(folder_ / ("scores" + std::to_string(world) + std::to_string(ranks.rank())), text);
    });
    expect_all_well();
  };
  for (const int world : {1, 2, 4, 7}) score(world);
  const std::string alone = *read_file(folder_ / "scores10");
  EXPECT_THAT(alone, HasSubstr(" 80\n"));
  for (const char* other : {"20", "21", "40", "43", "76"})
    EXPECT_EQ(*read_file(folder_ / ("scores" + std::string(other))), alone) << other;
}

TEST_F(RanksTest, APortInUseAndRanksThatDoNotComeAreSaid) {
  const int port = free_port();
  const int taken = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ASSERT_EQ(::bind(taken, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  const auto refused = Ranks::join({0, 2, "127.0.0.1", port, 3});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::device);
  EXPECT_THAT(to_string(refused.error()), HasSubstr("127.0.0.1:" + std::to_string(port)));
  ::close(taken);
  const auto alone = Ranks::join({0, 2, "127.0.0.1", free_port(), 3});
  ASSERT_FALSE(alone);
  EXPECT_THAT(to_string(alone.error()), HasSubstr("rank 0 of 2: cannot meet the other ranks"));
}

TEST(RankPlace, ComesFromTheLaunchersVariables) {
  for (const char* name : {"RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "MASTER_PORT"})
    ::unsetenv(name);
  EXPECT_EQ(find_rank_place()->world, 1);
  ::setenv("SLURM_PROCID", "2", 1);
  ::setenv("SLURM_NTASKS", "4", 1);
  ::unsetenv("SLURM_STEP_ID");
  EXPECT_EQ(find_rank_place()->world, 1);  // a batch script, not a step
  ::setenv("SLURM_STEP_ID", "0", 1);
  EXPECT_EQ(find_rank_place()->rank, 2);
  ::setenv("RANK", "1", 1);
  ::setenv("WORLD_SIZE", "2", 1);
  ::setenv("MASTER_PORT", "1234", 1);
  const auto place = find_rank_place();
  EXPECT_EQ(place->rank, 1);
  EXPECT_EQ(place->world, 2);
  EXPECT_EQ(place->port, 1234);
  ::setenv("RANK", "2", 1);
  EXPECT_THAT(to_string(find_rank_place().error()),
              HasSubstr("RANK: required: a number from 0 to 1, found \"2\""));
}

}  // namespace
}  // namespace nas::supernet
