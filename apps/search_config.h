#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/feasibility.h"
#include "search/listing.h"
#include "search/run.h"
#include "search/run_folder.h"
#include "search/strategies.h"
#include "space/base/result.h"
#include "space/json/document.h"

namespace nas::apps {

// A search as its configuration describes it (docs/search.md), ready to run.
struct SearchPlan {
  std::string name;
  SearchSpace space;
  search::Judge judge;
  search::Evaluator evaluator;
  std::vector<search::KnownCost> known;  // costs with exact answers
  std::shared_ptr<const search::Listing> listing;
  search::StrategyConfig strategy;
  search::RunOptions options;
  std::uint64_t seed = 1;
  std::string config;              // merged, JSON text
  std::vector<std::string> notes;  // what the models are worth, for people
};

// Reads `path`, applies "a.b=value" settings, and builds the problem. All errors come at once, with
// positions. `project`: the folder with the user's own devices.
Result<SearchPlan> read_search_plan(const std::string& path, const std::vector<std::string>& settings,
                                    std::optional<std::uint64_t> seed, const std::string& budget,
                                    const std::string& project);

// Reads the keys of a search's configuration as read_search_plan() does, but builds nothing and reports no
// errors: for noting which keys there are.
void read_search_keys(const JsonDocument& document);

}  // namespace nas::apps
