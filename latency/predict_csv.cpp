#include "latency/predict_csv.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "latency/few_shot.h"
#include "latency/leave_out.h"
#include "latency/run_table.h"
#include "space/learn/split.h"

namespace nas::latency {
namespace {

using Values = std::vector<double>;

constexpr double kFailedShare = 0.02;  // of the median: rows at or below are timings that failed

Result<void> check_target(const Csv& csv, const std::string& name, const Values& y) {
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] < 0 && -y[i] > kFailedShare * std::abs(learn::median(y))) {
      return usage_error("a time cannot be negative: '" + name + "' is " + std::to_string(y[i]) +
                             "; --where '" + name + ">0' leaves such rows out",
                         csv.where + ":" + std::to_string(csv.lines[i]));
    }
  }
  if (y.size() > 1 && std::all_of(y.begin(), y.end(), [&](double v) { return v == y[0]; })) {
    return usage_error(
        "target '" + name + "' is the same in all " + std::to_string(y.size()) + " rows: nothing to predict",
        csv.where);
  }
  return {};
}

learn::Matrix rows_of(const learn::Matrix& m, std::span<const std::size_t> keep) {
  return m.columns > 0 ? learn::take_rows(m, keep) : learn::Matrix{};
}

// The table's entries, and beside them, standardised, what lies on a scale of which the table knows nothing.
learn::Matrix few_shot_columns(const Encoded& data) {
  learn::Matrix out = data.ordered;
  const auto n = static_cast<double>(out.rows);
  for (std::size_t c = 0; c < out.columns; ++c) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < out.rows; ++i) mean += out(i, c) / n;
    for (std::size_t i = 0; i < out.rows; ++i) square += (out(i, c) - mean) * (out(i, c) - mean) / n;
    for (std::size_t i = 0; i < out.rows; ++i)
      out(i, c) = square > 0 ? (out(i, c) - mean) / std::sqrt(square) : 0;
  }
  return out.columns > 0 ? learn::join_columns(data.table, out) : data.table;
}

// "v100_32" is the card v100 at batch size 32.
DeviceName device_name(const std::string& column) {
  const std::size_t end = column.find_last_not_of("0123456789");
  const bool numbered = end != std::string::npos && end > 0 && end + 1 < column.size() && column[end] == '_';
  return numbered ? DeviceName{column.substr(0, end), column.substr(end + 1)} : DeviceName{column, ""};
}

Result<PredictReport> report_on(const Values& y, std::span<const std::size_t> test, const Values& predicted,
                                const Values& low, const Values& high, PredictReport report) {
  if (test.empty()) return usage_error("no rows are left to test on");
  const Values truth = learn::take(y, test);
  NAS_TRY(metrics, learn::evaluate(truth, predicted));
  report.test = metrics;
  report.coverage90 = learn::coverage(truth, low, high);
  std::vector<std::pair<std::size_t, double>> residuals;
  for (std::size_t i = 0; i < test.size(); ++i) residuals.emplace_back(test[i], truth[i] / predicted[i] - 1);
  std::sort(residuals.begin(), residuals.end());
  Values ordered;
  for (const auto& [row, residual] : residuals) ordered.push_back(residual);
  report.residual_lag1 = learn::lag1_correlation(ordered);
  return report;
}

// Rows that repeat what an earlier row says of the same work and time are published twice, not measured
// twice.
std::vector<std::size_t> first_of_each(const WorkRows& rows, const Values& target) {
  std::set<std::pair<Values, std::vector<std::size_t>>> seen;
  std::vector<std::size_t> keep;
  for (std::size_t i = 0; i < target.size(); ++i) {
    Values numbers(rows.work.row(i).begin(), rows.work.row(i).end());
    numbers.push_back(target[i]);
    std::vector<std::size_t> words;
    if (seen.insert({std::move(numbers), std::move(words)}).second) keep.push_back(i);
  }
  return keep;
}

Result<PredictReport> predict_left_out(const PredictRequest& request, const Csv& csv, const Values& target) {
  if (request.features.empty())
    return usage_error("--leave-out reads amounts of work: name their columns with --features");
  NAS_TRY(all, read_work(csv, request.features, request.leave_out, request.groups, request.kinds));
  const std::vector<std::size_t> keep = first_of_each(all, target);
  WorkRows rows{learn::take_rows(all.work, keep), {}, {}};
  for (const auto& word : all.words) {
    auto& to = rows.words.emplace_back();
    for (const std::size_t i : keep) to.push_back(word[i]);
  }
  for (const std::size_t i : keep) rows.group.push_back(all.group[i]);
  const Values y = learn::take(target, keep);
  if (const auto bad = std::ranges::find_if(y, [](double v) { return !(v > 0); }); bad != y.end())
    return usage_error("a time must be above 0, found " + std::to_string(*bad), csv.where);
  NAS_TRY(fit, leave_groups_out(rows, y));
  PredictReport report;
  report.model = fit.model;
  report.rungs = fit.rungs;
  report.n_duplicates = target.size() - keep.size();
  report.n_groups = std::set<std::string>(rows.group.begin(), rows.group.end()).size();
  report.n_train = y.size();
  std::vector<std::size_t> test(y.size());
  std::iota(test.begin(), test.end(), std::size_t{0});
  return report_on(y, test, fit.predicted, fit.low, fit.high, report);
}

