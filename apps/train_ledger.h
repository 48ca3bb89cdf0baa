#pragma once
#include <map>
#include <string>
#include <vector>

#include "apps/ledger.h"
#include "apps/train_job.h"
#include "supernet/evaluate.h"

// What training, sweeps and checks leave in the project's store: data set, space, supernet, checkpoint,
// curves and every accuracy that was measured.
namespace nas::apps {

// Networks of a supernet with what was measured of them.
struct ScoredNetworks {
  std::vector<std::string> names;  // "smallest", "largest", a genotype's text, …
  std::vector<supernet::Score> scores;
  double seconds = 0;  // all together
};

// A training run.
class TrainLedger {
 public:
  // `what`: "supernet" or the network trained alone. `leads`: this process keeps the run; others keep
  // nothing.
  TrainLedger(const Context& context, const TrainConfig& config, const TrainJob& job, const std::string& what,
              bool leads);
  // The finished weights, the curves of metrics.jsonl beside them, and the first scores.
  void finish(const std::filesystem::path& weights, std::int64_t steps, const std::string& recipe,
              const ScoredNetworks& scored);
  Result<int> end(Result<int> result) { return ledger_.end(std::move(result)); }

 private:
  const TrainConfig& config_;
  const TrainJob& job_;
  Ledger ledger_;
};

// Keeps accuracies measured with the weights of that SHA-256; nothing where the store does not know these.
void keep_scores(Ledger& ledger, const TrainJob& job, const std::string& weights, data::Split split,
                 const ScoredNetworks& scored);

// Top-1 shares that the store holds for these weights, by the genotype's text: measured before, on the same
// images. None where the store cannot be read.
std::map<std::string, double> known_scores(const Context& context, const TrainJob& job,
                                           const std::string& weights, data::Split split);

// A run that measures sub-networks of finished weights ("sweep", "check"), with its origin.
results::Run scoring_run(const std::string& kind, const std::string& name, const TrainJob& job,
                         const std::string& weights, const nlohmann::ordered_json& config);
// Links the run with its space and checkpoint, and begins it.
void begin_scoring(Ledger& ledger, results::Run run, const TrainJob& job, const std::string& weights);

}  // namespace nas::apps
