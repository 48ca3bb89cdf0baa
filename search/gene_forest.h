#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "space/base/rng.h"
#include "space/search_space.h"

namespace nas::search {

// A search space's genes as flat arrays, for loops that touch millions of genotypes in place.
class GeneForest {
 public:
  explicit GeneForest(const SearchSpace& space);

  std::size_t size() const { return count_.size(); }
  std::uint32_t choices(std::size_t gene) const { return count_[gene]; }
  int parent(std::size_t gene) const { return parent_[gene]; }
  // The parent's choice lies in the gene's range; says nothing of the parent's own activity.
  bool allowed(std::size_t gene, std::uint8_t parent_choice) const {
    return parent_choice >= low_[gene] && parent_choice <= high_[gene];
  }
  // Sets inactive genes to 0.
  void canonicalise(Genotype& g) const;
  // active[i] is 1 where gene i counts; g need not be canonical.
  void activity(const Genotype& g, std::span<std::uint8_t> active) const;
  // The next canonical genotype in lexicographic order; false after the last.
  bool next(Genotype& g) const;
  // Genes that describe one block ("stage2.block1.kernel", "stage2.block1.expand") are redrawn together by
  // the once-for-all evolution; a gene alone in its block is a group of one. Groups in gene order.
  const std::vector<std::vector<std::uint32_t>>& groups() const { return groups_; }
  // Start of the gene's choices in a one-hot vector; offset(size()) is its width.
  std::size_t offset(std::size_t gene) const { return offset_[gene]; }

 private:
  std::vector<std::uint32_t> count_;
  std::vector<int> parent_;
  std::vector<std::uint8_t> low_, high_;
  std::vector<std::size_t> offset_;
  std::vector<std::vector<std::uint32_t>> groups_;
};

// One-hot of the active genes, `forest.offset(forest.size())` numbers.
void one_hot(const GeneForest& forest, const Genotype& g, std::span<float> out);

}  // namespace nas::search
