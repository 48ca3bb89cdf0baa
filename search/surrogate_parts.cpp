#include "search/surrogate_parts.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace nas::search {

learn::Matrix one_hot_rows(const GeneForest& forest, std::span<const Genotype> networks) {
  learn::Matrix x(networks.size(), forest.offset(forest.size()));
  std::vector<float> row(x.columns);
  for (std::size_t i = 0; i < networks.size(); ++i) {
    one_hot(forest, networks[i], row);
    std::ranges::copy(row, x.row(i).begin());
  }
  return x;
}

double rmse(std::span<const double> truth, std::span<const double> predicted) {
  double sum = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) sum += (truth[i] - predicted[i]) * (truth[i] - predicted[i]);
  return std::sqrt(sum / static_cast<double>(truth.size()));
}

}  // namespace nas::search
