#include "latency/calibration.h"

#include <algorithm>
#include <cmath>

#include "space/cost.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/model_file.h"

namespace nas::latency {
namespace {

const std::vector<std::string> kForms{"sum", "factor", "affine", "affine+kernels", "trees", "mlp"};
constexpr std::size_t kLinearForms = 4;
constexpr std::size_t kShape = 7;      // numbers of SumFeatures::shape
constexpr std::size_t kForTrees = 20;  // measured networks below which nothing that bends is tried

bool bends(const std::string& form) { return form == "trees" || form == "mlp"; }

// Columns of one linear form: which of sum, 1 and kernels it uses.
learn::Matrix columns(const std::string& form, std::span<const SumFeatures> sums) {
  const std::size_t width = form == "affine" ? 2 : form == "affine+kernels" ? 3 : 1;
  learn::Matrix x(sums.size(), width);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    x(i, 0) = sums[i].sum;
    if (width > 1) x(i, 1) = 1;
    if (width > 2) x(i, 2) = sums[i].kernels;
  }
  return x;
}

// What trees and networks see.
std::vector<double> inputs(const SumFeatures& f) {
  std::vector<double> out{std::log(f.sum), std::log(f.kernels + 1)};
  out.insert(out.end(), f.shape.begin(), f.shape.end());
  return out;
}

learn::Matrix inputs(std::span<const SumFeatures> sums) {
  learn::Matrix x(sums.size(), inputs(sums[0]).size());
  for (std::size_t i = 0; i < sums.size(); ++i) std::ranges::copy(inputs(sums[i]), x.row(i).begin());
  return x;
}

Result<void> fit_rest(Calibration& c, std::span<const SumFeatures> sums, std::span<const double> measured) {
  std::vector<double> rest;
  for (std::size_t i = 0; i < sums.size(); ++i)
    rest.push_back(std::log(measured[i] / (c.factor * sums[i].sum)));
  if (c.form == "trees") {
    NAS_TRY(trees, learn::Trees::fit(inputs(sums), rest,
                                     {.rounds = 80, .depth = 3, .learning_rate = 0.08, .min_weight = 3}));
    c.trees = std::move(trees);
  } else {
    NAS_TRY(mlp, learn::Mlp::fit(inputs(sums), rest,
                                 {.hidden = {16},
                                  .epochs = 150,
                                  .batch = 16,
                                  .learning_rate = 3e-3,
                                  .weight_decay = 0.05,
                                  .loss = learn::Loss::huber,
                                  .members = 3}));
    c.mlp = std::move(mlp);
  }
  return {};
}

Result<Calibration> fit_form(const std::string& form, std::span<const SumFeatures> sums,
                             std::span<const double> measured) {
  Calibration c;
  c.form = form;
  if (form == "sum") return c;
  // Costs only: whatever surrounds the kernels takes time, it gives none back.
  NAS_TRY(found,
          learn::fit_nonnegative(columns(form, sums), measured, learn::relative_weights(measured), 1e-12));
  c.factor = found[0];
  if (found.size() > 1) c.constant = found[1];
  if (found.size() > 2) c.per_kernel = found[2];
  if (bends(form)) NAS_CHECK(fit_rest(c, sums, measured));
  return c;
}

// Predictions of each network by a fit without its fold.
Result<std::vector<double>> left_out(const std::string& form, std::span<const SumFeatures> sums,
                                     std::span<const double> measured) {
  const std::size_t folds = std::min<std::size_t>(10, sums.size());
  std::vector<double> predicted(sums.size());
  for (std::size_t fold = 0; fold < folds; ++fold) {
    std::vector<SumFeatures> x;
    std::vector<double> y;
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (i % folds != fold) x.push_back(sums[i]), y.push_back(measured[i]);
    NAS_TRY(fit, fit_form(form, x, y));
    for (std::size_t i = fold; i < sums.size(); i += folds) predicted[i] = fit(sums[i]);
  }
  return predicted;
}

double conformal_spread(std::span<const double> predicted, std::span<const double> measured) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < measured.size(); ++i) {
    const double ratio = measured[i] / predicted[i];
    errors.push_back(std::max(ratio, 1 / ratio) - 1);
  }
  std::ranges::sort(errors);
  // ceil(0.9 (n + 1))-th smallest: split conformal prediction (Vovk et al. 2005).
  const auto rank = static_cast<std::size_t>(std::ceil(0.9 * static_cast<double>(errors.size() + 1)));
  return errors[std::min(rank, errors.size()) - 1];
}

Result<void> check(std::span<const SumFeatures> sums, std::span<const double> measured) {
  if (sums.size() != measured.size() || sums.size() < 5)
    return usage_error("calibration needs 5 measured networks at least, found " +
                       std::to_string(sums.size()));
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (!(measured[i] > 0) || !(sums[i].sum > 0) || !std::isfinite(measured[i] + sums[i].sum))
      return usage_error("calibration needs positive times, found " + std::to_string(measured[i]));
    if (sums[i].shape.size() != sums[0].shape.size())
      return usage_error("calibration needs shapes of one length");
  }
  return {};
}

