#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/search_problem.h"
#include "search/reference.h"
#include "search/run.h"
#include "search/run_folder.h"
#include "search/strategies.h"
#include "space/base/result.h"
#include "space/json/document.h"

namespace nas::apps {

// What a user asks on the command line beside the configuration.
struct SearchChanges {
  std::vector<std::string> settings;  // "a.b=value"
  std::optional<std::uint64_t> seed;
  std::string budget;
  std::string shard;  // "2/3"
};

// A search's configuration with all changes, and where it came from.
struct SearchConfig {
  JsonDocument document;
  std::string name;  // where it has none
  std::string base;  // relative files start here: a folder, relative to the project where it lies inside

  // Candidates are evaluated by LibTorch: hwnas hands over to hwnas-torch.
  bool needs_torch() const;
};
Result<SearchConfig> load_search_config(const std::string& path, const SearchChanges& changes,
                                        const std::filesystem::path& project);
// The configuration that a run keeps.
Result<SearchConfig> search_config_of(const search::RunRecord& record, const std::filesystem::path& folder);

// A search as its configuration describes it (docs/search.md), ready to run.
struct SearchPlan {
  std::string name;
  SearchProblem problem;
  search::Judge judge;
  search::Feasibility feasible;
  search::StrategyConfig strategy;
  search::RunOptions options;
  search::Reference reference;
  std::uint64_t seed = 1;
  Shard shard;
  search::RunRecord record;  // as the run's folder keeps it

  Result<search::Strategy> make_strategy() const;
};
// Builds the problem and checks that its limits can be met. All errors of the configuration come at once,
// with positions. `project`: the folder with the user's own devices.
Result<SearchPlan> make_search_plan(const SearchConfig& config, const std::filesystem::path& project);

// Reads the keys of a search's configuration as make_search_plan() does, but builds nothing and reports no
// errors: for noting which keys there are.
void read_search_keys(const JsonDocument& document);

}  // namespace nas::apps
