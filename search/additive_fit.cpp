#include "search/additive_fit.h"

#include <algorithm>
#include <set>

#include "space/learn/split.h"

namespace nas::search {

AdditiveFeatures::AdditiveFeatures(const SearchSpace& space, Kind kind)
    : space_(space), forest_(std::make_shared<const GeneForest>(space)) {
  const bool blocks = kind == Kind::blocks_and_area;
  if (blocks) resolution_ = space.find("resolution");
  const auto add = [&](const std::vector<std::uint32_t>& genes) {
    Group group{genes, columns_, 1};
    for (const std::uint32_t gene : genes) group.choices *= forest_->choices(gene);
    columns_ += group.choices * (resolution_ >= 0 ? 2 : 1);
    groups_.push_back(std::move(group));
  };
  if (blocks)
    for (const auto& genes : forest_->groups()) add(genes);
  else
    for (std::uint32_t gene = 0; gene < forest_->size(); ++gene) add({gene});
}

std::size_t AdditiveFeatures::choice(const Group& group, const Genotype& g) const {
  std::size_t index = 0;
  for (const std::uint32_t gene : group.genes) index = index * forest_->choices(gene) + g[gene];
  return index;
}

bool AdditiveFeatures::active(const Group& group, std::span<const std::uint8_t> activity) const {
  return std::ranges::any_of(group.genes, [&](std::uint32_t gene) { return activity[gene] != 0; });
}

double AdditiveFeatures::area(const Genotype& g) const {
  const auto gene = static_cast<std::size_t>(resolution_);
  const auto& choices = space_.genes()[gene].choices;
  const double side = choices[g[gene]].value / choices.back().value;
  return side * side;
}

void AdditiveFeatures::encode(const Genotype& g, std::span<double> out) const {
  std::ranges::fill(out, 0.0);
  std::vector<std::uint8_t> activity(forest_->size());
  forest_->activity(g, activity);
  for (const Group& group : groups_) {
    if (!active(group, activity)) continue;
    const std::size_t at = group.first + choice(group, g);
    out[at] = 1;
    if (resolution_ >= 0) out[at + group.choices] = area(g);
  }
}

std::vector<std::uint32_t> AdditiveFeatures::scope(const Group& group) const {
  std::set<std::uint32_t> genes(group.genes.begin(), group.genes.end());
  for (const std::uint32_t gene : group.genes)
    for (int p = forest_->parent(gene); p >= 0; p = forest_->parent(static_cast<std::size_t>(p)))
      genes.insert(static_cast<std::uint32_t>(p));
  if (resolution_ >= 0) genes.insert(static_cast<std::uint32_t>(resolution_));
  return {genes.begin(), genes.end()};
}

Additive AdditiveFeatures::additive(const learn::Linear& line) const {
  std::vector<Term> terms;
  Genotype g(forest_->size());
  std::vector<std::uint8_t> activity(forest_->size());
  for (const Group& group : groups_) {
    Term term{scope(group), {}};
    std::size_t size = 1;
    for (const std::uint32_t gene : term.genes) size *= forest_->choices(gene);
    for (std::size_t entry = 0; entry < size; ++entry) {
      std::size_t rest = entry;
      for (std::size_t i = term.genes.size(); i-- > 0; rest /= forest_->choices(term.genes[i]))
        g[term.genes[i]] = static_cast<std::uint8_t>(rest % forest_->choices(term.genes[i]));
      // Only the scope's genes are read, so the others may hold anything.
      Genotype canonical = g;
      forest_->canonicalise(canonical);
      forest_->activity(canonical, activity);
      double value = 0;
      if (active(group, activity)) {
        const std::size_t at = group.first + choice(group, canonical);
        value = line.coefficients[at];
        if (resolution_ >= 0) value += line.coefficients[at + group.choices] * area(canonical);
      }
      term.table.push_back(value);
    }
    terms.push_back(std::move(term));
  }
  // Scopes come from the space itself, sorted: make() has nothing to refuse.
  return *Additive::make(space_, line.intercept, std::move(terms));
}

Result<AdditiveFit> fit_latency(const SearchSpace& space, std::span<const Genotype> networks,
                                std::span<const double> latency) {
  if (networks.size() != latency.size() || networks.size() < 30)
    return usage_error("latency model: needs 30 measured networks or more, found " +
                       std::to_string(networks.size()));
  const AdditiveFeatures features(space, AdditiveFeatures::Kind::blocks_and_area);
  learn::Matrix x(networks.size(), features.columns());
  for (std::size_t i = 0; i < networks.size(); ++i) features.encode(networks[i], x.row(i));
  const auto split = learn::split_rows(networks.size());
  NAS_TRY(line,
          learn::fit_ridge(learn::take_rows(x, split.train), learn::take(latency, split.train), {1e-5, 0}));
  NAS_TRY(error,
          learn::evaluate(learn::take(latency, split.test), line.predict(learn::take_rows(x, split.test))));
  return AdditiveFit{features.additive(line), error, split.train.size()};
}

}  // namespace nas::search
