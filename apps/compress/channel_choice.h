#pragma once
#include <nlohmann/json.hpp>

#include <span>
#include <vector>

#include "apps/compress/compress_options.h"
#include "apps/compress/costs.h"
#include "apps/export/subject.h"
#include "supernet/batch.h"
#include "supernet/prune/prune.h"

namespace nas::apps {

// Images as a list of batches, for recalibration and losses.
supernet::BatchList batches_of(const LabelledImages& images, int resolution);

// Images that channels are chosen by, from the recalibration split.
struct ChoiceImages {
  LabelledImages scoring;      // importances
  std::span<const Image> few;  // errors of single groups
  LabelledImages loss;         // of a search for ratios
};

// Decides how many channels of each group stay, and which.
class ChannelChoice {
 public:
  ChannelChoice(const CompressOptions& options, const CompressCosts& costs, const ChoiceImages& images)
      : o_(options), costs_(costs), images_(images) {}

  // Channels that stay per group, as the request says. Fails (infeasible) with what the narrowest network
  // costs where a limit cannot be held. A search leaves what it found in `record`["ratio_search"].
  Result<std::vector<std::int32_t>> counts(const supernet::TrainedNetwork& network,
                                           const std::vector<supernet::ChannelGroup>& groups,
                                           const PruneRequest& request, nlohmann::ordered_json& record) const;
  // The network with the best so many channels of each group.
  Result<supernet::TrainedNetwork> pruned(const supernet::TrainedNetwork& network,
                                          const std::vector<supernet::ChannelGroup>& groups,
                                          supernet::Importance how,
                                          const std::vector<std::int32_t>& counts) const;

 private:
  using Scores = std::vector<std::vector<double>>;
  struct Seen {
    std::vector<supernet::ChannelStatistics> statistics;
    Scores scores;
  };
  Result<Seen> look(const supernet::TrainedNetwork& network,
                    const std::vector<supernet::ChannelGroup>& groups, supernet::Importance how,
                    std::span<const Image> images) const;
  Result<std::vector<std::int32_t>> uniform(const Network& network,
                                            const std::vector<supernet::ChannelGroup>& groups,
                                            const CompressCosts::Target& target) const;
  Result<double> loss_of(const supernet::TrainedNetwork& network) const;
  Result<std::vector<std::int32_t>> searched(const supernet::TrainedNetwork& network,
                                             const std::vector<supernet::ChannelGroup>& groups,
                                             const Seen& seen, const supernet::PruneSensitivity& sensitivity,
                                             const CompressCosts::Target& target,
                                             nlohmann::ordered_json& record) const;

  const CompressOptions& o_;
  const CompressCosts& costs_;
  const ChoiceImages& images_;
};

}  // namespace nas::apps
