#include "search/genetic.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "search/hypervolume.h"
#include "search/pareto.h"
#include "search/rows_json.h"

namespace nas::search {
namespace {

std::vector<double> losses_of(const History& history, std::span<const Row> rows) {
  std::vector<double> flat;
  for (const Row row : rows) flat.insert(flat.end(), history.losses(row).begin(), history.losses(row).end());
  return flat;
}

// Removes the rows that add the least hypervolume, one by one, until `keep` are left. The reference lies one
// range beyond the worst of the front, so that the ends are worth most.
void drop_by_volume(const History& history, std::vector<Row>& rows, std::size_t keep) {
  const std::size_t d = history.judge().objectives();
  while (rows.size() > keep) {
    const std::vector<double> flat = losses_of(history, rows);
    const Points points{flat, d};
    std::vector<double> reference(d, -std::numeric_limits<double>::infinity());
    std::vector<double> low(d, std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < points.size(); ++i)
      for (std::size_t k = 0; k < d; ++k) {
        reference[k] = std::max(reference[k], points[i][k]);
        low[k] = std::min(low[k], points[i][k]);
      }
    for (std::size_t k = 0; k < d; ++k) reference[k] += reference[k] > low[k] ? reference[k] - low[k] : 1.0;
    const std::vector<double> lost = hypervolume_contributions(points, reference);
    // Of equals the youngest goes.
    const auto least = std::min_element(lost.rbegin(), lost.rend());
    rows.erase(rows.begin() + (lost.rend() - least - 1));
  }
}

void drop_by_crowding(const History& history, std::vector<Row>& rows, std::size_t keep) {
  const std::vector<double> flat = losses_of(history, rows);
  const std::vector<double> spread = crowding_distance({flat, history.judge().objectives()});
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return spread[a] > spread[b]; });
  order.resize(keep);
  std::ranges::sort(order);
  std::vector<Row> kept;
  for (const std::size_t i : order) kept.push_back(rows[i]);
  rows = std::move(kept);
}

}  // namespace

Survivors survive(const History& history, std::span<const Row> rows, std::size_t keep, Survival survival) {
  const auto fronts = sort_fronts(
      rows.size(), [&](std::size_t a, std::size_t b) { return history.dominates(rows[a], rows[b]); });
  Survivors out;
  for (std::size_t rank = 0; rank < fronts.size() && out.rows.size() < keep; ++rank) {
    std::vector<Row> front;
    for (const std::size_t i : fronts[rank]) front.push_back(rows[i]);
    const std::size_t room = keep - out.rows.size();
    if (front.size() > room && survival == Survival::crowding) drop_by_crowding(history, front, room);
    if (front.size() > room) drop_by_volume(history, front, room);
    const std::vector<double> flat = losses_of(history, front);
    const std::vector<double> spread = crowding_distance({flat, history.judge().objectives()});
    out.rows.insert(out.rows.end(), front.begin(), front.end());
    out.rank.resize(out.rows.size(), rank);
    out.spread.insert(out.spread.end(), spread.begin(), spread.end());
  }
  return out;
}

GeneticSearch::GeneticSearch(Setting setting, GeneticOptions options)
    : variation_(std::move(setting)), options_(options) {
  options_.population = std::max<std::size_t>(options_.population, 4);
  if (options_.mutation <= 0)
    options_.mutation = 1.0 / static_cast<double>(variation_.setting().forest->size());
}

bool GeneticSearch::fresh(const History& history, const Ask& ask, const Genotype& g) const {
  if (history.find({g.data(), g.size()})) return false;
  // The one being made is the last of the ask.
  return std::none_of(ask.proposals.begin(),
                      ask.proposals.begin() + static_cast<std::ptrdiff_t>(ask.count) - 1,
                      [&](const Proposal& p) { return p.genotype == g; });
}

void GeneticSearch::ask(const History& history, Ask& ask) {
  if (population_.empty()) {
    for (std::size_t i = 0; i < options_.population; ++i) {
      Rng rng(variation_.setting().seed, "genetic: first", step_, i);
      Proposal& proposal = ask.add();
      proposal.origin = Origin::initial;
      for (int tries = 0; tries < 8; ++tries) {
        variation_.sample(proposal.genotype, rng);
        if (fresh(history, ask, proposal.genotype)) break;
      }
    }
    return;
  }
  const Survivors parents = survive(history, population_, population_.size(), options_.survival);
  population_ = parents.rows;
  for (std::size_t i = 0; i < options_.population; ++i) breed(history, parents.rank, parents.spread, i, ask);
}

void GeneticSearch::breed(const History& history, std::span<const std::size_t> rank,
                          std::span<const double> spread, std::size_t i, Ask& ask) const {
  Rng rng(variation_.setting().seed, "genetic: child", step_, i);
  const auto tournament = [&] {
    const std::size_t a = rng.below(population_.size()), b = rng.below(population_.size());
    if (rank[a] != rank[b]) return rank[a] < rank[b] ? a : b;
    return spread[a] >= spread[b] ? a : b;
  };
  Proposal& child = ask.add();
  // A network known already would waste the slot: a few tries, then a stronger mutation, then chance.
  for (int tries = 0; tries < 12; ++tries) {
    const Row a = population_[tournament()], b = population_[tournament()];
    child.parent_a = a;
    child.parent_b = -1;
    child.origin = Origin::mutation;
    Genotype base = history.genotype(a);
    if (a != b && rng.chance(options_.crossover)) {
      child.parent_b = b;
      child.origin = Origin::crossover;
      Genotype crossed = base;
      variation_.crossover(base, history.genotype(b), crossed, rng);
      base = std::move(crossed);
    }
    const bool crossed = child.origin == Origin::crossover;
    if (crossed && fresh(history, ask, base) && !rng.chance(0.8)) {
      child.genotype = base;
      return;
    }
    variation_.mutate_genes(base, child.genotype, rng, options_.mutation * (tries < 6 ? 1 : 3));
    if (fresh(history, ask, child.genotype)) return;
  }
  variation_.sample(child.genotype, rng);
  child.origin = Origin::random;
  child.parent_a = child.parent_b = -1;
}

void GeneticSearch::tell(const History& history, std::span<const Row> rows) {
  ++step_;
  std::vector<Row> pool = population_;
  pool.insert(pool.end(), rows.begin(), rows.end());
  std::ranges::sort(pool);
  pool.erase(std::ranges::unique(pool).begin(), pool.end());
  population_ = survive(history, pool, options_.population, options_.survival).rows;
}

void GeneticSearch::save(nlohmann::json& out) const { out = {{"step", step_}, {"population", population_}}; }

Result<void> GeneticSearch::load(const nlohmann::json& state) {
  NAS_CHECK(read_state(state, "step", step_));
  return read_state(state, "population", population_);
}

}  // namespace nas::search
