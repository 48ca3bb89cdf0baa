#include "latency/few_shot.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "space/base/rng.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;

// Standard deviations of the prior, in log time.
struct Prior {
  double sources;  // of the share of a known device's deviation from the mean device
  double table;    // of what only the additive table explains
  double noise;    // of one measurement
};

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// log t(x) = phi(x) . w + noise with w ~ N(mean, diagonal): a constant, the mean device, each known device's
// deviation from it, and the table's entries.
struct Basis {
  Matrix phi;
  Values mean;
  Values variance;
};

Values centred_log(const Values& times) {
  const double floor = 0.02 * learn::median(times);
  Values out(times.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::log(std::max(times[i], floor));
  const double mean = std::accumulate(out.begin(), out.end(), 0.0) / static_cast<double>(out.size());
  for (double& v : out) v -= mean;
  return out;
}

Basis make_basis(const Matrix& table, const std::vector<Values>& logs, const Prior& prior) {
  const std::size_t n = table.rows;
  const std::size_t known = logs.size();
  const auto count = static_cast<double>(known);
  Basis b{Matrix(n, 2 + known + table.columns), {}, {}};
  Values column_mean(table.columns);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < table.columns; ++j) column_mean[j] += table(i, j) / static_cast<double>(n);
  }
  double size = 0;
  for (std::size_t i = 0; i < n; ++i) {
    auto row = b.phi.row(i);
    row[0] = 1;
    for (const Values& log : logs) row[1] += log[i] / count;
    for (std::size_t s = 0; s < known; ++s) row[2 + s] = logs[s][i] - row[1];
    for (std::size_t j = 0; j < table.columns; ++j) {
      const double v = table(i, j) - column_mean[j];
      row[2 + known + j] = v;
      size += v * v / static_cast<double>(n);
    }
  }
  b.mean.assign(b.phi.columns, 0.0);
  b.mean[1] = 1;
  b.variance.assign(b.phi.columns, prior.table * prior.table / std::max(size, 1e-12));
  b.variance[0] = 25;
  b.variance[1] = 0.09;
  std::fill_n(b.variance.begin() + 2, known, prior.sources * prior.sources / std::max(1.0, count));
  return b;
}

Values times(const Matrix& m, std::span<const double> v) {
  Values out(m.rows);
  for (std::size_t i = 0; i < m.rows; ++i)
    out[i] = std::inner_product(v.begin(), v.end(), m.row(i).begin(), 0.0);
  return out;
}

// Rows to measure, one by one where the summed variance is expected to fall most.
std::vector<std::size_t> choose_rows(const Basis& b, const Prior& prior, std::size_t samples,
                                     std::span<const std::size_t> pool) {
  const std::size_t d = b.phi.columns;
  Matrix cov(d, d);
  for (std::size_t j = 0; j < d; ++j) cov(j, j) = b.variance[j];
  Matrix moment(d, d);  // mean of phi phi' over (a stride of) all rows: what a fall of variance is worth
  const std::size_t stride = std::max<std::size_t>(1, b.phi.rows / 1500);
  for (std::size_t i = 0; i < b.phi.rows; i += stride) {
    const auto row = b.phi.row(i);
    for (std::size_t j = 0; j < d; ++j) {
      if (row[j] == 0) continue;
      for (std::size_t k = 0; k < d; ++k) moment(j, k) += row[j] * row[k];
    }
  }
  std::vector<std::size_t> chosen;
  std::vector<bool> used(b.phi.rows, false);
  const double noise = prior.noise * prior.noise;
  while (chosen.size() < samples) {
    std::size_t best = pool.size();
    double best_gain = -1;
    for (std::size_t p = 0; p < pool.size(); ++p) {
      if (used[pool[p]]) continue;
      const Values v = times(cov, b.phi.row(pool[p]));
      const double spread = dot(v, b.phi.row(pool[p])) + noise;
      const double gain = dot(v, times(moment, v)) / spread;
      if (gain > best_gain) best_gain = gain, best = p;
    }
    const std::size_t row = pool[best];
    used[row] = true;
    chosen.push_back(row);
    const Values v = times(cov, b.phi.row(row));
    const double spread = dot(v, b.phi.row(row)) + noise;
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t k = 0; k < d; ++k) cov(j, k) -= v[j] * v[k] / spread;
  }
  return chosen;
}