Result<void> load_rest(Calibration& c, const learn::ModelReader& reader, const std::string& where) {
  NAS_TRY(text, reader.text(c.form));
  if (c.form == "trees") {
    NAS_TRY(trees, learn::Trees::load(text, where));
    c.trees = std::move(trees);
  } else {
    NAS_TRY(mlp, learn::Mlp::load(text, where));
    c.mlp = std::move(mlp);
  }
  const std::size_t seen = c.trees ? c.trees->features() : c.mlp->features();
  if (seen != 2 + kShape)
    return reader.error("a calibration sees " + std::to_string(2 + kShape) + " numbers of a network, found " +
                        std::to_string(seen));
  return {};
}

}  // namespace

SumFeatures sum_features(const Network& network, const TableEstimate& estimate) {
  SumFeatures out{estimate.value, static_cast<double>(estimate.kernels.size()), std::vector<double>(kShape)};
  double work = 0, elements = 0;
  for (const KernelEstimate& k : estimate.kernels) {
    const Layer& anchor = network.layers[static_cast<std::size_t>(k.layers.front())];
    const bool convolution = anchor.kind == LayerKind::conv;
    const std::size_t kind = is_depthwise(anchor)                ? 1
                             : convolution && anchor.kernel == 1 ? 0
                             : convolution                       ? 2
                             : anchor.kind == LayerKind::linear  ? 3
                                                                 : 4;
    out.shape[kind] += k.value / estimate.value;
    work += static_cast<double>(macs(anchor).count());
    elements += static_cast<double>(anchor.in.elements() + anchor.out.elements());
  }
  out.shape[5] = std::log1p(work);
  out.shape[6] = std::log1p(elements / std::max(1.0, out.kernels));
  return out;
}

double Calibration::operator()(const SumFeatures& f) const {
  const double base = constant + factor * f.sum + per_kernel * f.kernels;
  if (!trees && !mlp) return base;
  learn::Matrix x(1, inputs(f).size());
  std::ranges::copy(inputs(f), x.row(0).begin());
  return base * std::exp((trees ? trees->predict(x) : mlp->predict(x))[0]);
}

Result<Calibration> fit_calibration(std::span<const SumFeatures> sums, std::span<const double> measured) {
  NAS_CHECK(check(sums, measured));
  std::vector<Calibration::Candidate> evidence;
  std::string best;
  double least = HUGE_VAL;
  std::vector<double> kept;
  const bool few = sums.size() < kForTrees || sums[0].shape.empty();
  for (const std::string& form : std::span(kForms).first(few ? kLinearForms : kForms.size())) {
    NAS_TRY(predicted, left_out(form, sums, measured));
    const double error = learn::mape(measured, predicted);
    evidence.push_back({form, error});
    // A richer form must earn its place: by a twentieth at least.
    if (error >= 0.95 * least) continue;
    least = error;
    best = form;
    kept = std::move(predicted);
  }
  NAS_TRY(c, fit_form(best, sums, measured));
  c.spread = conformal_spread(kept, measured);
  c.networks = sums.size();
  c.evidence = std::move(evidence);
  return c;
}

std::string save_calibration(const Calibration& c) {
  learn::ModelWriter writer("calibration");
  writer.text("form", c.form);
  writer.numbers("costs", std::vector<double>{c.factor, c.constant, c.per_kernel});
  writer.number("spread", c.spread);
  writer.number("networks", static_cast<double>(c.networks));
  std::vector<double> evidence;
  for (const std::string& form : kForms)
    for (const auto& e : c.evidence)
      if (e.form == form) evidence.push_back(e.mape);
  writer.numbers("evidence", evidence);  // of the first forms in order
  if (c.trees) writer.text("trees", c.trees->save());
  if (c.mlp) writer.text("mlp", c.mlp->save());
  return std::move(writer).finish();
}

Result<Calibration> load_calibration(const std::string& text, const std::string& where) {
  NAS_TRY(reader, learn::ModelReader::open(text, where, "calibration"));
  Calibration c;
  NAS_TRY(form, reader.text("form"));
  if (std::ranges::count(kForms, form) == 0)
    return reader.error("unknown form of calibration '" + form + "'");
  c.form = form;
  NAS_TRY(costs, reader.numbers("costs", 3));
  NAS_TRY(spread, reader.number("spread"));
  NAS_TRY(networks, reader.count("networks", 0, 1'000'000'000));
  NAS_TRY(evidence, reader.numbers("evidence"));
  if (std::ranges::min(costs) < 0 || spread < 0)
    return reader.error("a calibration's costs and spread cannot be negative");
  if (evidence.size() > kForms.size()) return reader.error("more evidence than forms");
  c.factor = costs[0], c.constant = costs[1], c.per_kernel = costs[2];
  c.spread = spread;
  c.networks = networks;
  for (std::size_t i = 0; i < evidence.size(); ++i) c.evidence.push_back({kForms[i], evidence[i]});
  if (bends(form)) NAS_CHECK(load_rest(c, reader, where));
  return c;
}

}  // namespace nas::latency
