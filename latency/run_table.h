#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "latency/csv.h"
#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::latency {

// A long file (one row a run and network) as a table: rows are runs, columns networks.
struct RunTable {
  std::vector<std::string> networks;
  std::vector<std::string> device;  // of each run
  learn::Matrix time;               // runs x networks, all above 0
  learn::Matrix known;              // runs x known figures of the run itself (threads), as logarithms
};

// `item` names the networks, equal text of all of `run_columns` a run, the first of them the device. Networks
// that four fifths of the runs have, runs that have all of those. Of several rows of one run and network the
// smallest time counts.
Result<RunTable> read_runs(const Csv& csv, const std::string& item,
                           const std::vector<std::string>& run_columns, const std::vector<std::string>& known,
                           const std::string& target);

struct UnseenRuns {
  std::vector<double> truth, predicted, low, high;  // of what was not measured, run after run
  std::size_t measured = 0;                         // networks a run
};

// Every device in turn is one that was never seen: of each of its runs `samples` networks are measured, the
// others predicted from the runs of all other devices. Log times are Gaussian; runs that resemble the
// measured ones weigh more; how much, and how far covariances are drawn to their diagonal, is a mixture that
// rehearsals on the other devices choose. The networks are those whose measuring takes most off the summed
// variance, or drawn with `seed` where `drawn`.
Result<UnseenRuns> predict_unseen_runs(const RunTable& table, std::size_t samples, bool drawn,
                                       std::uint64_t seed);

}  // namespace nas::latency
