#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "search/strategy.h"
#include "space/base/rng.h"

namespace nas::search {

// Random changes of genotypes in place, canonical afterwards, kept within the screen's limits. No allocation
// when the target has the right length.
class Variation {
 public:
  explicit Variation(Setting setting);

  const Setting& setting() const { return setting_; }
  // Uniform per gene, redrawn until it passes the screen; after `kTries` misses the last one is repaired.
  void sample(Genotype& out, Rng& rng) const;
  // Each block of genes is redrawn with `probability`, the input resolution (where there is one) with its
  // own; a gene's new value may equal the old one, as in the once-for-all evolution.
  void mutate(const Genotype& parent, Genotype& out, Rng& rng, double probability,
              double resolution_probability) const;
  // Each gene with `probability` to a different value; at least one active gene changes.
  void mutate_genes(const Genotype& parent, Genotype& out, Rng& rng, double probability) const;
  // Each gene from either parent.
  void crossover(const Genotype& a, const Genotype& b, Genotype& out, Rng& rng) const;
  // Moves genes to the screen's tightest genotype in random order until the limits hold.
  void repair(Genotype& g, Rng& rng) const;
  bool passes(const Genotype& g) const { return !setting_.screen || setting_.screen->passes(g); }

  static constexpr int kTries = 64;

 private:
  template <class Draw>
  void until_passes(Genotype& out, Rng& rng, std::initializer_list<const Genotype*> parents,
                    const Draw& draw) const;
  Setting setting_;
  int resolution_;
  std::vector<std::vector<std::uint32_t>> blocks_;  // gene groups without the resolution
};

}  // namespace nas::search
