#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "apps/report/search_source.h"

namespace nas::report {

// One search among those that a report holds against each other.
struct Compared {
  const SearchSource* source = nullptr;
  const std::vector<SearchSource>* baselines = nullptr;
  std::vector<double> reference;  // of its hypervolume, as losses
};

// "max top1, min latency_ms on host": hypervolumes are comparable where this is equal.
std::string objectives_of(const SearchSource& search);

// A row for every search, and under it one for its random baseline: the median of the seeds' hypervolumes.
nlohmann::ordered_json comparison_rows(const std::vector<Compared>& searches);

}  // namespace nas::report
