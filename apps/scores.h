#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/train_ledger.h"

// Accuracies of sub-networks: measured, and as rows of a listing.
namespace nas::apps {

extern const std::vector<Column> kScoreColumns;

nlohmann::ordered_json score_record(const std::string& name, const supernet::Score& s);
std::vector<nlohmann::ordered_json> to_records(const ScoredNetworks& scored);

// Scores sub-networks by name with recalibrated batch norm; the supernet stays as it is. Ranks share the
// batches; all call it alike and get the same.
Result<ScoredNetworks> score_all(const TrainJob& job, const supernet::Supernet& supernet,
                                 const std::vector<std::string>& names, data::Split split,
                                 supernet::Ranks* ranks = nullptr);

}  // namespace nas::apps
