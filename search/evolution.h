#pragma once
#include <nlohmann/json_fwd.hpp>

#include <deque>
#include <string>
#include <vector>

#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// Ageing evolution (Real et al. 2019, "Regularized evolution for image classifier architecture search"): the
// best of a random sample is mutated, the oldest dies. Follows the first objective, limits before all.
struct AgeingOptions {
  std::size_t population = 50;
  std::size_t sample = 12;  // tournament size
  std::size_t batch = 8;    // children per step
  double mutation = 0;      // per gene; 0: one gene in the mean
};

class AgeingEvolution {
 public:
  AgeingEvolution(Setting setting, AgeingOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  Variation variation_;
  AgeingOptions options_;
  std::uint64_t step_ = 0;
  std::deque<Row> population_;  // oldest first
};

// The once-for-all evolution (Cai et al. 2020): the best quarter become parents; half of the next generation
// are mutated, half crossed. Unlike its released finder, parents are different networks, an unreachable limit
// cannot hang it (the screen repairs), and the last generation counts (the history keeps all).
struct OfaOptions {
  std::size_t population = 100;
  double parents = 0.25;  // share of the population
  double mutated = 0.5;   // share of the children
  double mutation = 0.1;  // per block
  double resolution_mutation = 0.5;
  std::size_t generations = 0;  // 0: until the budget ends
};

class OfaEvolution {
 public:
  OfaEvolution(Setting setting, OfaOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  void breed(std::size_t i, Proposal& child) const;
  Variation variation_;
  OfaOptions options_;
  std::uint64_t step_ = 0;
  std::vector<Row> parents_;            // best first
  std::vector<Genotype> parent_genes_;  // of parents_, kept to spare copies
  std::vector<Row> pool_;               // scratch
};

}  // namespace nas::search