struct Posterior {
  Values mean;            // of the log time of every row
  Values deviation;       // including noise, in units of the prior's scale
  double surprise = 0;    // sum of squared one-step-ahead errors over their variance
  double log_spread = 0;  // sum of the logarithms of those variances
};

Posterior condition(const Basis& b, const Prior& prior, std::span<const double> log_target,
                    std::span<const std::size_t> measured) {
  const std::size_t d = b.phi.columns;
  // The covariance is the prior's diagonal less one outer product a measurement.
  std::vector<Values> known;
  const auto covariance_times = [&](std::span<const double> row) {
    Values v(d);
    for (std::size_t j = 0; j < d; ++j) v[j] = b.variance[j] * row[j];
    for (const Values& u : known) {
      const double along = dot(u, row);
      for (std::size_t j = 0; j < d; ++j) v[j] -= u[j] * along;
    }
    return v;
  };
  Values w = b.mean;
  Posterior out;
  const double noise = prior.noise * prior.noise;
  for (std::size_t step = 0; step < measured.size(); ++step) {
    const auto row = b.phi.row(measured[step]);
    Values v = covariance_times(row);
    const double spread = dot(v, row) + noise;
    const double surprise = log_target[measured[step]] - dot(w, row);
    // The first measurement only tells the scale of the device, about which nothing was known.
    if (step > 0) {
      out.surprise += surprise * surprise / spread;
      out.log_spread += std::log(spread);
    }
    for (std::size_t j = 0; j < d; ++j) w[j] += v[j] * surprise / spread;
    for (double& x : v) x /= std::sqrt(spread);
    known.push_back(std::move(v));
  }
  out.mean = times(b.phi, w);
  out.deviation.resize(b.phi.rows);
  for (std::size_t i = 0; i < b.phi.rows; ++i) {
    const auto row = b.phi.row(i);
    double variance = noise;
    for (std::size_t j = 0; j < d; ++j) variance += b.variance[j] * row[j] * row[j];
    for (const Values& u : known) variance -= dot(u, row) * dot(u, row);
    out.deviation[i] = std::sqrt(std::max(noise, variance));
  }
  return out;
}

// The prior's scale is not known either: an inverse gamma of kBelief measurements around 1, so measured
// values follow a Student distribution. Its log density, up to a constant.
constexpr double kBelief = 4;
double log_evidence(const Posterior& p, std::size_t measured) {
  const double n = static_cast<double>(measured) - 1;
  return -0.5 * p.log_spread - 0.5 * (kBelief + n) * std::log(1 + p.surprise / kBelief);
}
double scale_of(const Posterior& p, std::size_t measured) {
  return std::sqrt((kBelief + p.surprise) / (kBelief + static_cast<double>(measured) - 1));
}

// Every prior of the grid given the same measurements.
std::vector<Posterior> condition_all(const Matrix& table, const std::vector<Values>& logs,
                                     const std::vector<Prior>& grid, std::span<const double> log_target,
                                     std::span<const std::size_t> measured) {
  std::vector<Posterior> all(grid.size());
  tbb::parallel_for(std::size_t{0}, grid.size(), [&](std::size_t g) {
    all[g] = condition(make_basis(table, logs, grid[g]), grid[g], log_target, measured);
  });
  return all;
}

// Their mixture, weighted by `belief` (logarithms) and by how well each foresaw the measurements.
struct Blend {
  Values mean, deviation;
};

Blend blend(const std::vector<Posterior>& all, const Values& belief, std::size_t measured) {
  Values weight(all.size());
  for (std::size_t g = 0; g < all.size(); ++g) weight[g] = belief[g] + log_evidence(all[g], measured);
  const double most = *std::ranges::max_element(weight);
  double sum = 0;
  for (double& w : weight) sum += w = std::exp(w - most);
  const std::size_t rows = all[0].mean.size();
  Blend out{Values(rows), Values(rows)};
  for (std::size_t g = 0; g < all.size(); ++g)
    for (std::size_t i = 0; i < rows; ++i) out.mean[i] += weight[g] / sum * all[g].mean[i];
  for (std::size_t g = 0; g < all.size(); ++g) {
    const double scale = scale_of(all[g], measured);
    for (std::size_t i = 0; i < rows; ++i) {
      const double apart = all[g].mean[i] - out.mean[i], own = scale * all[g].deviation[i];
      out.deviation[i] += weight[g] / sum * (own * own + apart * apart);
    }
  }
  for (double& v : out.deviation) v = std::sqrt(v);
  return out;
}

