#pragma once
#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// Looks at all networks that differ in one gene from a good one. One objective: climbs from the best of some
// random networks until no neighbour is better, then starts again. Several: explores every member of the
// front (Pareto local search, Paquete et al. 2004), then starts again.
class LocalSearch {
 public:
  LocalSearch(Setting setting, std::size_t starts);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  // The row to look around, or -1: start again.
  std::int64_t centre(const History& history) const;
  Variation variation_;
  std::size_t starts_;
  std::uint64_t step_ = 0;
  std::int64_t current_ = -1;  // where the climb stands (one objective), or what was asked about (several)
  std::vector<Row> explored_;  // ascending
};

// Successive halving (Jamieson and Talwalkar 2016) over fidelity: many networks on a few images, the best
// 1 / eta of them on eta times as many, up to all images; then the next bracket.
struct HalvingOptions {
  std::size_t networks = 27;  // of the first rung
  std::size_t eta = 3;
  std::size_t rungs = 3;  // the first has fidelity eta^-(rungs - 1)
};

class SuccessiveHalving {
 public:
  SuccessiveHalving(Setting setting, HalvingOptions options);
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  Variation variation_;
  HalvingOptions options_;
  std::uint64_t bracket_ = 0;
  std::size_t rung_ = 0;
  std::vector<Row> rows_;  // of the rung before
};

}  // namespace nas::search
