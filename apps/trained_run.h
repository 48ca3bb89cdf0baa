#pragma once
#include <filesystem>
#include <string>

#include "apps/accuracy_file.h"
#include "apps/train_job.h"
#include "supernet/supernet_file.h"

namespace nas::apps {

// A finished training run: its folder's configuration, images, space and weights; of a run with --network
// those of that network alone.
struct TrainedRun {
  TrainConfig config;
  TrainJob job;
  supernet::LoadedSupernet loaded;
  std::filesystem::path weights;  // their file
  std::string digest;             // its SHA-256
};

// `data`: other images than the run's own. A run that has not finished is refused with how to finish it.
Result<TrainedRun> open_trained_run(const std::filesystem::path& folder, const std::string& data = {});

// Names of networks are from now on those of another space whose layers are the run's, with genes of bits or
// rank besides (as open_space() takes it; empty: the run's own). Fails where the run's weights do not hold
// its largest network.
inline constexpr const char* kSpaceHelp =
    "Networks of another space whose layers are the run's: with genes of bits or rank besides (or the file "
    "of "
    "a sweep of it)";
Result<void> use_space(TrainedRun& run, const std::string& space);

// What a file of accuracies of this run's sub-networks says of where they come from; no accuracies yet.
AccuracyFile accuracy_header(const TrainedRun& run);

}  // namespace nas::apps
