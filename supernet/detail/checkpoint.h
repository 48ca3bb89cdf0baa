#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "supernet/detail/optimizer.h"
#include "supernet/detail/supernet_impl.h"

namespace nas::supernet {

// Where a training run stands, besides its tensors.
struct TrainState {
  int phase = 0;
  std::int64_t phase_step = 0;  // steps done in the phase
  std::int64_t step = 0;        // steps done in all
  double best_score = 0;
  bool has_best = false;
};

// What must agree between a checkpoint and the run that continues it.
struct RunIdentity {
  std::string space_fingerprint, recipe_hash, data_fingerprint;
  std::uint64_t seed = 0;
};

TensorFile pack_checkpoint(const TrainState& state, const RunIdentity& identity, const WeightTable& weights,
                           Optimizer& optimizer, const std::optional<WeightTable>& teacher);
// Checks everything before it changes anything.
Result<TrainState> unpack_checkpoint(const TensorFile& file, const RunIdentity& identity,
                                     WeightTable& weights, Optimizer& optimizer,
                                     std::optional<WeightTable>& teacher);

std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step);
// Checkpoint files, newest first.
std::vector<std::filesystem::path> checkpoints_in(const std::filesystem::path& folder);

// A rank's own file beside the checkpoint of a step: what it owed the others then. Only the newest `keep`
// stay. Loading changes nothing where there is none for this rank, number of ranks and kind of exchange (its
// text): the rank then starts owing nothing.
Result<void> save_owed(const std::filesystem::path& folder, std::int64_t step, const Ranks& ranks,
                       const std::string& exchange, const ExchangeHook& hook, int keep);
Result<void> load_owed(const std::filesystem::path& folder, std::int64_t step, const Ranks& ranks,
                       const std::string& exchange, ExchangeHook& hook);

}  // namespace nas::supernet
