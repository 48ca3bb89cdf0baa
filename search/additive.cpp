#include "search/additive.h"

#include <algorithm>

#include "search/exact.h"

namespace nas::search {

Result<TermTables> TermTables::make(const SearchSpace& space, std::vector<Term> terms) {
  TermTables tables;
  const auto genes = space.genes();
  for (const Term& term : terms) {
    std::size_t size = 1;
    for (std::size_t i = 0; i < term.genes.size(); ++i) {
      if (term.genes[i] >= genes.size() || (i > 0 && term.genes[i] <= term.genes[i - 1]))
        return usage_error("cost tables: a term's genes must be known, ascending and different");
      size *= genes[term.genes[i]].choices.size();
    }
    if (term.table.size() != size)
      return usage_error("cost tables: a term needs " + std::to_string(size) + " numbers, found " +
                         std::to_string(term.table.size()));
    std::size_t stride = size;
    for (const std::uint32_t gene : term.genes) {
      stride /= genes[gene].choices.size();
      tables.access_.push_back({gene, static_cast<std::uint32_t>(stride)});
    }
    tables.end_.push_back(static_cast<std::uint32_t>(tables.access_.size()));
    tables.start_.push_back(tables.flat_.size());
    tables.flat_.insert(tables.flat_.end(), term.table.begin(), term.table.end());
  }
  tables.terms_ = std::move(terms);
  return tables;
}

void TermTables::scale(double factor) {
  for (double& x : flat_) x *= factor;
  for (Term& term : terms_)
    for (double& x : term.table) x *= factor;
}

Result<Additive> Additive::make(const SearchSpace& space, double constant, std::vector<Term> terms) {
  Additive additive;
  additive.constant_ = constant;
  NAS_TRY(tables, TermTables::make(space, std::move(terms)));
  additive.tables_ = std::move(tables);
  return additive;
}

double Additive::operator()(std::span<const std::uint8_t> genes) const {
  double sum = constant_;
  tables_.look_up(genes, [&sum](double value) { sum += value; });
  return sum;
}

Additive Additive::scaled(double factor) const {
  Additive other = *this;
  other.constant_ *= factor;
  other.tables_.scale(factor);
  return other;
}

Result<Range> range(const SearchSpace& space, const Additive& cost) {
  Range range;
  for (const double sign : {1.0, -1.0}) {
    const Additive signed_cost = cost.scaled(sign);
    NAS_TRY(front, exact_front(space, {&signed_cost, 1}));
    const Genotype g = front.genotype(0);
    (sign > 0 ? range.min : range.max) = cost(g);
    (sign > 0 ? range.at_min : range.at_max) = g;
  }
  return range;
}

}  // namespace nas::search
