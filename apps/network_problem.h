#pragma once
#include <filesystem>

#include "search/evaluator.h"
#include "search/feasibility.h"
#include "space/json/document.h"

namespace nas::apps {

// A search among the networks of a space, scored by models: accuracy by a surrogate fitted to a sweep,
// latency on devices by tables, memory and size exactly as the cost model has them.
struct NetworkProblem {
  SearchSpace space;
  search::Evaluator evaluator;
  std::vector<search::KnownCost> known;
  std::vector<std::string> notes;  // what the models are worth, one line each
};

// {"kind": "networks", "accuracy": FILE | "space": NAME, "precision": "int8", "devices": [{"session": FILE,
// "profile": NAME, "metric": "latency_ms"}]}; relative files are taken from `base`. `project`: where the
// user's own device profiles are.
Result<NetworkProblem> read_network_problem(JsonReader& reader, const std::filesystem::path& base,
                                            const std::filesystem::path& project);

}  // namespace nas::apps
