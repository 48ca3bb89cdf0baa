#include "apps/compress/costs.h"

#include <cstdio>

#include "apps/network_costs.h"
#include "latency/kernel_features.h"
#include "latency/measure/kernel_set.h"
#include "space/cost.h"

namespace nas::apps {
namespace {

constexpr double kMillion = 1e6;
constexpr Precision kInt8{8, 8};

}  // namespace

std::string cost_text(double value) {
  char words[40];
  std::snprintf(words, sizeof words, "%.6g", value);
  return words;
}

Result<CompressCosts> CompressCosts::open(const Context& context, const CompressOptions& options) {
  CompressCosts costs;
  NAS_TRY(limits, parse_limits(options.under));
  costs.limits_ = limits;
  if (limits.energy) {
    NAS_TRY(table, load_energy_table(options.energy));
    costs.energy_ = std::move(table);
  }
  if (options.session.session.empty() && options.session.device.empty()) {
    if (limits.latency)
      return usage_error("a limit on latency needs --session or --device, to predict it by");
    return costs;
  }
  NAS_TRY(predictor, open_session_predictor(context, options.session));
  NAS_TRY(device, devices::load_profile(predictor.session.info.device,
                                        std::filesystem::path(context.project) / "devices"));
  costs.engine_ = device.engine;
  costs.rules_ = predictor.rules;
  costs.device_ = device.name;
  costs.kinds_ = std::make_shared<KindModels>();
  costs.predictor_ = std::make_shared<const SessionPredictor>(std::move(predictor));
  return costs;
}

double CompressCosts::flash(const Network& network) {
  return static_cast<double>(weight_bytes(network, kInt8).count());
}

std::string CompressCosts::latency_unit() const {
  return predictor_ && session_metric(predictor_->session.info) == "minstr" ? "Minstr" : "ms";
}

Result<latency::KernelEstimate> CompressCosts::by_kind(const Kernel& kernel) const {
  const std::string kind = latency::kernel_kind(kernel);
  auto known = kinds_->find(kind);
  if (known == kinds_->end()) {
    const latency::Session& session = predictor_->session;
    std::map<std::string, std::vector<latency::KernelRecord>> all;
    for (const latency::KernelRecord& r : session.kernels)
      if (const auto other = parse_signature(r.signature)) all[latency::kernel_kind(*other)].push_back(r);
    // A fit wants some kernels: those of other kinds with few come along, which costs no time.
    constexpr std::size_t kFew = 12;
    latency::Session own{session.info, {}};
    for (const auto& [name, records] : all)
      if (name == kind || (records.size() < kFew && all.contains(kind)))
        own.kernels.insert(own.kernels.end(), records.begin(), records.end());
    if (own.kernels.empty())
      return usage_error("no " + kind + " was measured in session " + session.info.id, signature(kernel));
    NAS_TRY(models, latency::KernelModels::fit(own));
    known = kinds_->emplace(kind, std::move(models)).first;
  }
  // As in the table: a bias that pruning or integer training adds makes no other kernel.
  Kernel plain = kernel;
  if (latency::precision_of(predictor_->session.info.precision).weight_bits < 32) plain.anchor.bias = false;
  return known->second.estimate(plain);
}

Result<double> CompressCosts::latency(const Network& network) const {
  if (const auto sum = predictor_->table.estimate(network, rules_)) {
    const auto& calibration = predictor_->calibration;
    return (calibration ? (*calibration)(latency::sum_features(network, *sum)) : sum->value) / kMillion;
  }
  double sum = 0;
  const Precision precision = latency::precision_of(predictor_->session.info.precision);
  for (const Kernel& kernel : kernels(latency::with_precision(network, precision), rules_)) {
    auto one = predictor_->table.estimate(kernel);
    if (!one) one = by_kind(kernel);
    if (!one) return one.error();
    sum += one->value;
  }
  return sum / kMillion;
}

double CompressCosts::energy(const Network& network) const {
  return nas::energy(network, kInt8, rules_, energy_).joules() * kMillion;
}

std::vector<CompressCosts::Target> CompressCosts::targets() const {
  std::vector<Target> all;
  if (limits_.latency)
    all.push_back({"latency", "predicted latency", latency_unit(),
                   [*this](const Network& n) { return latency(n); }, *limits_.latency});
  if (limits_.energy)
    all.push_back({"energy", "modelled energy", "microjoules",
                   [*this](const Network& n) -> Result<double> { return energy(n); }, *limits_.energy});
  if (limits_.macs)
    all.push_back({"macs", "the number of MACs", "",
                   [](const Network& n) -> Result<double> { return static_cast<double>(macs(n).count()); },
                   *limits_.macs});
  if (limits_.flash)
    all.push_back({"flash", "flash of the weights", "bytes",
                   [](const Network& n) -> Result<double> { return flash(n); }, *limits_.flash});
  return all;
}

Result<CompressCosts::Target> CompressCosts::target() const {
  const std::vector<Target> all = targets();
  if (!all.empty()) return all.front();
  return usage_error(
      "uniform, auto and search need a limit to work towards: --under flash=…, macs=…, latency=… or "
      "energy=…");
}

Result<void> CompressCosts::check_bits(std::int32_t bits) const {
  if (engine_ == "c" || bits == 8) return {};
  return usage_error("weights of " + std::to_string(bits) + " bits: engine " + engine_ +
                         " has kernels for 8 bits only, engine c for 8, 4 and 2",
                     device_);
}

Result<void> CompressCosts::check(const Network& network) const {
  for (const Target& target : targets()) {
    NAS_TRY(value, target.cost(network));
    if (value > target.limit)
      return Error{std::string(target.what) + " is " + cost_text(value) + " " + target.unit +
                       ", the limit is " + cost_text(target.limit) + ": " + cost_text(value - target.limit) +
                       " too many",
                   "", ErrorKind::infeasible};
  }
  return {};
}

}  // namespace nas::apps
