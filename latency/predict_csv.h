#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "latency/ladder.h"
#include "space/base/result.h"
#include "space/learn/metrics.h"

namespace nas::latency {

// `hwnas predict csv`: fit on part of a file of measurements, report on the rest.
struct PredictRequest {
  std::string file = {};
  std::string space = {};                  // or
  std::vector<std::string> features = {};  // columns
  std::string target = {};                 // column, or a sum "A+B"
  std::vector<std::string> where = {};     // keep rows with COLUMN=VALUE
  std::vector<std::string> sources = {};   // columns of known devices, for `samples`
  std::string leave_out = {};            // column: rows that share its text are predicted from all the others
  std::vector<std::string> groups = {};  // its rows belong to the first of these that the text contains
  std::vector<std::string> kinds = {};   // likewise, a word that every row is known by
  // A long file, one row a run and network: the column that names networks, and those that tell runs apart,
  // the device first. Every device in turn is then one never seen, of which `samples` networks are measured:
  // chosen by expected variance reduction, or drawn.
  std::string item = {};
  std::vector<std::string> runs = {};
  bool drawn = false;
  double train = 0.7;
  std::size_t samples = 0;    // > 0: the target is a new device, of which so many rows are measured
  std::uint64_t seed = 2024;  // of the split (the shared rule's) and of every draw
};

struct PredictReport {
  std::string model;
  std::size_t n_train = 0;
  std::size_t n_validation = 0;
  std::size_t n_groups = 0;      // left out in turn: groups, or devices
  std::size_t n_runs = 0;        // of a long file
  std::size_t n_networks = 0;    // likewise
  std::size_t n_dropped = 0;     // rows at most 0.02 x median: timings that failed
  std::size_t n_duplicates = 0;  // rows whose architecture came before
  learn::Metrics test;
  double coverage90 = 0;
  double residual_lag1 =
      0;  // of relative residuals of the test rows in file order: drift of the measuring machine
  std::vector<Rung> rungs;
};

Result<PredictReport> predict_csv(const PredictRequest& request);

}  // namespace nas::latency
