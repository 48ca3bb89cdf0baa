#include "supernet/detail/sampler.h"

#include <algorithm>

namespace nas::supernet {

Result<void> Sampler::check(const SearchSpace& space, const Recipe& recipe) {
  // Recipes speak of depth, kernel, expand and width in general; a space need not have all of them.
  const std::vector<std::string> general{"d", "k", "e", "w"};
  for (const Phase& phase : recipe.phases)
    for (const auto& [family, count] : phase.choices) {
      const bool known = std::any_of(space.genes().begin(), space.genes().end(),
                                     [&, &f = family](const Gene& g) { return g.family == f; });
      if (!known && std::find(general.begin(), general.end(), family) == general.end())
        return usage_error("recipe " + recipe.name + ", phase \"" + phase.name + "\": the space " +
                           space.name() + " has no gene family \"" + family + "\"");
    }
  return {};
}

std::uint8_t Sampler::first_allowed(std::size_t gene) const {
  const Gene& g = space_.genes()[gene];
  const auto it = phase_.choices.find(g.family);
  const auto count = static_cast<int>(g.choices.size());
  return it == phase_.choices.end() ? 0 : static_cast<std::uint8_t>(std::max(0, count - it->second));
}

Result<Genotype> Sampler::at_resolution(Genotype g, int resolution) const {
  if (const int gene = space_.find("resolution"); gene >= 0) {
    const auto& choices = space_.genes()[static_cast<std::size_t>(gene)].choices;
    const auto it = std::find_if(choices.begin(), choices.end(),
                                 [&](const Choice& c) { return static_cast<int>(c.value) == resolution; });
    if (it == choices.end())
      return usage_error("the batch has resolution " + std::to_string(resolution) + ", which the space " +
                         space_.name() + " does not offer");
    g[static_cast<std::size_t>(gene)] = static_cast<std::uint8_t>(it - choices.begin());
  }
  return space_.canonical(g);
}

Result<Genotype> Sampler::largest(int resolution) const {
  return at_resolution(space_.largest(), resolution);
}

Result<Genotype> Sampler::smallest(int resolution) const {
  Genotype g(space_.genes().size());
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = first_allowed(i);
  return at_resolution(g, resolution);
}

Result<Genotype> Sampler::random(int resolution, Rng& rng) const {
  Genotype g(space_.genes().size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    const std::uint8_t first = first_allowed(i);
    const auto room = space_.genes()[i].choices.size() - first;
    g[i] = static_cast<std::uint8_t>(first + rng.below(room));
  }
  return at_resolution(g, resolution);
}

}  // namespace nas::supernet
