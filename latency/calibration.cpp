#include "latency/calibration.h"

#include <algorithm>
#include <cmath>

#include "space/json/document.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

const std::vector<std::string> kForms{"sum", "factor", "affine", "affine+kernels"};

// Columns of one form: which of sum, 1 and kernels it uses.
learn::Matrix columns(const std::string& form, std::span<const SumFeatures> sums) {
  const std::size_t width = form == "factor" ? 1 : form == "affine" ? 2 : 3;
  learn::Matrix x(sums.size(), width);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    x(i, 0) = sums[i].sum;
    if (width > 1) x(i, 1) = 1;
    if (width > 2) x(i, 2) = sums[i].kernels;
  }
  return x;
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

}  // namespace

Result<Calibration> fit_calibration(std::span<const SumFeatures> sums, std::span<const double> measured) {
  if (sums.size() != measured.size() || sums.size() < 5)
    return usage_error("calibration needs 5 measured networks at least, found " +
                       std::to_string(sums.size()));
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (!(measured[i] > 0) || !(sums[i].sum > 0) || !std::isfinite(measured[i] + sums[i].sum))
      return usage_error("calibration needs positive times, found " + std::to_string(measured[i]));
  std::vector<Calibration::Candidate> evidence;
  std::string best;
  double least = HUGE_VAL;
  std::vector<double> kept;
  for (const std::string& form : kForms) {
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

std::string to_json(const Calibration& c) {
  nlohmann::ordered_json evidence = nlohmann::ordered_json::array();
  for (const auto& e : c.evidence) evidence.push_back({{"form", e.form}, {"mape", e.mape}});
  return nlohmann::ordered_json{{"form", c.form},         {"factor", c.factor},
                                {"constant", c.constant}, {"per_kernel", c.per_kernel},
                                {"spread", c.spread},     {"networks", c.networks},
                                {"evidence", evidence}}
             .dump(2) +
         "\n";
}

Result<Calibration> parse_calibration(const std::string& text, const std::string& where) {
  NAS_TRY(document, JsonDocument::parse(text, where));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  Calibration c;
  c.form = reader.word("form", kForms);
  c.factor = reader.number("factor", 0, 1e9);
  c.constant = reader.number("constant", 0, 1e18);
  c.per_kernel = reader.number("per_kernel", 0, 1e18);
  c.spread = reader.number("spread", 0, 1e9);
  c.networks = static_cast<std::size_t>(reader.integer("networks", 0, 1'000'000'000));
  for (JsonReader& one : reader.objects("evidence")) {
    c.evidence.push_back({one.word("form", kForms), one.number("mape", 0, 1e12)});
    one.done();
  }
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  return c;
}

}  // namespace nas::latency
