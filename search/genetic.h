#pragma once
#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// Who stays of the last front that fits only in part.
enum class Survival {
  crowding,     // NSGA-II (Deb et al. 2002): the lonely ones
  hypervolume,  // SMS-EMOA (Beume, Naujoks, Emmerich 2007): drop, one by one, who adds the least volume
};

struct GeneticOptions {
  std::size_t population = 40;
  double crossover = 0.9;
  double mutation = 0;  // per gene; 0: one gene in the mean
  Survival survival = Survival::crowding;
};

// Multi-objective evolution with constraint domination.
class GeneticSearch {
 public:
  GeneticSearch(Setting setting, GeneticOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  bool fresh(const History& history, const Ask& ask, const Genotype& g) const;
  void breed(const History& history, std::span<const std::size_t> rank, std::span<const double> spread,
             std::size_t i, Ask& ask) const;
  Variation variation_;
  GeneticOptions options_;
  std::uint64_t step_ = 0;
  std::vector<Row> population_;
};

// The best `keep` of `rows` (different rows) by front, then by survival; ascending rank. Also gives the rank
// of every survivor and its crowding distance.
struct Survivors {
  std::vector<Row> rows;
  std::vector<std::size_t> rank;
  std::vector<double> spread;
};
Survivors survive(const History& history, std::span<const Row> rows, std::size_t keep, Survival survival);

}  // namespace nas::search
