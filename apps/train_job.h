#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "space/search_space.h"
#include "supernet/feeds.h"

namespace nas::apps {

// A training run as the user gives it, by options or as a JSON file; kept in the run's folder.
struct TrainConfig {
  std::string space = "tiny", data = "procedural:", recipe = "sandwich", out;
  std::string device = "cpu";
  std::uint64_t seed = 1;
  std::optional<std::uint64_t> order;  // of training batches alone (FeedOptions); no part of the file
  int batch = 64;
  int shards = 0;                 // 0: the recipe's
  double length = 1;              // all epochs times this
  std::string compress = "none";  // gradients between ranks
  int local_steps = 1;            // between two averages of the ranks' weights
  bool recompute = false;         // activations instead of keeping them
  std::int64_t checkpoint_every = 200;
  bool skip_bad = false;
  std::vector<int> resolutions;  // empty: the space's own
};

nlohmann::ordered_json to_record(const TrainConfig& config);
// Reads a configuration over the values that `config` has.
Result<void> read_train_config(const std::string& path, TrainConfig& config);

// The images and the space that fits them.
struct TrainJob {
  supernet::Feeds feeds;
  SearchSpace space;
};
// `rank` of `world` gets its part of every training batch.
Result<TrainJob> open_train_job(const TrainConfig& config, int rank = 0, int world = 1);

// "smallest", "middle", "largest" or a genotype's text.
Result<Genotype> genotype_named(const SearchSpace& space, const std::string& text);
Result<Network> network_named(const SearchSpace& space, const std::string& text);

}  // namespace nas::apps
