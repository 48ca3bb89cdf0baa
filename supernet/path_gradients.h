#pragma once
#include <span>
#include <vector>

#include "supernet/supernet.h"

namespace nas::supernet {

// d loss / d g for the gates g of one gene's choices, at the point where only the path's own choice is open:
// <output of the choice, d loss / d output of the place it fills> (ProxylessNAS, Cai et al. 2019,
// section 3.2). The two-path rule and the step from gates to architecture parameters belong to the search.
struct GateGradients {
  int gene = 0;
  std::vector<double> of_choice;
};

// For each gene: runs the path once forward and backward on the batch (mean cross entropy, weights
// untouched), then every other choice of the gene on the same input. A gene must change one stretch of the
// network that ends in one tensor of unchanged shape (operations, kernel, expansion; not resolution or output
// width); a choice that leaves the stretch empty counts as the identity. `choices` (empty: all) limits the
// work to some choices of every gene, as the two-path rule does; the others get 0.
Result<std::vector<GateGradients>> path_gradients(const Supernet& supernet, const SearchSpace& space,
                                                  const Genotype& path, std::span<const int> genes,
                                                  const Batch& batch,
                                                  const std::vector<std::vector<std::uint8_t>>& choices = {});

}  // namespace nas::supernet
