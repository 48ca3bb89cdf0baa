#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "search/gene_forest.h"
#include "space/base/result.h"
#include "space/search_space.h"

namespace nas::search {

// A table over a few genes: row-major over `genes` (ascending), the last one fastest. An inactive gene counts
// as choice 0, as in a canonical genotype.
struct Term {
  std::vector<std::uint32_t> genes;
  std::vector<double> table;
};

// Terms laid out so that looking all of them up is a few additions each.
class TermTables {
 public:
  TermTables() = default;
  // Fails on a term whose genes are unknown, unsorted or repeated, or whose table has another size.
  static Result<TermTables> make(const SearchSpace& space, std::vector<Term> terms);

  const std::vector<Term>& terms() const { return terms_; }
  void scale(double factor);
  // Calls visit with every term's number; `genes` canonical.
  template <class Visit>
  void look_up(std::span<const std::uint8_t> genes, Visit visit) const {
    std::uint32_t at = 0;
    for (std::size_t t = 0; t < end_.size(); ++t) {
      std::size_t index = start_[t];
      for (; at < end_[t]; ++at) index += std::size_t{genes[access_[at].gene]} * access_[at].stride;
      visit(flat_[index]);
    }
  }

 private:
  struct Access {
    std::uint32_t gene;
    std::uint32_t stride;
  };
  std::vector<Term> terms_;
  std::vector<Access> access_;      // of all terms, one after the other
  std::vector<std::uint32_t> end_;  // of each term's accesses
  std::vector<std::size_t> start_;  // of each term's table in flat_
  std::vector<double> flat_;
};

// A cost (or a separable accuracy) that is a sum of terms: per-block latencies, MACs, parameters. The form in
// which exact answers exist: range(), exact fronts, gradients.
class Additive {
 public:
  Additive() = default;
  static Result<Additive> make(const SearchSpace& space, double constant, std::vector<Term> terms);

  double constant() const { return constant_; }
  const std::vector<Term>& terms() const { return tables_.terms(); }
  // `genes` canonical.
  double operator()(std::span<const std::uint8_t> genes) const;
  double operator()(const Genotype& g) const { return (*this)({g.data(), g.size()}); }

  // The same with every number multiplied.
  Additive scaled(double factor) const;

 private:
  double constant_ = 0;
  TermTables tables_;
};

// The smallest and largest value over all genotypes, exact, and where they are reached.
struct Range {
  double min = 0;
  double max = 0;
  Genotype at_min;
  Genotype at_max;
};
Result<Range> range(const SearchSpace& space, const Additive& cost);

// Turns any deterministic costs of a genotype into sums of terms, exact where they are such sums. Finds by
// second differences on `backgrounds` random genotypes which genes act together, tabulates the groups, and
// checks the result on `checks` fresh random genotypes.
struct CompileOptions {
  std::uint64_t seed = 1;
  int backgrounds = 6;
  int checks = 200;
  double tolerance = 1e-6;          // relative error that still counts as equal
  std::size_t max_table = 1 << 20;  // entries of one term
};
// `costs` writes one number per entry of its span; safe to call from several threads. The result holds an
// Additive per cost; an error instead where a cost is no sum of small terms.
using Costs = std::function<void(const Genotype&, std::span<double>)>;
std::vector<Result<Additive>> compile_additive(const SearchSpace& space, const Costs& costs,
                                               std::span<const std::string> names,
                                               const CompileOptions& options = {});

}  // namespace nas::search
