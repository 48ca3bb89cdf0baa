#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/report/search_source.h"
#include "latency/measure/session.h"
#include "results/store.h"

namespace nas::report {

// What a report is about, as files. Names are folders of searches, training runs or exports, session files,
// files of predictions, names of runs under the project's runs/ or in its store, or folders that hold such
// things; no names: everything in the project. Of a whole project random searches beside another search of
// the same question are left out: they are that search's baseline.
struct SourcePaths {
  std::vector<std::filesystem::path> searches, trainings, exports, sessions, predictions;
  std::vector<std::filesystem::path> stages;  // folders with the records of `hwnas run`
  std::vector<std::string> stored_runs;       // names in the store
  bool tasks = false;                         // the store's queue is part of it
  bool operator==(const SourcePaths&) const = default;
};

// Fails (usage) on a name that is nothing of these; says what was looked for.
Result<SourcePaths> find_sources(const std::filesystem::path& project, const std::vector<std::string>& names);

// Random searches beside `search` that asked the same question of the same space: its baseline.
std::vector<std::filesystem::path> find_baselines(const SearchSource& search);

// Changes whenever one of the files does: sizes and times of modification.
std::string signature_of(const std::vector<std::filesystem::path>& files);

}  // namespace nas::report
