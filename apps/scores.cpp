#include "apps/scores.h"

#include <chrono>

namespace nas::apps {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

Record score_record(const std::string& name, const Score& s) {
  return {{"network", name}, {"top1", s.top1}, {"top1_low", s.top1_low}, {"top1_high", s.top1_high},
          {"top5", s.top5},  {"loss", s.loss}, {"images", s.images}};
}

const std::vector<Column> kScoreColumns = {
    {"network", "network"}, {"top1", "top-1"}, {"top1_low", "95 % from"}, {"top1_high", "to"},
    {"top5", "top-5"},      {"loss", "loss"},  {"images", "images"}};

Result<ScoredNetworks> score_all(const TrainJob& job, const Supernet& supernet,
                                 const std::vector<std::string>& names, data::Split split, Ranks* ranks) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Network> networks;
  for (const std::string& name : names) {
    NAS_TRY(network, network_named(job.space, name));
    networks.push_back(std::move(network));
  }
  NAS_TRY(scores, evaluate(supernet, networks, job.feeds.recalibration(), job.feeds.scoring(split), ranks));
  return ScoredNetworks{names, std::move(scores),
                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

std::vector<Record> to_records(const ScoredNetworks& scored) {
  std::vector<Record> records;
  for (std::size_t i = 0; i < scored.names.size(); ++i)
    records.push_back(score_record(scored.names[i], scored.scores[i]));
  return records;
}

}  // namespace nas::apps
