#include "latency/kernel_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

#include "latency/kernel_features.h"
#include "latency/measure/kernel_set.h"
#include "space/learn/gaussian_process.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/model_file.h"
#include "space/learn/split.h"

namespace nas::latency {
namespace {

using learn::GaussianProcess;
using learn::Matrix;
using Values = std::vector<double>;
using Rows = std::vector<std::size_t>;

constexpr std::size_t kFewest = 3;              // kernels of a kind
constexpr std::size_t kForFunctions = 12;       // from here on a Gaussian process is tried
constexpr std::size_t kMostForFunctions = 400;  // kernels of a kind it is fitted on
constexpr std::size_t kFolds = 10;
constexpr std::size_t kFeatures = 12;  // of kernel_features()

struct Sample {
  std::array<double, 3> work;
  Values features;
  double time = 0;
};

using Costs = std::array<double, 3>;

double by_costs(const Costs& c, const std::array<double, 3>& work) {
  return std::max(c[0] * work[0] + c[1] * work[1] + c[2] * work[2], 1e-9);
}

Matrix columns_of(const std::vector<Sample>& all, const Rows& rows, bool as_work) {
  Matrix x(rows.size(), as_work ? 3 : all[0].features.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (as_work)
      std::ranges::copy(all[rows[i]].work, x.row(i).begin());
    else
      std::ranges::copy(all[rows[i]].features, x.row(i).begin());
  }
  return x;
}

Result<Costs> fit_costs(const std::vector<Sample>& all, const Rows& rows) {
  Values y;
  for (const std::size_t row : rows) y.push_back(all[row].time);
  NAS_TRY(c, learn::fit_nonnegative(columns_of(all, rows, true), y, learn::relative_weights(y), 1e-9));
  return Costs{c[0], c[1], c[2]};
}

// Of the logarithm of what the costs leave; evenly taken rows where there are many.
Result<GaussianProcess> fit_rest(const std::vector<Sample>& all, Rows rows, const Costs& costs) {
  if (rows.size() > kMostForFunctions) {
    Rows some;
    for (std::size_t i = 0; i < kMostForFunctions; ++i)
      some.push_back(rows[i * rows.size() / kMostForFunctions]);
    rows = std::move(some);
  }
  Values y;
  for (const std::size_t row : rows) y.push_back(std::log(all[row].time / by_costs(costs, all[row].work)));
  return GaussianProcess::fit(columns_of(all, rows, false), y, {.most_rows = 120});
}

// One kind's predictor.
struct Kind {
  KindCosts summary;
  Costs costs{};
  std::optional<GaussianProcess> rest;
  double spread = 0;  // half width of the 90 % interval of the logarithm

