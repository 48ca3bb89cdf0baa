#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "supernet/exchange.h"
#include "supernet/ranks.h"
#include "supernet/recipe.h"
#include "supernet/supernet.h"

namespace nas::supernet {

struct PathProgress {
  std::string genotype;
  double loss = 0;
  double accuracy = 0;  // on the training batch
};

// What a finished training step has to say.
struct TrainProgress {
  int phase = 0;  // from 0
  std::string phase_name;
  std::int64_t step = 0;  // over all phases, from 1
  std::int64_t total_steps = 0;
  double epoch = 0;  // over all phases
  double learning_rate = 0;
  double gradient_norm = 0;
  double images_per_second = 0;  // of this step, without waiting for data
  double seconds = 0;            // since training (or its continuation) began
  std::uint64_t bytes_sent = 0;  // by this rank since then
  std::vector<PathProgress> paths;
};

struct TrainOptions {
  std::uint64_t seed = 1;
  std::filesystem::path folder;                       // of checkpoints; empty: none are written
  std::int64_t checkpoint_every = 200;                // steps
  int keep = 2;                                       // checkpoints kept besides the best
  std::string data_fingerprint;                       // a checkpoint of other data is refused
  std::function<void(const TrainProgress&)> on_step;  // called after each step
  std::function<bool()>
      stop;                  // asked before each step; true ends with a checkpoint (any rank's true ends all)
  Ranks* ranks = nullptr;    // that share out every batch; only rank 0 writes checkpoints, all read them
  ExchangeOptions exchange;  // how gradients travel between them
  bool recompute = false;    // activations are made again for the backward pass instead of kept
  // Called at every checkpoint, higher is better; the best one's file is kept as best.safetensors.
  std::function<Result<double>(const Supernet&)> score;
};

struct TrainOutcome {
  std::int64_t steps = 0;
  bool finished = false;  // false: asked to stop
  bool resumed = false;
  double loss = 0;  // of the last step's first path
  double best_score = 0;
};

// Trains the supernet by the recipe. Continues from the newest good checkpoint in the folder: the weights are
// then bit for bit those of a run that was never interrupted. At the end the weights are the moving average
// where the recipe keeps one. A loss that is not finite stops with the step, the sub-network and the last
// checkpoint in the message. With ranks, `batches` gives this rank's part of each batch, of the same size on
// all; the recipe's shards must be a multiple of the ranks. Batch norm sees a shard at a time, so any number
// of ranks computes the same but for the order of sums.
Result<TrainOutcome> train(Supernet& supernet, const SearchSpace& space, const Recipe& recipe,
                           const BatchStream& batches, const TrainOptions& options);

// The same for one network: every path is that network.
Result<TrainOutcome> train(Supernet& supernet, const Network& network, const Recipe& recipe,
                           const BatchStream& batches, const TrainOptions& options);

// Learning rate at a step of a phase: linear warm-up, then cosine to zero or constant.
double learning_rate_at(const OptimizerOptions& options, std::int64_t step, std::int64_t steps,
                        std::int64_t steps_per_epoch);

}  // namespace nas::supernet
