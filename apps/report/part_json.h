#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>

#include "latency/measure/session.h"
#include "results/store.h"
#include "space/base/result.h"

// The parts of a report besides searches, each as JSON for the page. Lists are thinned where a picture cannot
// show more; what was left out is counted.
namespace nas::report {

// A folder of `hwnas train`: config.json and metrics.jsonl. Curves of loss and accuracy by path ("smallest",
// "largest", "others"), learning rate, phases, final scores. Fails when config.json is unreadable.
Result<nlohmann::ordered_json> training_json(const std::filesystem::path& folder);

// A session of `hwnas profile`: context, kernels with interval, spread, drift and raw medians of visits.
nlohmann::ordered_json session_json(const latency::Session& session, const std::string& name);

// A folder of `hwnas export`: its manifest and parity.json where there is one.
Result<nlohmann::ordered_json> export_json(const std::filesystem::path& folder);

// Predicted beside measured, from a file of JSON lines {"arch", "device", "metric", "unit", "predicted",
// "low", "high", "measured"} (low and high optional). Unusable lines are counted.
Result<nlohmann::ordered_json> predictions_json(const std::filesystem::path& file);

// What `hwnas run` recorded of its finished stages in `folder`: name, seconds, peak memory, in order of
// ending.
nlohmann::ordered_json stages_json(const std::filesystem::path& folder);

// SHA-256 of files, by their path within `project` where they are inside it.
nlohmann::ordered_json hashes_json(const std::vector<std::filesystem::path>& files,
                                   const std::filesystem::path& project);

// Tasks and their attempts of a store by worker, for the time line; its devices, and its predictors' errors.
Result<nlohmann::ordered_json> tasks_json(results::Store& store);
Result<nlohmann::ordered_json> predictors_json(results::Store& store);

}  // namespace nas::report
