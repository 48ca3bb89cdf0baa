#pragma once
#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// Independent uniform draws per gene.
class RandomSearch {
 public:
  RandomSearch(Setting setting, std::size_t batch);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  Variation variation_;
  std::size_t batch_;
  std::uint64_t step_ = 0;
};

// Every canonical genotype in lexicographic order, or, with `levels` > 0, the grid of at most that many
// evenly spaced choices per gene, first and last included.
class ExhaustiveSearch {
 public:
  ExhaustiveSearch(Setting setting, std::size_t batch, std::size_t levels = 0);
  // Networks that the grid holds, exact while below 2^53, else rounded.
  double count() const;
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  // Moves to the next genotype of the grid; false after the last.
  bool advance(Genotype& g) const;
  Setting setting_;
  std::size_t batch_;
  std::size_t levels_;
  std::vector<std::vector<std::uint8_t>> grid_;  // the choices per gene
  std::vector<std::uint8_t> cursor_;             // the last one asked; empty before the first
  std::vector<std::uint8_t> asked_;              // becomes the cursor when answered
  bool done_ = false;
};

// Asks for given networks, in order: the exact front of a model, the front of another run.
class ListedSearch {
 public:
  ListedSearch(std::vector<Genotype> networks, Origin origin, std::size_t batch);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  std::vector<Genotype> networks_;
  Origin origin_;
  std::size_t batch_;
  std::size_t next_ = 0;
};

}  // namespace nas::search
