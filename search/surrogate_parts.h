#pragma once
#include <span>

#include "search/gene_forest.h"
#include "space/learn/matrix.h"

namespace nas::search {

// What models of accuracy share: a row of one_hot() a network, and the root of the mean squared error.
learn::Matrix one_hot_rows(const GeneForest& forest, std::span<const Genotype> networks);
double rmse(std::span<const double> truth, std::span<const double> predicted);

}  // namespace nas::search
