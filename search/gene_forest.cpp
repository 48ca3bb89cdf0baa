#include "search/gene_forest.h"

#include <algorithm>
#include <map>
#include <string>

namespace nas::search {

GeneForest::GeneForest(const SearchSpace& space) {
  std::map<std::string, std::size_t> group_of;
  std::size_t offset = 0;
  for (const Gene& gene : space.genes()) {
    const auto index = static_cast<std::uint32_t>(count_.size());
    count_.push_back(static_cast<std::uint32_t>(gene.choices.size()));
    parent_.push_back(gene.parent);
    low_.push_back(gene.parent_low);
    high_.push_back(gene.parent_high);
    offset_.push_back(offset);
    offset += gene.choices.size();
    const std::size_t dot = gene.name.rfind('.');
    const bool in_block = dot != std::string::npos && gene.name.find("block") != std::string::npos;
    const std::string key = in_block ? gene.name.substr(0, dot) : gene.name;
    const auto [at, fresh] = group_of.try_emplace(key, groups_.size());
    if (fresh) groups_.emplace_back();
    groups_[at->second].push_back(index);
  }
  offset_.push_back(offset);
}

void GeneForest::canonicalise(Genotype& g) const {
  // Parents come first and an inactive parent is already 0, but 0 may lie in the child's range: activity has
  // to travel down too. 256 genes fit the fixed buffer of every shipped space; longer ones take the heap.
  std::uint8_t fixed[256];
  std::vector<std::uint8_t> heap;
  std::uint8_t* active = fixed;
  if (size() > sizeof fixed) {
    heap.resize(size());
    active = heap.data();
  }
  activity(g, {active, size()});
  for (std::size_t i = 0; i < size(); ++i)
    if (!active[i]) g[i] = 0;
}

void GeneForest::activity(const Genotype& g, std::span<std::uint8_t> active) const {
  for (std::size_t i = 0; i < size(); ++i) {
    const int p = parent_[i];
    active[i] = p < 0 || (active[static_cast<std::size_t>(p)] && allowed(i, g[static_cast<std::size_t>(p)]));
  }
}

bool GeneForest::next(Genotype& g) const {
  std::vector<std::uint8_t> active(size());
  activity(g, active);
  for (std::size_t i = size(); i-- > 0;) {
    if (active[i] && g[i] + 1u < count_[i]) {
      ++g[i];
      return true;
    }
    g[i] = 0;
  }
  return false;
}

void one_hot(const GeneForest& forest, const Genotype& g, std::span<float> out) {
  std::ranges::fill(out, 0.0f);
  std::vector<std::uint8_t> active(forest.size());
  forest.activity(g, active);
  for (std::size_t i = 0; i < forest.size(); ++i)
    if (active[i]) out[forest.offset(i) + g[i]] = 1.0f;
}

}  // namespace nas::search
