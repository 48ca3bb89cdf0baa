#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "results/store.h"
#include "search/history.h"
#include "search/run_folder.h"
#include "space/base/result.h"

namespace nas::report {

// One search as a report needs it, read from a run folder or from the store. Reading changes nothing and
// works while the search runs. What cannot be used (a number that is none, a damaged line) becomes a failed
// candidate or a note, never an error: a report of a broken run is what people need most.
class SearchSource {
 public:
  // Fails only when run.json is missing or unreadable.
  static Result<SearchSource> of_folder(const std::filesystem::path& folder);
  static Result<SearchSource> of_store(results::Store& store, const results::Run& run);

  // Reads what was appended to the folder since the last time. True when there was something.
  Result<bool> refresh();

  const std::string& name() const { return name_; }
  const std::filesystem::path& folder() const { return folder_; }  // empty: from the store
  const search::RunRecord& record() const { return record_; }
  const search::History& history() const { return history_; }
  const std::vector<std::string>& texts() const { return texts_; }  // by row
  // "finished (budget)", "unfinished", or the store's word.
  const std::string& state() const { return state_; }
  const std::vector<std::string>& notes() const { return notes_; }
  // Changes when the files were replaced rather than appended to.
  std::uint64_t epoch() const { return epoch_; }

 private:
  SearchSource(std::string name, search::RunRecord record, search::History history)
      : name_(std::move(name)), record_(std::move(record)), history_(std::move(history)) {}
  void add_line(const std::string& line, std::size_t number);
  void note(const std::string& text);
  void read_ending();
  std::string name_;
  std::filesystem::path folder_;
  search::RunRecord record_;
  search::History history_;
  std::vector<std::string> texts_;
  std::string state_;
  std::vector<std::string> notes_;
  std::uint64_t epoch_ = 0;
  std::uint64_t read_bytes_ = 0;
  std::size_t lines_ = 0;
};

}  // namespace nas::report
