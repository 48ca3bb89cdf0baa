#include "latency/few_shot_model.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "space/learn/linear.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;

constexpr double kConstant = 25;       // variance of the constant
constexpr double kLead = 0.09;         // of the lead's weight around 1
constexpr double kBelief = 4;          // measurements' worth of trust in a prior's scale
constexpr std::size_t kFitted = 2500;  // rows that tell a known device's table
constexpr double kSharpness = 8;       // of the soft maximum: it rounds the corner within 1/8 in log time

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Values centred_log(const Values& times) {
  const double floor = 0.02 * learn::median(times);
  Values out(times.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::log(std::max(times[i], floor));
  const double mean = std::accumulate(out.begin(), out.end(), 0.0) / static_cast<double>(out.size());
  for (double& v : out) v -= mean;
  return out;
}

double log_of(const KnownDevices& known, double smooth, std::size_t device, std::size_t i) {
  return known.logs[device][i] - smooth * known.rests[device][i];
}

double lead_of(const KnownDevices& known, const Lead& lead, double smooth, std::size_t i) {
  if (!lead.slower) {
    double sum = 0;
    for (const std::size_t d : lead.devices) sum += log_of(known, smooth, d, i);
    return sum / static_cast<double>(lead.devices.size());
  }
  const double a = log_of(known, smooth, lead.devices[0], i);
  const double b = log_of(known, smooth, lead.devices[1], i) + lead.shift;
  // The shift lifts the whole; what is left of it is taken up by the constant.
  return std::max(a, b) + std::log1p(std::exp(-kSharpness * std::abs(a - b))) / kSharpness -
         std::max(lead.shift, 0.0);
}

double source_variance(const FewShotPrior& prior, std::size_t devices) {
  return prior.sources * prior.sources / std::max<double>(1, static_cast<double>(devices));
}
double table_variance(const FewShotPrior& prior, double size) {
  return prior.table * prior.table / std::max(size, 1e-12);
}

double student_scale(double surprise, std::size_t measurements) {
  return std::sqrt((kBelief + surprise) / (kBelief + static_cast<double>(measurements) - 1));
}

// Covariances of measured rows that one lead's parts give, each for a variance of 1.
struct Grams {
  Values lead;
  Matrix sources, table;
};

Matrix gram_of_rows(const Matrix& m) {
  Matrix out(m.rows, m.rows);
  for (std::size_t i = 0; i < m.rows; ++i)
    for (std::size_t k = 0; k <= i; ++k) out(i, k) = out(k, i) = dot(m.row(i), m.row(k));
  return out;
}

Grams grams(const KnownDevices& measured, const Lead& lead, double smooth, const Matrix& table) {
  const std::size_t n = measured.table.rows;
  Grams out{Values(n), {}, table};
  Matrix apart(n, measured.logs.size());
  for (std::size_t i = 0; i < n; ++i) {
    out.lead[i] = lead_of(measured, lead, smooth, i);
    for (std::size_t d = 0; d < apart.columns; ++d)
      apart(i, d) = log_of(measured, smooth, d, i) - out.lead[i];
  }
  out.sources = gram_of_rows(apart);
  return out;
}

// Factor of the measurements' covariance, and what they differ from the lead.
struct Measurements {
  Matrix factor;
  Values apart;
};

Measurements measurements(const KnownDevices& known, const Grams& g, const FewShotPrior& prior,
                          std::span<const double> log_times, std::span<const double> doubt) {
  const std::size_t n = log_times.size();
  const double of_source = source_variance(prior, known.logs.size());
  const double of_entry = table_variance(prior, known.size);
  Matrix covariance(n, n);
  Values apart(n);
  for (std::size_t i = 0; i < n; ++i) {
    apart[i] = log_times[i] - g.lead[i];
    for (std::size_t k = 0; k <= i; ++k)
      covariance(i, k) = covariance(k, i) =
          kConstant + kLead * g.lead[i] * g.lead[k] + of_source * g.sources(i, k) + of_entry * g.table(i, k);
    covariance(i, i) += prior.noise * prior.noise + doubt[i];
  }
  return {*learn::cholesky(covariance), std::move(apart)};  // it exists: the diagonal holds noise
}

}  // namespace

KnownDevices KnownDevices::rows(std::span<const std::size_t> some) const {
  KnownDevices out{learn::take_rows(table, some), {}, {}, names, size};
  for (const Values& log : logs) out.logs.push_back(learn::take(log, some));
  for (const Values& rest : rests) out.rests.push_back(learn::take(rest, some));
  return out;
}

KnownDevices KnownDevices::without(std::size_t device) const {
  const auto related = [&](std::size_t d) { return names[d].card == names[device].card; };
  std::size_t relatives = 0;
  for (std::size_t d = 0; d < logs.size(); ++d) relatives += related(d);
  const bool alone = logs.size() < relatives + 2;
  KnownDevices out{table, {}, {}, {}, size};
  for (std::size_t d = 0; d < logs.size(); ++d) {
    if (alone ? d == device : related(d)) continue;
    out.logs.push_back(logs[d]);
    out.rests.push_back(rests[d]);
    out.names.push_back(names[d]);
  }
  return out;
}

