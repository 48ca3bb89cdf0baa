#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "space/search_space.h"

namespace nas::latency {

// Whole networks with one measured number each.
struct MeasuredNetworks {
  std::vector<Genotype> networks;
  std::vector<double> values;
};

// Reads `column` of a CSV file whose networks are in a column "arch" (as `hwnas space sample` writes them) or
// in the columns r, d, ks, e of help_ofa.csv: resolution, depths, kernels and expansions of five stages of
// four blocks. Empty cells are left out. Fails with the file and line.
Result<MeasuredNetworks> read_measured_networks(const SearchSpace& space, const std::filesystem::path& file,
                                                const std::string& column);

}  // namespace nas::latency