// The grid's posteriors with known device `s` in the place of the new one.
std::vector<Posterior> rehearse(const Matrix& table, const std::vector<Values>& logs, std::size_t s,
                                const std::vector<Prior>& grid, const Prior& chooser, std::size_t samples,
                                std::uint64_t seed) {
  std::vector<Values> others;
  for (std::size_t o = 0; o < logs.size(); ++o)
    if (o != s) others.push_back(logs[o]);
  const std::vector<std::size_t> pool =
      Rng(seed, "rehearsal", s)
          .sample(table.rows, std::min<std::size_t>(table.rows, std::max<std::size_t>(60, samples)));
  const auto measured = choose_rows(make_basis(table, others, chooser), chooser, samples, pool);
  return condition_all(table, others, grid, logs[s], measured);
}

std::vector<Prior> priors() {
  std::vector<Prior> grid;
  for (const double known : {0.6, 1.5, 4.0})
    for (const double entry : {0.01, 0.03, 0.1, 0.3})
      for (const double noise : {0.01, 0.03, 0.08, 0.2}) grid.push_back({known, entry, noise});
  return grid;
}
constexpr Prior kChooser{1.5, 0.04, 0.03};

}  // namespace

Result<FewShot> few_shot(const Matrix& table, const std::vector<Values>& sources,
                         std::span<const double> target, std::size_t samples, std::uint64_t seed) {
  if (sources.size() < 2) {
    return usage_error("a new device needs at least 2 known devices to learn from, found " +
                       std::to_string(sources.size()));
  }
  if (samples < 1 || samples >= table.rows) {
    return usage_error("samples must be from 1 to " + std::to_string(table.rows - 1) +
                       " (rows less one), found " + std::to_string(samples));
  }
  std::vector<Values> logs;
  for (const Values& s : sources) logs.push_back(centred_log(s));
  const std::vector<Prior> grid = priors();
  // How far the deviations can be trusted: from rehearsals with known devices in the new one's place.
  const std::vector<std::size_t> some =
      Rng(seed, "few-shot-rows").sample(table.rows, std::min<std::size_t>(table.rows, 300));
  const Matrix small = learn::take_rows(table, some);
  std::vector<Values> small_logs;
  for (const Values& log : logs) small_logs.push_back(learn::take(log, some));
  const std::vector<std::size_t> devices =
      Rng(seed, "few-shot-devices").sample(logs.size(), std::min<std::size_t>(logs.size(), 8));
  std::vector<std::vector<Posterior>> rehearsals(devices.size());
  const std::size_t rounds = std::min<std::size_t>({samples, some.size() - 1, 30});
  tbb::parallel_for(std::size_t{0}, devices.size(), [&](std::size_t r) {
    rehearsals[r] = rehearse(small, small_logs, devices[r], grid, kChooser, rounds, seed);
  });
  // What a prior was worth on the known devices counts as much as on one of them.
  Values belief(grid.size());
  for (std::size_t g = 0; g < grid.size(); ++g)
    for (const auto& r : rehearsals)
      belief[g] += log_evidence(r[g], rounds) / static_cast<double>(rehearsals.size());
  Values all;
  for (std::size_t r = 0; r < rehearsals.size(); ++r) {
    const Blend found = blend(rehearsals[r], belief, rounds);
    for (std::size_t i = 0; i < some.size(); ++i)
      all.push_back(std::abs(found.mean[i] - small_logs[devices[r]][i]) / found.deviation[i]);
  }
  const double width = learn::quantile(all, 0.9);
  Values log_target(target.size());
  for (std::size_t i = 0; i < target.size(); ++i) log_target[i] = std::log(target[i]);
  const std::vector<std::size_t> pool =
      Rng(seed, "few-shot-pool")
          .sample(table.rows, std::min<std::size_t>(table.rows, std::max<std::size_t>(200, samples)));
  FewShot out;
  out.measured = choose_rows(make_basis(table, logs, kChooser), kChooser, samples, pool);
  const Blend found = blend(condition_all(table, logs, grid, log_target, out.measured), belief, samples);
  for (std::size_t i = 0; i < table.rows; ++i) {
    out.predicted.push_back(std::exp(found.mean[i]));
    out.low.push_back(std::exp(found.mean[i] - width * found.deviation[i]));
    out.high.push_back(std::exp(found.mean[i] + width * found.deviation[i]));
  }
  return out;
}

}  // namespace nas::latency
