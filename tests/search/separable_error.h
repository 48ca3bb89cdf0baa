#pragma once
#include <vector>

#include "search/additive.h"

namespace nas::search::test {

// A made-up, separable error rate of ofa-mbv3-w1.0 (to minimise): falls with resolution, depth, kernel and
// expansion by seeded, saturating steps. Stands in for a trained supernet; modelled.
inline Additive separable_error(const SearchSpace& space, std::uint64_t seed) {
  std::vector<Term> terms;
  const auto genes = space.genes();
  for (std::uint32_t gene = 0; gene < genes.size(); ++gene) {
    Rng rng(seed, "separable error", gene);
    const bool nested = genes[gene].parent >= 0;
    std::vector<double> steps{nested ? -rng.uniform(0.005, 0.02) : 0.0};
    double step = gene == 0 ? 0.25 : rng.uniform(0.02, nested ? 0.12 : 0.3);
    for (std::size_t i = 1; i < genes[gene].choices.size(); ++i, step *= gene == 0 ? 0.93 : 0.6)
      steps.push_back(steps.back() - step);
    if (!nested) {
      terms.push_back({{gene}, steps});
      continue;
    }
    const auto parent = static_cast<std::uint32_t>(genes[gene].parent);
    Term term{{parent, gene}, {}};
    for (std::size_t p = 0; p < genes[parent].choices.size(); ++p)
      for (const double s : steps) term.table.push_back(p >= genes[gene].parent_low ? s : 0.0);
    terms.push_back(std::move(term));
  }
  return *Additive::make(space, 32, std::move(terms));
}

}  // namespace nas::search::test
