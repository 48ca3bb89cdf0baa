#include "search/probe_points.h"

namespace nas::search {

Genotype random_point(const GeneForest& forest, Rng& rng) {
  Genotype g(forest.size());
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<std::uint8_t>(rng.below(forest.choices(i)));
  return g;
}

void open_all(const GeneForest& forest, Genotype& g) {
  for (std::size_t p = 0; p < forest.size(); ++p) {
    std::size_t best_children = 0;
    for (std::uint32_t choice = 0; choice < forest.choices(p); ++choice) {
      std::size_t children = 0;
      for (std::size_t i = 0; i < forest.size(); ++i)
        children +=
            forest.parent(i) == static_cast<int>(p) && forest.allowed(i, static_cast<std::uint8_t>(choice));
      if (children > best_children) best_children = children, g[p] = static_cast<std::uint8_t>(choice);
    }
  }
}

Genotype point_of(const GeneForest& forest, std::span<const std::uint32_t> genes, std::size_t entry) {
  Genotype g(forest.size());
  for (std::size_t i = genes.size(); i-- > 0;) {
    g[genes[i]] = static_cast<std::uint8_t>(entry % forest.choices(genes[i]));
    entry /= forest.choices(genes[i]);
  }
  return g;
}

}  // namespace nas::search
