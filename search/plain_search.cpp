#include "search/plain_search.h"

#include <algorithm>

#include "search/rows_json.h"

namespace nas::search {

RandomSearch::RandomSearch(Setting setting, std::size_t batch)
    : variation_(std::move(setting)), batch_(std::max<std::size_t>(batch, 1)) {}

void RandomSearch::ask(const History&, Ask& ask) {
  for (std::size_t i = 0; i < batch_; ++i) {
    Rng rng(variation_.setting().seed, "random search", step_, i);
    variation_.sample(ask.add().genotype, rng);
  }
}

void RandomSearch::tell(const History&, std::span<const Row>) { ++step_; }

void RandomSearch::save(nlohmann::json& out) const { out = {{"step", step_}}; }

Result<void> RandomSearch::load(const nlohmann::json& state) { return read_state(state, "step", step_); }

ExhaustiveSearch::ExhaustiveSearch(Setting setting, std::size_t batch, std::size_t levels)
    : setting_(std::move(setting)), batch_(std::max<std::size_t>(batch, 1)), levels_(levels) {
  const GeneForest& forest = *setting_.forest;
  for (std::size_t gene = 0; gene < forest.size(); ++gene) {
    const std::size_t n = forest.choices(gene);
    const std::size_t keep = levels_ == 0 ? n : std::min(n, levels_);
    auto& choices = grid_.emplace_back();
    for (std::size_t i = 0; i < keep; ++i)
      choices.push_back(static_cast<std::uint8_t>(keep == 1 ? 0 : i * (n - 1) / (keep - 1)));
  }
}

double ExhaustiveSearch::count() const {
  // Below gene g with its parent's choice fixed, subtrees multiply; over a gene's choices they add.
  const GeneForest& forest = *setting_.forest;
  std::vector<std::vector<double>> ways(forest.size());  // by grid choice, children included
  double total = 1;
  for (std::size_t gene = 0; gene < forest.size(); ++gene) ways[gene].assign(grid_[gene].size(), 1.0);
  for (std::size_t gene = forest.size(); gene-- > 0;) {
    double sum = 0;
    for (const double w : ways[gene]) sum += w;
    const int p = forest.parent(gene);
    if (p < 0) {
      total *= sum;
      continue;
    }
    const auto parent = static_cast<std::size_t>(p);
    for (std::size_t i = 0; i < grid_[parent].size(); ++i)
      if (forest.allowed(gene, grid_[parent][i])) ways[parent][i] *= sum;
  }
  return total;
}

bool ExhaustiveSearch::advance(Genotype& g) const {
  const GeneForest& forest = *setting_.forest;
  std::vector<std::uint8_t> active(forest.size());
  forest.activity(g, active);
  for (std::size_t i = forest.size(); i-- > 0;) {
    if (active[i]) {
      const auto up = std::ranges::upper_bound(grid_[i], g[i]);
      if (up != grid_[i].end()) {
        g[i] = *up;
        return true;
      }
    }
    g[i] = 0;
  }
  return false;
}

void ExhaustiveSearch::ask(const History&, Ask& ask) {
  Genotype g(setting_.forest->size());
  if (!cursor_.empty()) std::copy(cursor_.begin(), cursor_.end(), &g[0]);
  bool more = !done_ && (cursor_.empty() || advance(g));
  while (more && ask.count < batch_) {
    Proposal& proposal = ask.add();
    proposal.genotype = g;
    proposal.origin = Origin::enumerated;
    asked_.assign(g.begin(), g.end());
    more = advance(g);
  }
}

void ExhaustiveSearch::tell(const History&, std::span<const Row> rows) {
  if (rows.empty())
    done_ = true;
  else
    cursor_ = asked_;
}

void ExhaustiveSearch::save(nlohmann::json& out) const { out = {{"cursor", cursor_}, {"done", done_}}; }

Result<void> ExhaustiveSearch::load(const nlohmann::json& state) {
  NAS_CHECK(read_state(state, "done", done_));
  NAS_CHECK(read_state(state, "cursor", cursor_));
  if (!cursor_.empty() && cursor_.size() != setting_.forest->size())
    return Error{"saved search state: the cursor has " + std::to_string(cursor_.size()) +
                 " genes, the space " + std::to_string(setting_.forest->size())};
  return {};
}

ListedSearch::ListedSearch(std::vector<Genotype> networks, Origin origin, std::size_t batch)
    : networks_(std::move(networks)), origin_(origin), batch_(std::max<std::size_t>(batch, 1)) {}

void ListedSearch::ask(const History&, Ask& ask) {
  for (std::size_t i = next_; i < std::min(next_ + batch_, networks_.size()); ++i) {
    Proposal& proposal = ask.add();
    proposal.genotype = networks_[i];
    proposal.origin = origin_;
  }
}

void ListedSearch::tell(const History&, std::span<const Row> rows) { next_ += rows.size(); }

void ListedSearch::save(nlohmann::json& out) const { out = {{"next", next_}}; }

Result<void> ListedSearch::load(const nlohmann::json& state) { return read_state(state, "next", next_); }

}  // namespace nas::search
