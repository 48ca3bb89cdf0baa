#include "latency/few_shot_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;

constexpr double kBelief = 4;     // measurements' worth of trust in a prior's scale
constexpr double kSharpness = 8;  // of the soft maximum: it rounds the corner within 1/8 in log time

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

double lead_of(const KnownDevices& known, const Lead& lead, std::size_t i) {
  if (lead.first == lead.second) {
    double sum = 0;
    for (const Values& log : known.logs) sum += log[i];
    return sum / static_cast<double>(known.logs.size());
  }
  const double a = known.logs[lead.first][i], b = known.logs[lead.second][i] + lead.shift;
  // The shift lifts the whole; what is left of it is taken up by the constant.
  return std::max(a, b) + std::log1p(std::exp(-kSharpness * std::abs(a - b))) / kSharpness -
         std::max(lead.shift, 0.0);
}

}  // namespace

KnownDevices KnownDevices::rows(std::span<const std::size_t> some) const {
  KnownDevices out{learn::take_rows(table, some), {}, size};
  for (const Values& log : logs) out.logs.push_back(learn::take(log, some));
  return out;
}

KnownDevices KnownDevices::without(std::size_t device) const {
  KnownDevices out = *this;
  out.logs.erase(out.logs.begin() + static_cast<std::ptrdiff_t>(device));
  return out;
}

KnownDevices known_devices(const Matrix& table, const std::vector<Values>& times) {
  KnownDevices out{table, {}, 0};
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
  return out;
}

FewShotBasis few_shot_basis(const KnownDevices& known, const FewShotPrior& prior, const Lead& lead) {
  const std::size_t n = known.table.rows, devices = known.logs.size();
  FewShotBasis b{Matrix(n, 2 + devices + known.table.columns), {}, {}};
  for (std::size_t i = 0; i < n; ++i) {
    auto row = b.phi.row(i);
    row[0] = 1;
    row[1] = lead_of(known, lead, i);
    for (std::size_t s = 0; s < devices; ++s) row[2 + s] = known.logs[s][i] - row[1];
    std::ranges::copy(known.table.row(i), row.begin() + static_cast<std::ptrdiff_t>(2 + devices));
  }
  b.mean.assign(b.phi.columns, 0.0);
  b.mean[1] = 1;
  b.variance.assign(b.phi.columns, prior.table * prior.table / std::max(known.size, 1e-12));
  b.variance[0] = 25;
  b.variance[1] = 0.09;
  std::fill_n(b.variance.begin() + 2, devices,
              prior.sources * prior.sources / std::max<double>(1, static_cast<double>(devices)));
  return b;
}

FewShotPosterior condition_few_shot(const FewShotBasis& b, const FewShotPrior& prior,
                                    std::span<const double> log_times) {
  FewShotPosterior out{b.mean, {}, 0, 0};
  for (std::size_t step = 0; step < log_times.size(); ++step) {
    const auto row = b.phi.row(step);
    Values v(row.size());
    for (std::size_t j = 0; j < v.size(); ++j) v[j] = b.variance[j] * row[j];
    for (const Values& u : out.vectors) {
      const double along = dot(u, row);
      for (std::size_t j = 0; j < v.size(); ++j) v[j] -= u[j] * along;
    }
    const double spread = dot(v, row) + prior.noise * prior.noise;
    const double surprise = log_times[step] - dot(out.mean, row);
    // The first measurement only tells the scale of the device, about which nothing was known.
    if (step > 0) {
      out.surprise += surprise * surprise / spread;
      out.log_spread += std::log(spread);
    }
    for (std::size_t j = 0; j < v.size(); ++j) out.mean[j] += v[j] * surprise / spread;
    for (double& x : v) x /= std::sqrt(spread);
    out.vectors.push_back(std::move(v));
  }
  return out;
}

double FewShotPosterior::log_evidence() const {
  const double n = static_cast<double>(vectors.size()) - 1;
  return -0.5 * log_spread - 0.5 * (kBelief + n) * std::log(1 + surprise / kBelief);
}

double FewShotPosterior::scale() const {
  return std::sqrt((kBelief + surprise) / (kBelief + static_cast<double>(vectors.size()) - 1));
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