Result<PredictReport> predict_runs(const PredictRequest& request, const Csv& csv) {
  NAS_TRY(table, read_runs(csv, request.item, request.runs, request.features, request.target));
  NAS_TRY(fit, predict_unseen_runs(table, request.samples, request.drawn, request.seed));
  PredictReport report;
  report.model = std::string("gaussian of log times, networks ") + (request.drawn ? "drawn" : "chosen");
  report.n_groups = std::set<std::string>(table.device.begin(), table.device.end()).size();
  report.n_runs = table.device.size();
  report.n_networks = table.networks.size();
  report.n_train = request.samples;
  std::vector<std::size_t> test(fit.truth.size());
  std::iota(test.begin(), test.end(), std::size_t{0});
  return report_on(fit.truth, test, fit.predicted, fit.low, fit.high, report);
}

}  // namespace

Result<PredictReport> predict_csv(const PredictRequest& request) {
  if (request.item.empty() && request.space.empty() == request.features.empty())
    return usage_error("give either --space or --features");
  if (request.train < 0.01 || request.train > 0.9)
    return usage_error("--train must be from 0.01 to 0.9 (a tenth validates, the rest tests)");
  NAS_TRY(whole, read_csv(request.file));
  NAS_TRY(csv, filter(std::move(whole), request.where));
  if (!request.item.empty()) return predict_runs(request, csv);
  NAS_TRY(target, target_column(csv, request.target, false));
  NAS_CHECK(check_target(csv, request.target, target));
  if (!request.leave_out.empty()) return predict_left_out(request, csv, target);
  std::vector<Values> sources;
  for (const std::string& name : request.sources) {
    if (name == request.target) return usage_error("source '" + name + "' is the target itself");
    NAS_TRY(source, target_column(csv, name, false));
    NAS_CHECK(check_target(csv, name, source));
    sources.push_back(std::move(source));
  }
  NAS_TRY(encoded,
          request.space.empty() ? encode_features(csv, request.features) : encode_space(csv, request.space));
  PredictReport report;
  std::vector<std::size_t> keep;
  std::set<std::string> seen;
  const double least = kFailedShare * learn::median(target);
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (!seen.insert(encoded.key[i]).second) ++report.n_duplicates;
    if (target[i] > least && target[i] > 0) keep.push_back(i);
  }
  report.n_dropped = target.size() - keep.size();
  if (keep.size() < 10)
    return usage_error(
        "at least 10 rows with a positive time are needed, found " + std::to_string(keep.size()), csv.where);
  const Encoded data{rows_of(encoded.table, keep),   rows_of(encoded.cross, keep),
                     rows_of(encoded.numbers, keep), {},
                     encoded.positive_entries,       rows_of(encoded.ordered, keep)};
  const Values y = learn::take(target, keep);
  if (request.samples > 0) {
    if (sources.empty())
      return usage_error("--samples treats the target as a new device: name known ones with --sources");
    for (Values& s : sources) s = learn::take(s, keep);
    std::vector<DeviceName> names;
    for (const std::string& name : request.sources) names.push_back(device_name(name));
    names.push_back(device_name(request.target));
    NAS_TRY(fit, few_shot(few_shot_columns(data), sources, names, y, request.samples, request.seed));
    std::vector<bool> measured(y.size(), false);
    for (const std::size_t row : fit.measured) measured[row] = true;
    std::vector<std::size_t> test;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (!measured[i]) test.push_back(i);
    }
    report.model = "gaussian prior from " + std::to_string(sources.size()) + " devices";
    report.n_train = fit.measured.size();
    return report_on(y, test, learn::take(fit.predicted, test), learn::take(fit.low, test),
                     learn::take(fit.high, test), report);
  }
  const learn::Split split = learn::split_rows(y.size(), request.train, request.seed);
  NAS_TRY(fit, fit_ladder(data, y, split.train, split.validation, split.test, request.seed));
  report.model = fit.model;
  report.rungs = fit.rungs;
  report.n_train = split.train.size();
  report.n_validation = split.validation.size();
  return report_on(y, split.test, fit.predicted, fit.low, fit.high, report);
}

}  // namespace nas::latency