KnownDevices known_devices(const Matrix& table, const std::vector<Values>& times,
                           std::vector<DeviceName> names) {
  KnownDevices out{table, {}, {}, std::move(names), 0};
  const auto n = static_cast<double>(table.rows);
  for (std::size_t j = 0; j < table.columns; ++j) {
    double mean = 0;
    for (std::size_t i = 0; i < table.rows; ++i) mean += table(i, j) / n;
    for (std::size_t i = 0; i < table.rows; ++i) {
      out.table(i, j) -= mean;
      out.size += out.table(i, j) * out.table(i, j) / n;
    }
  }
  for (const Values& t : times) out.logs.push_back(centred_log(t));
  std::vector<std::size_t> some;
  for (std::size_t i = 0; i < table.rows; i += 1 + table.rows / kFitted) some.push_back(i);
  const Matrix fitted = learn::take_rows(out.table, some);
  out.rests.resize(times.size());
  tbb::parallel_for(std::size_t{0}, times.size(), [&](std::size_t d) {
    const auto fit =
        learn::fit_ridge(fitted, learn::take(out.logs[d], some), {.lambda = 1e-4, .robust_rounds = 3});
    for (std::size_t i = 0; i < table.rows; ++i)
      out.rests[d].push_back(fit ? out.logs[d][i] - fit->predict(out.table.row(i)) : 0);
  });
  return out;
}

FewShotBasis few_shot_basis(const KnownDevices& known, const FewShotPrior& prior, const Lead& lead) {
  const std::size_t n = known.table.rows, devices = known.logs.size();
  FewShotBasis b{Matrix(n, 2 + devices + known.table.columns), {}, {}};
  for (std::size_t i = 0; i < n; ++i) {
    auto row = b.phi.row(i);
    row[0] = 1;
    row[1] = lead_of(known, lead, prior.smooth, i);
    for (std::size_t s = 0; s < devices; ++s) row[2 + s] = log_of(known, prior.smooth, s, i) - row[1];
    std::ranges::copy(known.table.row(i), row.begin() + static_cast<std::ptrdiff_t>(2 + devices));
  }
  b.mean.assign(b.phi.columns, 0.0);
  b.mean[1] = 1;
  b.variance.assign(b.phi.columns, table_variance(prior, known.size));
  b.variance[0] = kConstant;
  b.variance[1] = kLead;
  std::fill_n(b.variance.begin() + 2, devices, source_variance(prior, devices));
  return b;
}

FewShotPosterior condition_few_shot(const FewShotBasis& b, const FewShotPrior& prior,
                                    std::span<const double> log_times, std::span<const double> doubt) {
  FewShotPosterior out{b.mean, {}, 0};
  for (std::size_t step = 0; step < log_times.size(); ++step) {
    const auto row = b.phi.row(step);
    Values v(row.size());
    for (std::size_t j = 0; j < v.size(); ++j) v[j] = b.variance[j] * row[j];
    for (const Values& u : out.vectors) {
      const double along = dot(u, row);
      for (std::size_t j = 0; j < v.size(); ++j) v[j] -= u[j] * along;
    }
    const double spread = dot(v, row) + prior.noise * prior.noise + doubt[step];
    const double surprise = log_times[step] - dot(out.mean, row);
    // The first measurement only tells the scale of the device, about which nothing was known.
    if (step > 0) out.surprise += surprise * surprise / spread;
    for (std::size_t j = 0; j < v.size(); ++j) out.mean[j] += v[j] * surprise / spread;
    for (double& x : v) x /= std::sqrt(spread);
    out.vectors.push_back(std::move(v));
  }
  return out;
}

double FewShotPosterior::scale() const { return student_scale(surprise, vectors.size()); }

Values few_shot_evidence(const KnownDevices& measured, const Lead& lead, std::span<const FewShotPrior> priors,
                         std::span<const double> log_times, std::span<const double> doubt) {
  const Matrix table = gram_of_rows(measured.table);
  const double n = static_cast<double>(log_times.size());
  Values out;
  std::map<double, Grams> by_smoothing;
  for (const FewShotPrior& prior : priors) {
    auto at = by_smoothing.find(prior.smooth);
    if (at == by_smoothing.end())
      at = by_smoothing.emplace(prior.smooth, grams(measured, lead, prior.smooth, table)).first;
    const auto [factor, apart] = measurements(measured, at->second, prior, log_times, doubt);
    const Values z = learn::solve_lower(factor, apart);
    double surprise = 0, log_spread = 0;
    for (std::size_t i = 1; i < z.size(); ++i) {  // the first only tells the scale of the device
      surprise += z[i] * z[i];
      log_spread += 2 * std::log(factor(i, i));
    }
    out.push_back(-0.5 * log_spread - 0.5 * (kBelief + n - 1) * std::log(1 + surprise / kBelief));
  }
  return out;
}

Values few_shot_doubt(const KnownDevices& measured, const Lead& lead, const FewShotPrior& prior,
                      std::span<const double> log_times) {
  const std::size_t n = log_times.size();
  const Grams g = grams(measured, lead, prior.smooth, gram_of_rows(measured.table));
  const auto [factor, apart] = measurements(measured, g, prior, log_times, Values(n));
  const Values weighted = learn::solve_cholesky(factor, apart);
  Values out(n);
  for (std::size_t i = 0; i < n; ++i) {
    Values one(n);
    one[i] = 1;
    const double variance = 1 / learn::solve_cholesky(factor, one)[i], error = weighted[i] * variance;
    out[i] = std::max(0.0, error * error / 4 - variance);
  }
  return out;
}

std::pair<double, double> predict_few_shot(const FewShotBasis& b, const FewShotPosterior& posterior,
                                           const FewShotPrior& prior, std::size_t i) {
  const auto row = b.phi.row(i);
  const double noise = prior.noise * prior.noise;
  double variance = noise;
  for (std::size_t j = 0; j < row.size(); ++j) variance += b.variance[j] * row[j] * row[j];
  for (const Values& u : posterior.vectors) {
    const double along = dot(u, row);
    variance -= along * along;
  }
  return {dot(posterior.mean, row), std::sqrt(std::max(noise, variance))};
}

}  // namespace nas::latency
