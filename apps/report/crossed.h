#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "apps/report/architecture_json.h"
#include "apps/report/search_source.h"

namespace nas::report {

// A search with its networks; the book's first session is the one that the search's latencies came from.
struct CrossedSearch {
  const SearchSource* source = nullptr;
  const ArchitectureBook* book = nullptr;
};

// The fronts found for one device, on another: for every pair of searches of one space and the same first
// objective, the networks of one's front with their latency from the table of the other's device, as
// {"from", "on", "metric", "points": [[latency, first objective, number], …]}, ascending in latency. `from`
// and `on` are places in `searches`. A pair is left out where a kernel is not in the table or where the other
// search's own latencies are not the sums of its table.
nlohmann::ordered_json crossed_fronts(const std::vector<CrossedSearch>& searches);

}  // namespace nas::report
