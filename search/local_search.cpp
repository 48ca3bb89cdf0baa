#include "search/local_search.h"

#include <algorithm>
#include <cmath>

#include "search/genetic.h"
#include "search/rows_json.h"

namespace nas::search {

LocalSearch::LocalSearch(Setting setting, std::size_t starts)
    : variation_(std::move(setting)), starts_(std::max<std::size_t>(starts, 1)) {}

std::int64_t LocalSearch::centre(const History& history) const {
  if (variation_.setting().objectives == 1) return current_;
  for (const Row row : history.front())
    if (!std::ranges::binary_search(explored_, row)) return row;
  return -1;
}

void LocalSearch::ask(const History& history, Ask& ask) {
  const Setting& setting = variation_.setting();
  const std::int64_t at = centre(history);
  current_ = at;
  if (at >= 0) {
    const Genotype here = history.genotype(static_cast<Row>(at));
    std::vector<Genotype> around;
    if (!setting.listing) {
      around = setting.space.neighbours(here);
    } else {
      for (std::uint64_t i = 0; i < 2 * setting.forest->size(); ++i) {
        Rng rng(setting.seed, "local search: near", step_, i);
        around.emplace_back(here);
        variation_.mutate_genes(here, around.back(), rng, 1.0 / static_cast<double>(setting.forest->size()));
      }
    }
    for (Genotype& g : around) {
      if (!variation_.passes(g)) continue;
      Proposal& proposal = ask.add();
      proposal.genotype = std::move(g);
      proposal.origin = Origin::neighbour;
      proposal.parent_a = at;
    }
  }
  // Nothing to look around, or every neighbour breaks a limit.
  const std::size_t starts = ask.count == 0 ? starts_ : 0;
  for (std::size_t k = 0; k < starts; ++k) {
    Rng rng(setting.seed, "local search: start", step_, k);
    variation_.sample(ask.add().genotype, rng);
  }
}

void LocalSearch::tell(const History& history, std::span<const Row> rows) {
  ++step_;
  if (variation_.setting().objectives > 1) {
    if (current_ >= 0)
      explored_.insert(std::ranges::lower_bound(explored_, current_), static_cast<Row>(current_));
    return;
  }
  std::int64_t best = current_;
  for (const Row row : rows)
    if (best < 0 || history.better(row, static_cast<Row>(best))) best = row;
  // A climb whose neighbours are no better has ended: start again.
  current_ = best == current_ ? -1 : best;
}

void LocalSearch::save(nlohmann::json& out) const {
  out = {{"step", step_}, {"current", current_}, {"explored", explored_}};
}

Result<void> LocalSearch::load(const nlohmann::json& state) {
  NAS_CHECK(read_state(state, "step", step_));
  NAS_CHECK(read_state(state, "current", current_));
  return read_state(state, "explored", explored_);
}

SuccessiveHalving::SuccessiveHalving(Setting setting, HalvingOptions options)
    : variation_(std::move(setting)), options_(options) {
  options_.eta = std::max<std::size_t>(options_.eta, 2);
  options_.rungs = std::max<std::size_t>(options_.rungs, 1);
  options_.networks = std::max<std::size_t>(options_.networks, 1);
}

void SuccessiveHalving::ask(const History& history, Ask& ask) {
  const auto eta = static_cast<double>(options_.eta);
  ask.fidelity = std::pow(eta, -static_cast<double>(options_.rungs - 1 - rung_));
  if (rung_ == 0) {
    for (std::size_t i = 0; i < options_.networks; ++i) {
      Rng rng(variation_.setting().seed, "halving", bracket_, i);
      variation_.sample(ask.add().genotype, rng);
    }
    return;
  }
  const std::size_t keep = std::max<std::size_t>(1, rows_.size() / options_.eta);
  for (const Row row : survive(history, rows_, keep, Survival::crowding).rows) {
    Proposal& proposal = ask.add();
    proposal.genotype = history.genotype(row);
    proposal.origin = Origin::promoted;
    proposal.parent_a = row;
  }
}

void SuccessiveHalving::tell(const History&, std::span<const Row> rows) {
  rows_.assign(rows.begin(), rows.end());
  std::ranges::sort(rows_);
  rows_.erase(std::ranges::unique(rows_).begin(), rows_.end());
  if (++rung_ == options_.rungs) rung_ = 0, ++bracket_;
}

void SuccessiveHalving::save(nlohmann::json& out) const {
  out = {{"bracket", bracket_}, {"rung", rung_}, {"rows", rows_}};
}

Result<void> SuccessiveHalving::load(const nlohmann::json& state) {
  NAS_CHECK(read_state(state, "bracket", bracket_));
  NAS_CHECK(read_state(state, "rung", rung_));
  if (rung_ >= options_.rungs)
    return Error{"saved search state: rung " + std::to_string(rung_) + " does not exist"};
  return read_state(state, "rows", rows_);
}

}  // namespace nas::search
