#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "latency/measure/session.h"
#include "latency/table.h"
#include "space/base/result.h"
#include "space/kernel.h"

namespace nas::latency {

// What one kind costs in the session's unit (cycles where it is cycles): time = per_mac MACs + per_element
// (input and output elements) + per_op, none negative, least relative errors.
struct KindCosts {
  std::string kind;
  std::size_t kernels = 0;
  double per_mac = 0, per_element = 0, per_op = 0;
  double costs_mape = 0;     // percent, left out (10 folds)
  double gaussian_mape = 0;  // of a Gaussian process over what the costs leave, likewise; 0 where too few
  std::string model;         // "costs" or "costs + gaussian process": the better one left out
  double mape = 0;           // of that one
  double coverage90 = 0;     // of its interval, left out
};

// Predictors of single kernels, one a kind, from one session: unlike a table they also answer for windows,
// strides and sizes that were not measured, as far as they were right on what was left out.
class KernelModels {
 public:
  // Fails on a session with fewer than 3 measured kernels or a time that is not positive. Of a kind with
  // fewer than 3 nothing is left out: its interval is a factor of 2 either way.
  static Result<KernelModels> fit(const Session& session);
  const std::string& device() const;
  const std::string& precision() const;
  const std::vector<KindCosts>& kinds() const;
  // Fails (usage) on a kind that was never measured.
  Result<KernelEstimate> estimate(const Kernel& kernel) const;
  // The sum over the network's kernels; its interval takes errors of one kind as common to all its kernels.
  Result<TableEstimate> estimate(const Network& network, const FusionRules& rules) const;

  // Plain text, versioned and checksummed (space/learn/model_file.h).
  std::string save() const;
  static Result<KernelModels> load(const std::string& text, const std::string& where);

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace nas::latency
