#pragma once
#include <cstddef>
#include <span>

#include "search/gene_forest.h"

namespace nas::search {

// Where costs are asked to find out of which tables they are made. All points but canonical ones: inactive
// genes may have any choice.

// Every gene at random.
Genotype random_point(const GeneForest& forest, Rng& rng);
// Sets parents to the choice that activates most children, so that no gene hides from the probes.
void open_all(const GeneForest& forest, Genotype& g);
// `genes` at entry number `entry` of a row-major table over them, all others at choice 0.
Genotype point_of(const GeneForest& forest, std::span<const std::uint32_t> genes, std::size_t entry);

}  // namespace nas::search
