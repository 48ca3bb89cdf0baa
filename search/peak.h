#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "search/additive.h"

namespace nas::search {

// A cost that is the largest of several terms: peak memory, which some block decides. The form in which its
// exact range and exact limits exist.
class Peak {
 public:
  Peak() = default;
  // `exact`: false where terms are missing, so that the peak is a lower bound. Fails as TermTables do.
  static Result<Peak> make(const SearchSpace& space, std::vector<Term> terms, bool exact = true);

  bool exact() const { return exact_; }
  const std::vector<Term>& terms() const { return tables_.terms(); }
  // `genes` canonical; 0 without terms.
  double operator()(std::span<const std::uint8_t> genes) const;
  double operator()(const Genotype& g) const { return (*this)({g.data(), g.size()}); }
  // The same with every number multiplied; factor > 0.
  Peak scaled(double factor) const;

 private:
  bool exact_ = true;
  TermTables tables_;
};

// One place of a network (a block) and what it needs there.
struct PeakPart {
  std::uint32_t place = 0;
  double value = 0;
};
// All parts of a genotype's network, a place at most once; the cost is the largest of them. Safe to call from
// several threads.
using PeakParts = std::function<std::vector<PeakPart>(const Genotype&)>;

struct PeakOptions {
  std::uint64_t seed = 1;
  int backgrounds = 12;
  int checks = 1000;
  std::size_t max_table = 1 << 14;  // entries of one term
};
// Tabulates a small space as a whole, else every place over the genes that its value depends on: found by
// changing gene after gene on `backgrounds` (then more) random genotypes, checked place by place on `checks`
// fresh ones. A place that depends on too many genes or fails its check is left out; the result is then a
// lower bound. Places that can never decide are left out of the tables too.
Result<Peak> compile_peak(const SearchSpace& space, const PeakParts& parts, const PeakOptions& options = {});

}  // namespace nas::search
