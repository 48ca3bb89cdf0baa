#pragma once
#include <chrono>
#include <filesystem>

#include "apps/ledger.h"
#include "apps/search_config.h"

namespace nas::apps {

// A search in the project's store: its run with its origin, every candidate, the curve of the hypervolume,
// the last checkpoint and the front. Candidates are written some seconds apart, so that the store costs next
// to nothing; the run's folder has them at once.
class SearchLedger {
 public:
  // `folder`: of the run; `base`: from where the configuration's files are named; `fresh`: the folder held
  // nothing to continue from.
  SearchLedger(const Context& context, const SearchPlan& plan, const std::filesystem::path& folder,
               const std::filesystem::path& base, bool fresh, bool keep_all);

  // Writes to `inner`, then to the store.
  search::Journal journal(search::Journal inner);
  // The rest of the candidates, and the front.
  void finish(const search::Run& run, const std::vector<search::Row>& front);
  Result<int> end(Result<int> result);
  double seconds() const { return ledger_.seconds(); }

 private:
  Result<void> add_rows(results::Store& store, const search::History& history,
                        const std::vector<search::Row>& rows);
  Result<void> add_curve(results::Store& store, const std::vector<search::CurvePoint>& curve);
  void write(const std::vector<search::CurvePoint>& curve, const search::History& history);

  const SearchPlan& plan_;
  std::filesystem::path folder_;
  bool keep_all_;
  Ledger ledger_;
  const search::History* history_ = nullptr;  // of the running search
  std::size_t rows_ = 0, points_ = 0;         // already in the store
  std::chrono::steady_clock::time_point next_;
};

}  // namespace nas::apps
