#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/compress/compress_options.h"
#include "latency/kernel_model.h"
#include "space/energy.h"
#include "supernet/prune/sensitivity.h"

namespace nas::apps {

// A cost as messages write it.
std::string cost_text(double value);

// What a compressed network costs, in the units of Limits: flash and MACs exact, latency predicted from a
// session's table, kernels that it does not cover by predictors fitted to the session, kind by kind; energy
// modelled by coefficients.
class CompressCosts {
 public:
  // Opens the session where a limit on latency, --session or --device asks for one.
  static Result<CompressCosts> open(const Context& context, const CompressOptions& options);

  // Weights at the layers' bits, 8 where they have none.
  static double flash(const Network& network);
  // One thread at a time.
  Result<double> latency(const Network& network) const;
  bool has_latency() const { return predictor_ != nullptr; }
  std::string latency_unit() const;
  // Modelled, in microjoules.
  double energy(const Network& network) const;
  bool has_energy() const { return limits_.energy.has_value(); }

  // A limit with its cost.
  struct Target {
    const char* name;  // "flash", as --under has it
    const char* what;  // "flash of the weights"
    std::string unit;
    supernet::NetworkCost cost;
    double limit;
  };
  // All limits: latency, energy, MACs, flash.
  std::vector<Target> targets() const;
  // The first of them, which pruning and low rank work towards. Fails (usage) where there is none.
  Result<Target> target() const;
  // Fails (usage) on weights that the engine of the device in question has no kernel for.
  Result<void> check_bits(std::int32_t bits) const;
  // Fails (infeasible) naming the first limit that is broken, and by how much.
  Result<void> check(const Network& network) const;

 private:
  Result<latency::KernelEstimate> by_kind(const Kernel& kernel) const;
  Limits limits_;
  std::shared_ptr<const SessionPredictor> predictor_;
  // For kernels that the table does not cover: fitted when the first of a kind is asked for.
  using KindModels = std::map<std::string, latency::KernelModels>;
  std::shared_ptr<KindModels> kinds_;
  EnergyTable energy_;
  FusionRules rules_;
  std::string engine_ = "c", device_;
};

}  // namespace nas::apps
