#include "search/evolution.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

#include "search/rows_json.h"

namespace nas::search {
AgeingEvolution::AgeingEvolution(Setting setting, AgeingOptions options)
    : variation_(std::move(setting)), options_(options) {
  options_.population = std::max<std::size_t>(options_.population, 2);
  options_.sample = std::clamp<std::size_t>(options_.sample, 1, options_.population);
  options_.batch = std::max<std::size_t>(options_.batch, 1);
  if (options_.mutation <= 0)
    options_.mutation = 1.0 / static_cast<double>(variation_.setting().forest->size());
}

void AgeingEvolution::ask(const History& history, Ask& ask) {
  const std::uint64_t seed = variation_.setting().seed;
  if (population_.size() < options_.population) {
    for (std::size_t i = 0; i < options_.population; ++i) {
      Rng rng(seed, "ageing: first", step_, i);
      Proposal& proposal = ask.add();
      variation_.sample(proposal.genotype, rng);
      proposal.origin = Origin::initial;
    }
    return;
  }
  for (std::size_t i = 0; i < options_.batch; ++i) {
    Rng rng(seed, "ageing: child", step_, i);
    Row best = population_[rng.below(population_.size())];
    for (std::size_t k = 1; k < options_.sample; ++k) {
      const Row rival = population_[rng.below(population_.size())];
      if (history.better(rival, best)) best = rival;
    }
    Proposal& proposal = ask.add();
    variation_.mutate_genes(history.genotype(best), proposal.genotype, rng, options_.mutation);
    proposal.origin = Origin::mutation;
    proposal.parent_a = best;
  }
}

void AgeingEvolution::tell(const History&, std::span<const Row> rows) {
  ++step_;
  for (const Row row : rows) {
    population_.push_back(row);
    if (population_.size() > options_.population) population_.pop_front();
  }
}

void AgeingEvolution::save(nlohmann::json& out) const {
  out = {{"step", step_}, {"population", std::vector<Row>(population_.begin(), population_.end())}};
}

Result<void> AgeingEvolution::load(const nlohmann::json& state) {
  std::vector<Row> rows;
  NAS_CHECK(read_state(state, "step", step_));
  NAS_CHECK(read_state(state, "population", rows));
  population_.assign(rows.begin(), rows.end());
  return {};
}

OfaEvolution::OfaEvolution(Setting setting, OfaOptions options)
    : variation_(std::move(setting)), options_(options) {
  options_.population = std::max<std::size_t>(options_.population, 2);
}

void OfaEvolution::ask(const History&, Ask& ask) {
  if (options_.generations > 0 && step_ > options_.generations) return;
  for (std::size_t i = 0; i < options_.population; ++i) ask.add();
  tbb::parallel_for(std::size_t{0}, options_.population, [&](std::size_t i) { breed(i, ask.proposals[i]); });
}

void OfaEvolution::breed(std::size_t i, Proposal& child) const {
  Rng rng(variation_.setting().seed, "once-for-all evolution", step_, i);
  if (parents_.empty()) {
    variation_.sample(child.genotype, rng);
    child.origin = Origin::initial;
    return;
  }
  const auto mutants =
      static_cast<std::size_t>(std::lround(options_.mutated * static_cast<double>(options_.population)));
  const std::size_t a = rng.below(parents_.size());
  child.parent_a = parents_[a];
  if (i < mutants) {
    variation_.mutate(parent_genes_[a], child.genotype, rng, options_.mutation, options_.resolution_mutation);
    child.origin = Origin::mutation;
    return;
  }
  const std::size_t b = rng.below(parents_.size());
  child.parent_b = parents_[b];
  variation_.crossover(parent_genes_[a], parent_genes_[b], child.genotype, rng);
  child.origin = Origin::crossover;
}

void OfaEvolution::tell(const History& history, std::span<const Row> rows) {
  ++step_;
  pool_.assign(parents_.begin(), parents_.end());
  pool_.insert(pool_.end(), rows.begin(), rows.end());
  std::ranges::sort(pool_);
  pool_.erase(std::ranges::unique(pool_).begin(), pool_.end());
  const double share = options_.parents * static_cast<double>(options_.population);
  const std::size_t keep =
      std::min(pool_.size(), std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(share))));
  std::ranges::partial_sort(pool_, pool_.begin() + static_cast<std::ptrdiff_t>(keep),
                            [&](Row a, Row b) { return history.better(a, b); });
  parents_.assign(pool_.begin(), pool_.begin() + static_cast<std::ptrdiff_t>(keep));
  parent_genes_.resize(parents_.size());
  for (std::size_t i = 0; i < parents_.size(); ++i) parent_genes_[i] = history.genotype(parents_[i]);
}

void OfaEvolution::save(nlohmann::json& out) const {
  std::vector<std::vector<std::uint8_t>> genes;
  for (const Genotype& g : parent_genes_) genes.emplace_back(g.begin(), g.end());
  out = {{"step", step_}, {"parents", parents_}, {"genes", genes}};
}

Result<void> OfaEvolution::load(const nlohmann::json& state) {
  std::vector<std::vector<std::uint8_t>> genes;
  NAS_CHECK(read_state(state, "step", step_));
  NAS_CHECK(read_state(state, "parents", parents_));
  NAS_CHECK(read_state(state, "genes", genes));
  if (genes.size() != parents_.size()) return Error{"saved search state: parents and genes differ in number"};
  parent_genes_.clear();
  for (const auto& row : genes) {
    if (row.size() != variation_.setting().forest->size())
      return Error{"saved search state: a parent has another number of genes than the space"};
    Genotype g(row.size());
    std::ranges::copy(row, &g[0]);
    parent_genes_.push_back(std::move(g));
  }
  return {};
}

}  // namespace nas::search
