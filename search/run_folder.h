#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "search/run.h"
#include "space/search_space.h"

namespace nas::search {

// What a run was asked, as kept in run.json; the plain record that stores and reports read.
struct RunRecord {
  std::string space;     // its name
  std::string strategy;  // its name
  std::uint64_t seed = 1;
  std::string config = "{}";  // the merged configuration, JSON text
  Problem problem;
  std::vector<Metric> metrics;
  std::vector<std::string> genes;      // names, in the order of a candidate's genes
  std::vector<double> reference = {};  // of hypervolumes, losses; empty: the run's own first step
  std::string base = {};               // what relative files of `config` start from: a folder of the project
};

// A run read back: the record and every candidate in order.
struct LoadedRun {
  RunRecord record;
  History history;
  std::vector<std::string> texts;  // the genotypes as users write them, by row
};

// A run in a folder of its own: run.json, candidates.jsonl (appended row by row), state.json (the last
// checkpoint) and, when it has ended, front.json. All of them are the same bytes however often the run was
// killed and continued; none holds a time of day.
class RunFolder {
 public:
  // Makes the folder. An existing run is only taken over when it was asked the same (run.json equal), or the
  // same with a larger budget: then it goes on as if it had had that from the start.
  static Result<RunFolder> open(std::filesystem::path folder, const SearchSpace& space,
                                const RunRecord& record);

  // Null when there is nothing to continue from.
  const Resume* resume() const { return has_resume_ ? &resume_ : nullptr; }
  // Appends rows and replaces checkpoints; the folder must outlive it.
  Journal journal();
  Result<void> write_front(const Run& run) const;

 private:
  RunFolder(std::filesystem::path folder, SearchSpace space)
      : folder_(std::move(folder)), space_(std::move(space)) {}
  Result<void> load(const RunRecord& record);
  Result<void> append(const History& history, std::size_t first);
  std::filesystem::path folder_;
  SearchSpace space_;
  Resume resume_;
  bool has_resume_ = false;
  std::vector<std::string> lines_;  // candidates already in the file
  bool tail_checked_ = false;       // a killed run's torn last line has been cut off
};

// Only what the run was asked: run.json of its folder.
Result<RunRecord> load_record(const std::filesystem::path& folder);

// Reads a finished, running or killed run without changing it.
Result<LoadedRun> load_run(const std::filesystem::path& folder);

// One candidate as JSON text: number, arch, genes, origin, values by metric name or failure, violation.
std::string candidate_json(const History& history, Row row, const std::string& text);

}  // namespace nas::search
