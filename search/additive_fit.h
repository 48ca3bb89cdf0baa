#pragma once
#include <memory>
#include <span>
#include <vector>

#include "search/additive.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"

namespace nas::search {

// What a model that is a sum of terms sees of a network: 0/1 per choice of every active gene, in the order of
// one_hot(); or, for latencies, 0/1 per joint choice of a block's genes, and the same times the input area
// (a block's cost is a start and work that grows with the picture).
class AdditiveFeatures {
 public:
  enum class Kind { genes, blocks_and_area };
  AdditiveFeatures(const SearchSpace& space, Kind kind);

  std::size_t columns() const { return columns_; }
  void encode(const Genotype& g, std::span<double> out) const;
  // The fitted line as a sum of terms, equal to it on every network.
  Additive additive(const learn::Linear& line) const;

 private:
  struct Group {
    std::vector<std::uint32_t> genes;
    std::size_t first = 0;    // column
    std::size_t choices = 1;  // joint
  };
  std::size_t choice(const Group& group, const Genotype& g) const;
  bool active(const Group& group, std::span<const std::uint8_t> activity) const;
  // Genes that decide the group's part of the sum, ascending.
  std::vector<std::uint32_t> scope(const Group& group) const;
  double area(const Genotype& g) const;

  SearchSpace space_;
  std::shared_ptr<const GeneForest> forest_;
  int resolution_ = -1;  // its gene, where the area counts
  std::vector<Group> groups_;
  std::size_t columns_ = 0;
};

// A sum of terms fitted to measured networks, and how far it is off on a held-out fifth of them.
struct AdditiveFit {
  Additive cost;
  learn::Metrics held_out;
  std::size_t trained_on = 0;
};
// Ridge regression of blocks and area on 70 % of the networks. Fails (usage) on fewer than 30.
Result<AdditiveFit> fit_latency(const SearchSpace& space, std::span<const Genotype> networks,
                                std::span<const double> latency);

}  // namespace nas::search