  double predict(const std::array<double, 3>& work, const Values& features) const {
    double value = by_costs(costs, work);
    if (!rest) return value;
    Matrix x(1, features.size());
    std::ranges::copy(features, x.row(0).begin());
    return value * std::exp(rest->predict(x).mean[0]);
  }
};

// Predictions of every sample by fits without its fold: by costs, and with the process over them.
struct LeftOut {
  Values costs, gaussian;
};

Result<LeftOut> leave_out(const std::vector<Sample>& all, bool functions) {
  const std::size_t folds = std::min(kFolds, all.size());
  const auto fold = learn::fold_of_rows(all.size(), folds, 1);
  LeftOut out{Values(all.size()), Values(functions ? all.size() : 0)};
  for (std::size_t f = 0; f < folds; ++f) {
    Rows fit, ask;
    for (std::size_t i = 0; i < all.size(); ++i) (fold[i] == f ? ask : fit).push_back(i);
    NAS_TRY(costs, fit_costs(all, fit));
    for (const std::size_t i : ask) out.costs[i] = by_costs(costs, all[i].work);
    if (!functions) continue;
    NAS_TRY(rest, fit_rest(all, fit, costs));
    const Values more = rest.predict(columns_of(all, ask, false)).mean;
    for (std::size_t i = 0; i < ask.size(); ++i) out.gaussian[ask[i]] = out.costs[ask[i]] * std::exp(more[i]);
  }
  return out;
}

Result<Kind> fit_kind(const std::string& name, const std::vector<Sample>& all) {
  Kind kind;
  Values truth;
  Rows rows;
  for (std::size_t i = 0; i < all.size(); ++i) truth.push_back(all[i].time), rows.push_back(i);
  NAS_TRY(costs, fit_costs(all, rows));
  kind.costs = costs;
  kind.summary = {name, all.size(), costs[0], costs[1], costs[2], 0, 0, "costs", 0, 0};
  KindCosts& s = kind.summary;
  if (all.size() < kFewest) {  // nothing to leave out: right for what was measured, a guess beyond
    kind.spread = std::log(2.0);
    return kind;
  }
  const bool functions = all.size() >= kForFunctions;
  NAS_TRY(left, leave_out(all, functions));
  s.costs_mape = s.mape = learn::mape(truth, left.costs);
  Values kept = left.costs;
  if (functions) {
    s.gaussian_mape = learn::mape(truth, left.gaussian);
    if (s.gaussian_mape < 0.95 * s.costs_mape) {
      NAS_TRY(rest, fit_rest(all, rows, costs));
      kind.rest = std::move(rest);
      s.model = "costs + gaussian process";
      s.mape = s.gaussian_mape;
      kept = left.gaussian;
    }
  }
  Values errors;
  for (std::size_t i = 0; i < truth.size(); ++i) errors.push_back(std::abs(std::log(truth[i] / kept[i])));
  std::ranges::sort(errors);
  // ceil(0.9 (n + 1))-th smallest (split conformal); the largest and half where there are too few.
  const auto rank = static_cast<std::size_t>(std::ceil(0.9 * static_cast<double>(errors.size() + 1)));
  kind.spread = rank <= errors.size() ? errors[rank - 1] : 1.5 * errors.back();
  for (const double e : errors)
    s.coverage90 += e <= kind.spread ? 100.0 / static_cast<double>(errors.size()) : 0;
  return kind;
}

Result<std::map<std::string, std::vector<Sample>>> samples_by_kind(const Session& session) {
  std::map<std::string, std::vector<Sample>> out;
  for (const KernelRecord& r : session.kernels) {
    if (!r.failure.empty() || r.signature.starts_with(kNetworkPrefix)) continue;
    if (!std::isfinite(r.median) || r.median <= 0)
      return usage_error("kernel predictors of " + session.info.device + ": required positive times, found " +
                             std::to_string(r.median),
                         r.signature);
    NAS_TRY(kernel, parse_signature(r.signature));
    out[kernel_kind(kernel)].push_back({kernel_work(kernel), kernel_features(kernel), r.median});
  }
  return out;
}

}  // namespace

struct KernelModels::Impl {
  std::string device, precision, unit;
  std::map<std::string, Kind> kinds;
  std::vector<KindCosts> summaries;
};

Result<KernelModels> KernelModels::fit(const Session& session) {
  NAS_TRY(samples, samples_by_kind(session));
  auto impl = std::make_shared<Impl>();
  impl->device = session.info.device;
  impl->precision = session.info.precision;
  impl->unit = session.info.unit;
  std::size_t kernels = 0;
  for (const auto& [name, all] : samples) {
    kernels += all.size();
    NAS_TRY(kind, fit_kind(name, all));
    impl->summaries.push_back(kind.summary);
    impl->kinds.emplace(name, std::move(kind));
  }
  if (kernels < kFewest)
    return usage_error("kernel predictors need 3 measured kernels, found " + std::to_string(kernels));
  KernelModels out;
  out.impl_ = std::move(impl);
  return out;
}

const std::string& KernelModels::device() const { return impl_->device; }
const std::string& KernelModels::precision() const { return impl_->precision; }
const std::vector<KindCosts>& KernelModels::kinds() const { return impl_->summaries; }

Result<KernelEstimate> KernelModels::estimate(const Kernel& kernel) const {
  const std::string name = kernel_kind(kernel);
  const auto found = impl_->kinds.find(name);
  if (found == impl_->kinds.end()) {
    std::string known;
    for (const auto& [kind, model] : impl_->kinds) known += (known.empty() ? "" : ", ") + kind;
    return usage_error("no " + name + " was measured on " + impl_->device + " (measured: " + known + ")",
                       signature(kernel));
  }
  const double value = found->second.predict(kernel_work(kernel), kernel_features(kernel));
  const double wide = std::exp(found->second.spread);
  return KernelEstimate{signature(kernel), {}, value, value / wide, value * wide, EntrySource::predicted};
}

Result<TableEstimate> KernelModels::estimate(const Network& network, const FusionRules& rules) const {
  TableEstimate out;
  std::map<std::string, double> below, above;
  for (const Kernel& kernel : kernels(with_precision(network, precision_of(impl_->precision)), rules)) {
    NAS_TRY(one, estimate(kernel));
    one.layers = kernel.layers;
    out.value += one.value;
    below[kernel_kind(kernel)] += one.value - one.low;
    above[kernel_kind(kernel)] += one.high - one.value;
    out.kernels.push_back(std::move(one));
  }
  double low = 0, high = 0;
  for (const auto& [kind, width] : below) low += width * width;
  for (const auto& [kind, width] : above) high += width * width;
  out.low = std::max(0.0, out.value - std::sqrt(low));
  out.high = out.value + std::sqrt(high);
  return out;
}

std::string KernelModels::save() const {
  learn::ModelWriter w("kernel-models");
  w.text("device", impl_->device);
  w.text("precision", impl_->precision);
  w.text("unit", impl_->unit);
  w.number("kinds", static_cast<double>(impl_->kinds.size()));
  std::size_t i = 0;
  for (const auto& [name, kind] : impl_->kinds) {
    const std::string at = "kind" + std::to_string(i++) + ".";
    const KindCosts& s = kind.summary;
    w.text(at + "name", name);
    w.text(at + "model", s.model);
    const double numbers[] = {static_cast<double>(s.kernels),
                              s.per_mac,
                              s.per_element,
                              s.per_op,
                              s.costs_mape,
                              s.gaussian_mape,
                              s.mape,
                              s.coverage90,
                              kind.spread};
    w.numbers(at + "numbers", std::span<const double>(numbers));
    if (kind.rest) w.text(at + "rest", kind.rest->save());
  }
  return std::move(w).finish();
}

Result<KernelModels> KernelModels::load(const std::string& text, const std::string& where) {
  NAS_TRY(r, learn::ModelReader::open(text, where, "kernel-models"));
  auto impl = std::make_shared<Impl>();
  NAS_TRY(device, r.text("device"));
  NAS_TRY(precision, r.text("precision"));
  NAS_TRY(unit, r.text("unit"));
  impl->device = std::move(device);
  impl->precision = std::move(precision);
  impl->unit = std::move(unit);
  NAS_TRY(count, r.count("kinds", 1, 100));
  for (std::size_t i = 0; i < count; ++i) {
    const std::string at = "kind" + std::to_string(i) + ".";
    Kind kind;
    NAS_TRY(name, r.text(at + "name"));
    NAS_TRY(model, r.text(at + "model"));
    NAS_TRY(n, r.numbers(at + "numbers", 9));
    if (std::ranges::any_of(n, [](double v) { return v < 0; })) return r.error("a cost must not be negative");
    kind.costs = {n[1], n[2], n[3]};
    kind.spread = n[8];
    kind.summary = {name, static_cast<std::size_t>(n[0]), n[1], n[2], n[3], n[4], n[5], model, n[6], n[7]};
    if (model != "costs") {
      NAS_TRY(rest_text, r.text(at + "rest"));
      NAS_TRY(rest, GaussianProcess::load(rest_text, where));
      if (rest.features() != kFeatures)
        return r.error("the process of '" + name + "' has another number of features");
      kind.rest = std::move(rest);
    }
    impl->summaries.push_back(kind.summary);
    impl->kinds.emplace(name, std::move(kind));
  }
  KernelModels out;
  out.impl_ = std::move(impl);
  return out;
}

}  // namespace nas::latency
