#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/evaluator.h"
#include "space/base/result.h"
#include "space/base/rng.h"
#include "space/search_space.h"

namespace nas::search {

// A search space of which only some networks are known: those of a table of measurements. Proposals are moved
// to a known network nearby.
class Listing {
 public:
  explicit Listing(std::vector<Genotype> genotypes) : genotypes_(std::move(genotypes)) {}
  std::size_t size() const { return genotypes_.size(); }
  const Genotype& operator[](std::size_t i) const { return genotypes_[i]; }
  // Replaces g by a random one of the kNear listed networks that differ from it in fewest genes; `avoid`
  // (parents) are passed over. A listed g stays when it is no parent.
  void snap(Genotype& g, Rng& rng, std::span<const Genotype* const> avoid) const;
  static constexpr std::size_t kNear = 4;

 private:
  std::vector<Genotype> genotypes_;
};

// A table of networks with their numbers as a problem: columns become genes (their different values,
// ascending, become choices) and metrics. Rows with an empty metric are not listed; of rows with equal genes
// the first is.
struct CsvProblem {
  SearchSpace space;
  Evaluator evaluator;  // fails a network that is not in the table
  std::shared_ptr<const Listing> listing;
};

// `gene_columns` may end in '*'. Fails on a missing column, a cell that is no number, or a gene with more
// than 256 values, naming the line.
Result<CsvProblem> csv_problem(const std::string& path, const std::vector<std::string>& gene_columns,
                               const std::vector<Metric>& metrics,
                               const std::map<std::string, std::string>& column_of = {});

}  // namespace nas::search
