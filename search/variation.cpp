#include "search/variation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nas::search {
namespace {

// The number of failures before the next success of trials with probability p (inverse of the geometric
// distribution): skips over unchanged genes with one draw instead of one draw each.
std::size_t skip(Rng& rng, double p) {
  if (p >= 1) return 0;
  if (p <= 0) return SIZE_MAX;
  const double failures = std::floor(std::log1p(-rng.uniform()) / std::log1p(-p));
  return failures < 1e9 ? static_cast<std::size_t>(failures) : SIZE_MAX;
}

std::uint8_t pick(Rng& rng, std::uint32_t choices) { return static_cast<std::uint8_t>(rng.below(choices)); }

}  // namespace

Variation::Variation(Setting setting)
    : setting_(std::move(setting)), resolution_(setting_.space.find("resolution")) {
  for (const auto& group : setting_.forest->groups())
    if (group.size() > 1 || static_cast<int>(group[0]) != resolution_) blocks_.push_back(group);
}

template <class Draw>
void Variation::until_passes(Genotype& out, Rng& rng, std::initializer_list<const Genotype*> parents,
                             const Draw& draw) const {
  for (int tries = 0; tries < kTries; ++tries) {
    draw();
    setting_.forest->canonicalise(out);
    if (setting_.listing) setting_.listing->snap(out, rng, {parents.begin(), parents.size()});
    if (passes(out)) return;
  }
  repair(out, rng);
}

void Variation::sample(Genotype& out, Rng& rng) const {
  const GeneForest& forest = *setting_.forest;
  if (out.size() != forest.size()) out = Genotype(forest.size());
  until_passes(out, rng, {}, [&] {
    for (std::size_t i = 0; i < forest.size(); ++i) out[i] = pick(rng, forest.choices(i));
  });
}

void Variation::mutate(const Genotype& parent, Genotype& out, Rng& rng, double probability,
                       double resolution_probability) const {
  const GeneForest& forest = *setting_.forest;
  until_passes(out, rng, {&parent}, [&] {
    out = parent;
    for (std::size_t i = skip(rng, probability); i < blocks_.size();) {
      for (const std::uint32_t gene : blocks_[i]) out[gene] = pick(rng, forest.choices(gene));
      const std::size_t jump = skip(rng, probability);
      if (jump >= blocks_.size()) break;
      i += jump + 1;
    }
    if (resolution_ >= 0 && rng.chance(resolution_probability)) {
      const auto gene = static_cast<std::size_t>(resolution_);
      out[gene] = pick(rng, forest.choices(gene));
    }
  });
}

void Variation::mutate_genes(const Genotype& parent, Genotype& out, Rng& rng, double probability) const {
  const GeneForest& forest = *setting_.forest;
  until_passes(out, rng, {&parent}, [&] {
    for (int tries = 0; tries < kTries; ++tries) {
      out = parent;
      for (std::size_t i = 0; i < forest.size(); ++i) {
        if (forest.choices(i) < 2 || !rng.chance(probability)) continue;
        const std::uint8_t other = pick(rng, forest.choices(i) - 1);
        out[i] = static_cast<std::uint8_t>(other + (other >= out[i]));
      }
      forest.canonicalise(out);
      if (!(out == parent)) return;
    }
  });
}

void Variation::crossover(const Genotype& a, const Genotype& b, Genotype& out, Rng& rng) const {
  const std::size_t genes = setting_.forest->size();
  until_passes(out, rng, {&a, &b}, [&] {
    out = a;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < genes; ++i, bits >>= 1) {
      if (i % 64 == 0) bits = rng.next();
      if (bits & 1) out[i] = b[i];
    }
  });
}

void Variation::repair(Genotype& g, Rng& rng) const {
  if (passes(g)) return;
  const Genotype& tightest = setting_.screen->tightest();
  std::vector<std::size_t> order(g.size());
  std::iota(order.begin(), order.end(), 0);
  rng.shuffle(std::span(order));
  for (const std::size_t gene : order) {
    if (g[gene] == tightest[gene]) continue;
    g[gene] = tightest[gene];
    Genotype canonical = g;
    setting_.forest->canonicalise(canonical);
    if (!passes(canonical)) continue;
    g = std::move(canonical);
    return;
  }
  g = tightest;
}

}  // namespace nas::search
