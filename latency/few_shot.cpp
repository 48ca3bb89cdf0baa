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

struct Posterior {
  std::vector<std::size_t> measured;
  Values mean;       // of the log time of every row
  Values deviation;  // including noise
};

Posterior condition(const Basis& b, const Prior& prior, std::span<const double> log_target,
                    std::size_t samples, std::span<const std::size_t> pool) {
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
  Values w = b.mean;
  Posterior out;
  const double noise = prior.noise * prior.noise;
  std::vector<bool> used(b.phi.rows, false);
  for (std::size_t step = 0; step < samples; ++step) {
    std::size_t best = pool.size();
    double best_gain = -1;
    for (std::size_t p = 0; p < pool.size(); ++p) {
      if (used[pool[p]]) continue;
      const Values v = times(cov, b.phi.row(pool[p]));
      const double spread = std::inner_product(v.begin(), v.end(), b.phi.row(pool[p]).begin(), noise);
      const Values mv = times(moment, v);
      const double gain = std::inner_product(v.begin(), v.end(), mv.begin(), 0.0) / spread;
      if (gain > best_gain) {
        best_gain = gain;
        best = p;
      }
    }
    const std::size_t row = pool[best];
    used[row] = true;
    out.measured.push_back(row);
    const Values v = times(cov, b.phi.row(row));
    const double spread = std::inner_product(v.begin(), v.end(), b.phi.row(row).begin(), noise);
    const double surprise =
        log_target[row] - std::inner_product(w.begin(), w.end(), b.phi.row(row).begin(), 0.0);
    for (std::size_t j = 0; j < d; ++j) {
      w[j] += v[j] * surprise / spread;
      for (std::size_t k = 0; k < d; ++k) cov(j, k) -= v[j] * v[k] / spread;
    }
  }
  out.mean = times(b.phi, w);
  out.deviation.resize(b.phi.rows);
  tbb::parallel_for(std::size_t{0}, b.phi.rows, [&](std::size_t i) {
    const Values v = times(cov, b.phi.row(i));
    out.deviation[i] =
        std::sqrt(std::max(noise, std::inner_product(v.begin(), v.end(), b.phi.row(i).begin(), noise)));
  });
  return out;
}

struct Trial {
  double error = 0;  // mean |log error|
  Values scaled;     // |log error| / deviation
};

// Plays the protocol with known device `s` as the new one, on some rows.
Trial rehearse(const Matrix& table, const std::vector<Values>& logs, std::size_t s, const Prior& prior,
               std::size_t samples, std::uint64_t seed) {
  std::vector<Values> others;
  for (std::size_t o = 0; o < logs.size(); ++o) {
    if (o != s) others.push_back(logs[o]);
  }
  const Basis basis = make_basis(table, others, prior);
  const std::vector<std::size_t> pool =
      Rng(seed, "rehearsal", s)
          .sample(table.rows, std::min<std::size_t>(table.rows, std::max<std::size_t>(60, samples)));
  const Posterior posterior = condition(basis, prior, logs[s], samples, pool);
  Trial trial;
  for (std::size_t i = 0; i < table.rows; ++i) {
    const double error = std::abs(posterior.mean[i] - logs[s][i]);
    trial.error += error / static_cast<double>(table.rows);
    trial.scaled.push_back(error / posterior.deviation[i]);
  }
  return trial;
}

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
  // The prior's scales: those that would have served best had each known device been the new one.
  const std::vector<std::size_t> some =
      Rng(seed, "few-shot-rows").sample(table.rows, std::min<std::size_t>(table.rows, 400));
  const Matrix small = learn::take_rows(table, some);
  std::vector<Values> small_logs;
  for (const Values& log : logs) small_logs.push_back(learn::take(log, some));
  std::vector<Prior> grid;
  for (const double known : {0.6, 1.2}) {
    for (const double entry : {0.01, 0.04, 0.1}) {
      for (const double noise : {0.02, 0.05}) grid.push_back({known, entry, noise});
    }
  }
  const std::size_t rehearsals = std::min<std::size_t>(logs.size(), 8);
  const std::vector<std::size_t> devices = Rng(seed, "few-shot-devices").sample(logs.size(), rehearsals);
  std::vector<Trial> trials(grid.size() * rehearsals);
  const std::size_t rounds = std::min(samples, some.size() - 1);
  tbb::parallel_for(std::size_t{0}, trials.size(), [&](std::size_t t) {
    trials[t] = rehearse(small, small_logs, devices[t % rehearsals], grid[t / rehearsals],
                         std::min<std::size_t>(rounds, 30), seed);
  });
  std::size_t best = 0;
  Values errors(grid.size());
  for (std::size_t t = 0; t < trials.size(); ++t) errors[t / rehearsals] += trials[t].error;
  for (std::size_t g = 1; g < grid.size(); ++g) best = errors[g] < errors[best] ? g : best;
  Values scaled;
  for (std::size_t r = 0; r < rehearsals; ++r) {
    const Values& part = trials[best * rehearsals + r].scaled;
    scaled.insert(scaled.end(), part.begin(), part.end());
  }
  const double width = learn::quantile(scaled, 0.9);
  Values log_target(target.size());
  for (std::size_t i = 0; i < target.size(); ++i) log_target[i] = std::log(target[i]);
  const std::vector<std::size_t> pool =
      Rng(seed, "few-shot-pool")
          .sample(table.rows, std::min<std::size_t>(table.rows, std::max<std::size_t>(200, samples)));
  const Posterior posterior =
      condition(make_basis(table, logs, grid[best]), grid[best], log_target, samples, pool);
  FewShot out;
  out.measured = posterior.measured;
  for (std::size_t i = 0; i < table.rows; ++i) {
    out.predicted.push_back(std::exp(posterior.mean[i]));
    out.low.push_back(std::exp(posterior.mean[i] - width * posterior.deviation[i]));
    out.high.push_back(std::exp(posterior.mean[i] + width * posterior.deviation[i]));
  }
  return out;
}

}  // namespace nas::latency
