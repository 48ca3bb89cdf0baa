#pragma once
#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// Predictor in the loop (LINAS, Cummings et al. 2022; BANANAS, White et al. 2021): fits an ensemble of ridge
// regressions on one-hot genes (and pairs of genes of one block and with root genes, where few enough) to all
// scored candidates, lets NSGA-II search on the predictions, and asks for the most promising networks and for
// those among them on which the ensemble disagrees most.
struct PredictorOptions {
  std::size_t initial = 60;
  std::size_t batch = 30;
  double uncertain = 0.2;    // share of the batch
  std::size_t inner = 1500;  // predicted networks per step
  std::size_t members = 3;   // of the ensemble
  std::size_t max_features = 400;
};

class PredictorSearch {
 public:
  PredictorSearch(Setting setting, PredictorOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  struct Ensemble;
  void features(const Genotype& g, std::span<double> out) const;
  // Null while too few candidates were scored or a fit failed.
  std::shared_ptr<const Ensemble> fit(const History& history) const;
  void propose(const History& history, std::shared_ptr<const Ensemble> ensemble, Ask& ask) const;
  void add_random(const History& history, std::size_t count, Ask& ask) const;
  Variation variation_;
  PredictorOptions options_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs_;  // genes that get joint features
  std::size_t feature_count_ = 0;
  std::uint64_t step_ = 0;
};

}  // namespace nas::search
