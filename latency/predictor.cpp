#include "latency/predictor.h"

namespace nas::latency {

Predictor latency_by_table(LatencyTable table, FusionRules rules, std::optional<Calibration> calibration) {
  return [table = std::move(table), rules,
          calibration = std::move(calibration)](const Network& network) -> Result<Estimate> {
    NAS_TRY(sum, table.estimate(network, rules));
    const std::string by = std::to_string(sum.kernels.size()) + " kernels, " +
                           std::to_string(sum.interpolated) + " interpolated";
    if (!calibration)
      return Estimate{"latency", table.info().unit, sum.value, sum.low, sum.high, "predicted", by + "; sum"};
    const double value = (*calibration)(sum_features(network, sum));
    return Estimate{
        "latency",
        table.info().unit,
        value,
        value / (1 + calibration->spread),
        value * (1 + calibration->spread),
        "predicted",
        by + "; " + calibration->form + " on " + std::to_string(calibration->networks) + " networks"};
  };
}

Predictor latency_by_kernels(KernelModels models, FusionRules rules, std::string unit) {
  return [models = std::move(models), rules,
          unit = std::move(unit)](const Network& network) -> Result<Estimate> {
    NAS_TRY(sum, models.estimate(network, rules));
    return Estimate{"latency",
                    unit,
                    sum.value,
                    sum.low,
                    sum.high,
                    "predicted",
                    std::to_string(sum.kernels.size()) + " kernels by predictors of their kinds"};
  };
}

Predictor modelled_energy(EnergyTable table, Precision precision, FusionRules rules) {
  return [table = std::move(table), precision, rules](const Network& network) -> Result<Estimate> {
    const double joules = energy(network, precision, rules, table).joules();
    return Estimate{"energy", "J", joules, joules, joules, "modelled", table.name};
  };
}

Predictor modelled_memory(Precision precision, FusionRules rules) {
  return [precision, rules](const Network& network) -> Result<Estimate> {
    NAS_TRY(upper, memory_preset("in-place"));
    NAS_TRY(lower, memory_preset("overlap"));
    upper.precision = lower.precision = precision;
    upper.fusion = lower.fusion = rules;
    const auto high = static_cast<double>(peak_memory(network, upper).bytes.count());
    const auto low = static_cast<double>(peak_memory(network, lower).bytes.count());
    return Estimate{
        "peak memory", "B", high, low, high, "modelled", "in-place runtime; from: overlapping one"};
  };
}

Predictor modelled_flash(Precision precision, std::int64_t code) {
  return [precision, code](const Network& network) -> Result<Estimate> {
    const auto bytes = static_cast<double>(weight_bytes(network, precision).count() + code);
    return Estimate{
        "flash",
        "B",
        bytes,
        bytes,
        bytes,
        "modelled",
        code > 0 ? "weights and " + std::to_string(code) + " bytes of code" : "weights, without code"};
  };
}

}  // namespace nas::latency
