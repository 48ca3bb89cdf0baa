#include "apps/compress/costs.h"

#include <cstdio>

#include "apps/network_costs.h"
#include "space/cost.h"

namespace nas::apps {
namespace {

constexpr double kMillion = 1e6;

std::string text(double value) {
  char words[40];
  std::snprintf(words, sizeof words, "%.6g", value);
  return words;
}

}  // namespace

Result<CompressCosts> CompressCosts::open(const Context& context, const CompressOptions& options) {
  CompressCosts costs;
  NAS_TRY(limits, parse_limits(options.under));
  costs.limits_ = limits;
  if (options.session.session.empty() && options.session.device.empty()) {
    if (limits.latency)
      return usage_error("a limit on latency needs --session or --device, to predict it by");
    return costs;
  }
  NAS_TRY(predictor, open_session_predictor(context, options.session));
  NAS_TRY(device, devices::load_profile(predictor.session.info.device,
                                        std::filesystem::path(context.project) / "devices"));
  costs.engine_ = device.engine;
  costs.device_ = device.name;
  if (auto models = latency::KernelModels::fit(predictor.session))
    costs.models_ = std::make_shared<const latency::KernelModels>(std::move(*models));
  costs.predictor_ = std::make_shared<const SessionPredictor>(std::move(predictor));
  return costs;
}

double CompressCosts::flash(const Network& network) {
  return static_cast<double>(weight_bytes(network, {8, 8}).count());
}

std::string CompressCosts::latency_unit() const {
  return predictor_ && session_metric(predictor_->session.info) == "minstr" ? "Minstr" : "ms";
}

Result<double> CompressCosts::latency(const Network& network) const {
  const auto sum = predictor_->table.estimate(network, predictor_->rules);
  if (!sum) {
    if (!models_) return sum.error();
    NAS_TRY(by_kind, models_->estimate(network, predictor_->rules));
    return by_kind.value / kMillion;
  }
  const double value =
      predictor_->calibration ? (*predictor_->calibration)(latency::sum_features(network, *sum)) : sum->value;
  return value / kMillion;
}

Result<CompressCosts::Target> CompressCosts::target() const {
  if (limits_.latency)
    return Target{"latency", [*this](const Network& n) { return latency(n); }, *limits_.latency};
  if (limits_.macs)
    return Target{"macs",
                  [](const Network& n) -> Result<double> { return static_cast<double>(macs(n).count()); },
                  *limits_.macs};
  if (limits_.flash)
    return Target{"flash", [](const Network& n) -> Result<double> { return flash(n); }, *limits_.flash};
  return usage_error("auto and search need a limit to work towards: --under flash=…, macs=… or latency=…");
}

Result<void> CompressCosts::check_bits(std::int32_t bits) const {
  if (engine_ == "c" || bits == 8) return {};
  return usage_error("weights of " + std::to_string(bits) + " bits: engine " + engine_ +
                         " has kernels for 8 bits only, engine c for 8, 4 and 2",
                     device_);
}

Result<void> CompressCosts::check(const Network& network) const {
  const auto over = [](const char* what, double value, double limit, const std::string& unit) {
    return Error{std::string(what) + " is " + text(value) + " " + unit + ", the limit is " + text(limit) +
                     ": " + text(value - limit) + " too many",
                 "", ErrorKind::infeasible};
  };
  if (limits_.flash && flash(network) > *limits_.flash)
    return over("flash of the weights", flash(network), *limits_.flash, "bytes");
  if (const auto n = static_cast<double>(macs(network).count()); limits_.macs && n > *limits_.macs)
    return over("the number of MACs", n, *limits_.macs, "");
  if (!limits_.latency) return {};
  NAS_TRY(found, latency(network));
  if (found > *limits_.latency) return over("predicted latency", found, *limits_.latency, latency_unit());
  return {};
}

}  // namespace nas::apps
