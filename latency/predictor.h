#pragma once
#include <functional>
#include <string>

#include "latency/calibration.h"
#include "latency/kernel_model.h"
#include "latency/table.h"
#include "space/energy.h"
#include "space/memory.h"

namespace nas::latency {

// One figure of a network on a device, and where it comes from.
struct Estimate {
  std::string quantity;  // "latency", "energy", "peak memory", "flash"
  std::string unit;
  double value = 0;
  double low = 0, high = 0;  // 90 % interval; of memory: the bracket of two runtimes; equal: no interval
  std::string source;        // "predicted" from measurements, "modelled" from data sheets or liveness
  std::string by;            // what it was made with, in words
};

// Whatever turns a lowered network into a figure. A value: cheap to copy, callable from several threads at
// once. Errors are those of data (a kernel that was not measured).
using Predictor = std::function<Result<Estimate>(const Network&)>;

// The table's sum, calibrated on whole networks where `calibration` is given.
Predictor latency_by_table(LatencyTable table, FusionRules rules, std::optional<Calibration> calibration);
// The sum of kernel predictors, in the session's unit.
Predictor latency_by_kernels(KernelModels models, FusionRules rules, std::string unit);
// Joules of one run, by the coefficients of a technology.
Predictor modelled_energy(EnergyTable table, Precision precision, FusionRules rules);
// Bytes of activations: a runtime that writes depthwise and elementwise results in place (the value and upper
// edge), and one that also lets windows overlap their input (lower edge).
Predictor modelled_memory(Precision precision, FusionRules rules);
// Bytes of weights, biases and scales, plus `code` for a runtime's code and tables.
Predictor modelled_flash(Precision precision, std::int64_t code);

}  // namespace nas::latency
