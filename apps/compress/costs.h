#pragma once
#include <memory>

#include "apps/compress/compress_options.h"
#include "latency/kernel_model.h"
#include "supernet/prune/sensitivity.h"

namespace nas::apps {

// What a compressed network costs, in the units of Limits: flash exact, MACs exact, latency predicted from a
// session's table, or where that does not cover a kernel by predictors fitted to the session, kind by kind.
class CompressCosts {
 public:
  // Opens the session where a limit on latency, --session or --device asks for one.
  static Result<CompressCosts> open(const Context& context, const CompressOptions& options);

  const Limits& limits() const { return limits_; }
  // Weights at the layers' bits, 8 where they have none.
  static double flash(const Network& network);
  Result<double> latency(const Network& network) const;
  bool has_latency() const { return predictor_ != nullptr; }
  std::string latency_unit() const;

  // The limit that pruning and low rank work towards: latency before MACs before flash. Fails (usage) without
  // one.
  struct Target {
    const char* name;
    supernet::NetworkCost cost;
    double limit;
  };
  Result<Target> target() const;
  // Fails (usage) on weights that the engine of the device in question has no kernel for.
  Result<void> check_bits(std::int32_t bits) const;
  // Fails (infeasible) naming the first limit that is broken, and by how much.
  Result<void> check(const Network& network) const;

 private:
  Limits limits_;
  std::shared_ptr<const SessionPredictor> predictor_;
  std::shared_ptr<const latency::KernelModels> models_;  // for kernels that the table does not cover
  std::string engine_ = "c", device_;
};

}  // namespace nas::apps
