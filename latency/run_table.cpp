#include "latency/run_table.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "latency/mixing.h"
#include "space/base/rng.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;
using Rows = std::vector<std::size_t>;

constexpr std::size_t kRehearsals = 24;
constexpr double kNoise = 0.03;  // of one timing, in log time

// How much likeness counts (in log time; 0: not at all), and how far covariances are drawn to the diagonal.
struct Form {
  double likeness = 0;
  double shrink = 0;
};

std::vector<Form> forms() {
  std::vector<Form> out;
  for (const double likeness : {0.0, 0.5, 0.25, 0.12})
    for (const double shrink : {0.003, 0.03, 0.1, 0.3}) out.push_back({likeness, shrink});
  return out;
}

// Runs as coordinates: log times of the networks, then what is known of the run without measuring.
struct Runs {
  Matrix x;
  std::size_t networks = 0;
  Values weight;  // runs of one device count as one and a bit
  std::vector<std::string> device;
};

struct Guess {
  Values mean, deviation;  // of the log time of every network
};

struct Gaussian {
  Values mean;
  Matrix covariance;
};

// Weighted by likeness to `run` in the coordinates `seen`, after the common factor is taken out.
Values likeness_weights(const Runs& runs, const Rows& sources, std::span<const double> run, const Rows& seen,
                        double likeness) {
  Values weights;
  for (const std::size_t s : sources) {
    double weight = runs.weight[s];
    if (likeness > 0 && seen.size() > 1) {
      double mean = 0, square = 0;
      for (const std::size_t j : seen) mean += (runs.x(s, j) - run[j]) / static_cast<double>(seen.size());
      for (const std::size_t j : seen) {
        const double d = runs.x(s, j) - run[j] - mean;
        square += d * d / static_cast<double>(seen.size() - 1);
      }
      // Heavy tails: nobody is ever left quite alone.
      weight /= 1 + square * square / std::pow(likeness, 4);
    }
    weights.push_back(weight);
  }
  return weights;
}

Gaussian estimate(const Runs& runs, const Rows& sources, const Values& weights, double shrink) {
  const std::size_t d = runs.x.columns;
  double total = 0;
  for (const double w : weights) total += w;
  Gaussian g{Values(d), Matrix(d, d)};
  for (std::size_t i = 0; i < sources.size(); ++i)
    for (std::size_t j = 0; j < d; ++j) g.mean[j] += weights[i] / total * runs.x(sources[i], j);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto row = runs.x.row(sources[i]);
    for (std::size_t j = 0; j < d; ++j) {
      const double a = weights[i] / total * (row[j] - g.mean[j]);
      for (std::size_t k = 0; k <= j; ++k) g.covariance(j, k) += a * (row[k] - g.mean[k]);
    }
  }
  // Drawn to: a common factor of all times, and the rest alone.
  double common = 0, own = 0;
  for (std::size_t j = 0; j < runs.networks; ++j) {
    own += g.covariance(j, j) / static_cast<double>(runs.networks);
    for (std::size_t k = 0; k < j; ++k)
      common += 2 * g.covariance(j, k) / static_cast<double>(runs.networks * (runs.networks - 1));
  }
  for (std::size_t j = 0; j < d; ++j) {
    for (std::size_t k = 0; k <= j; ++k) {
      const bool both = j < runs.networks && k < runs.networks;
      const double to = j == k ? (both ? own : g.covariance(j, j)) : both ? common : 0;
      g.covariance(j, k) = g.covariance(k, j) = (1 - shrink) * g.covariance(j, k) + shrink * to;
    }
    g.covariance(j, j) += kNoise * kNoise + 1e-9;
  }
  return g;
}

std::optional<Guess> condition(const Gaussian& g, std::span<const double> run, const Rows& seen,
                               std::size_t networks) {
  Matrix inner(seen.size(), seen.size());
  Values apart;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    for (std::size_t j = 0; j < seen.size(); ++j) inner(i, j) = g.covariance(seen[i], seen[j]);
    apart.push_back(run[seen[i]] - g.mean[seen[i]]);
  }
  const auto factor = learn::cholesky(inner);
  if (!factor) return std::nullopt;
  const Values weights = learn::solve_cholesky(*factor, apart);
  Guess out{Values(networks), Values(networks)};
  for (std::size_t n = 0; n < networks; ++n) {
    Values to;
    for (const std::size_t j : seen) to.push_back(g.covariance(n, j));
    const Values z = learn::solve_lower(*factor, to);
    out.mean[n] = g.mean[n];
    double variance = g.covariance(n, n);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      out.mean[n] += to[i] * weights[i];
      variance -= z[i] * z[i];
    }
    out.deviation[n] = std::sqrt(std::max(variance, kNoise * kNoise));
  }
  return out;
}

// One by one the network that takes most off the summed variance of all.
Rows choose_networks(const Runs& runs, const Rows& sources, std::size_t samples) {
  Values weights;
  for (const std::size_t s : sources) weights.push_back(runs.weight[s]);
  Matrix c = estimate(runs, sources, weights, 0.03).covariance;
  const std::size_t d = c.rows;
  const auto take_out = [&](std::size_t best) {
    Values column(d);
    for (std::size_t j = 0; j < d; ++j) column[j] = c(j, best) / std::sqrt(c(best, best));
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t k = 0; k < d; ++k) c(j, k) -= column[j] * column[k];
  };
  for (std::size_t j = runs.networks; j < d; ++j) take_out(j);
  Rows chosen;
  while (chosen.size() < samples) {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t n = 0; n < runs.networks; ++n) {
      if (std::ranges::count(chosen, n) > 0) continue;
      double gain = 0;
      for (std::size_t k = 0; k < runs.networks; ++k) gain += c(n, k) * c(n, k) / c(n, n);
      if (gain > most) most = gain, best = n;
    }
    chosen.push_back(best);
    take_out(best);
    c(best, best) = 1e-9;
  }
  return chosen;
}

struct Bounds {
  double low = 0, high = 0;
};

// What the known runs say of each network when each is shifted to the measured ones by its median difference:
// no prediction goes beyond the least and the largest of these, however far a covariance would carry it.
std::vector<Bounds> bounds_of(const Runs& runs, const Rows& sources, std::span<const double> run,
                              const Rows& measured) {
  std::vector<Bounds> out(runs.networks, {1e300, -1e300});
  for (const std::size_t s : sources) {
    Values apart;
    for (const std::size_t j : measured) apart.push_back(run[j] - runs.x(s, j));
    const double shift = learn::median(apart);
    for (std::size_t n = 0; n < runs.networks; ++n) {
      out[n].low = std::min(out[n].low, runs.x(s, n) + shift);
      out[n].high = std::max(out[n].high, runs.x(s, n) + shift);
    }
  }
  return out;
}

// Predictions of every form for the networks of one run that were not measured.
struct Trial {
  std::vector<Values> mean, deviation;  // by form
  Values truth;                         // log
};

Trial try_run(const Runs& runs, const Rows& sources, std::size_t run, const Rows& measured) {
  Rows seen = measured;
  for (std::size_t j = runs.networks; j < runs.x.columns; ++j) seen.push_back(j);
  Trial out;
  for (std::size_t n = 0; n < runs.networks; ++n)
    if (std::ranges::count(measured, n) == 0) out.truth.push_back(runs.x(run, n));
  const std::vector<Bounds> bounds = bounds_of(runs, sources, runs.x.row(run), measured);
  for (const Form& form : forms()) {
    const Values weights = likeness_weights(runs, sources, runs.x.row(run), measured, form.likeness);
    const auto guess =
        condition(estimate(runs, sources, weights, form.shrink), runs.x.row(run), seen, runs.networks);
    auto& mean = out.mean.emplace_back();
    auto& deviation = out.deviation.emplace_back();
    for (std::size_t n = 0; n < runs.networks; ++n) {
      if (std::ranges::count(measured, n) > 0) continue;
      mean.push_back(std::clamp(guess ? guess->mean[n] : 0, bounds[n].low, bounds[n].high));
      deviation.push_back(guess ? guess->deviation[n] : 1);
    }
  }
  return out;
}

Rows other_runs(const Runs& runs, const Rows& among, const std::string& device) {
  Rows out;
  for (const std::size_t i : among)
    if (runs.device[i] != device) out.push_back(i);
  return out;
}

Values exponential(const Values& v) {
  Values out(v.size());
  std::ranges::transform(v, out.begin(), [](double x) { return std::exp(x); });
  return out;
}

// What rehearsals with known devices in the new one's place teach.
struct Lesson {
  Values weights;    // of the forms
  double width = 0;  // deviations that hold 90 %
};

Lesson rehearse(const Runs& runs, const Rows& sources, std::size_t samples, bool drawn, std::uint64_t seed) {
  std::vector<Trial> trials;
  const auto some = Rng(seed, "rehearsed-runs").sample(sources.size(), std::min(kRehearsals, sources.size()));
  for (const std::size_t s : some) {
    const std::size_t run = sources[s];
    const Rows others = other_runs(runs, sources, runs.device[run]);
    const Rows measured = drawn ? Rng(seed, "rehearsed-networks", run).sample(runs.networks, samples)
                                : choose_networks(runs, others, samples);
    trials.push_back(try_run(runs, others, run, measured));
  }
  std::vector<Values> predicted(forms().size());
  Values truth;
  for (const Trial& t : trials) {
    const Values one = exponential(t.truth);
    truth.insert(truth.end(), one.begin(), one.end());
    for (std::size_t f = 0; f < predicted.size(); ++f) {
      const Values part = exponential(t.mean[f]);
      predicted[f].insert(predicted[f].end(), part.begin(), part.end());
    }
  }
  Lesson lesson{choose_mixture(predicted, truth), 0};
  Values errors;
  for (const Trial& t : trials) {
    const Values mean = mix(t.mean, lesson.weights), deviation = mix(t.deviation, lesson.weights);
    for (std::size_t i = 0; i < mean.size(); ++i)
      errors.push_back(std::abs(mean[i] - t.truth[i]) / deviation[i]);
  }
  lesson.width = learn::quantile(errors, 0.9);
  return lesson;
}

Runs as_runs(const RunTable& table) {
  const std::size_t n = table.time.rows;
  Runs runs{Matrix(n, table.time.columns + table.known.columns), table.time.columns, {}, table.device};
  std::map<std::string, double> count;
  for (const std::string& d : table.device) ++count[d];
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < table.time.columns; ++j) runs.x(i, j) = std::log(table.time(i, j));
    for (std::size_t j = 0; j < table.known.columns; ++j) runs.x(i, runs.networks + j) = table.known(i, j);
    runs.weight.push_back(1 / std::sqrt(count[table.device[i]]));
  }
  return runs;
}

}  // namespace

Result<UnseenRuns> predict_unseen_runs(const RunTable& table, std::size_t samples, bool drawn,
                                       std::uint64_t seed) {
  const std::set<std::string> names(table.device.begin(), table.device.end());
  const std::vector<std::string> devices(names.begin(), names.end());
  if (devices.size() < 5)
    return usage_error("an unseen device needs 4 known ones at least, found " +
                       std::to_string(devices.size() - 1));
  if (samples < 1 || samples >= table.networks.size())
    return usage_error("samples must be from 1 to " + std::to_string(table.networks.size() - 1) +
                       " (networks less one), found " + std::to_string(samples));
  const Runs runs = as_runs(table);
  Rows all(table.device.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  std::vector<UnseenRuns> parts(devices.size());
  tbb::parallel_for(std::size_t{0}, devices.size(), [&](std::size_t d) {
    const Rows sources = other_runs(runs, all, devices[d]);
    const Lesson lesson = rehearse(runs, sources, samples, drawn, seed);
    for (const std::size_t run : all) {
      if (runs.device[run] != devices[d]) continue;
      const Rows measured = drawn ? Rng(seed, "measured-networks", run).sample(runs.networks, samples)
                                  : choose_networks(runs, sources, samples);
      const Trial t = try_run(runs, sources, run, measured);
      const Values mean = mix(t.mean, lesson.weights), deviation = mix(t.deviation, lesson.weights);
      for (std::size_t i = 0; i < mean.size(); ++i) {
        parts[d].truth.push_back(std::exp(t.truth[i]));
        parts[d].predicted.push_back(std::exp(mean[i]));
        parts[d].low.push_back(std::exp(mean[i] - lesson.width * deviation[i]));
        parts[d].high.push_back(std::exp(mean[i] + lesson.width * deviation[i]));
      }
    }
  });
  UnseenRuns out;
  out.measured = samples;
  for (const UnseenRuns& part : parts)
    for (const auto& [to, from] : {std::pair{&out.truth, &part.truth},
                                   {&out.predicted, &part.predicted},
                                   {&out.low, &part.low},
                                   {&out.high, &part.high}})
      to->insert(to->end(), from->begin(), from->end());
  return out;
}

Result<RunTable> read_runs(const Csv& csv, const std::string& item,
                           const std::vector<std::string>& run_columns, const std::vector<std::string>& known,
                           const std::string& target) {
  if (run_columns.empty()) return usage_error("name the columns that tell runs apart, the device first");
  NAS_TRY(item_column, csv.column(item));
  NAS_TRY(time_column, csv.column(target));
  Rows keys, figures;
  for (const std::string& name : run_columns) {
    NAS_TRY(column, csv.column(name));
    keys.push_back(column);
  }
  for (const std::string& name : known) {
    NAS_TRY(column, csv.column(name));
    figures.push_back(column);
  }
  struct One {
    std::size_t row = 0;
    std::map<std::string, double> times;
  };
  std::map<std::vector<std::string>, One> runs;
  std::map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < csv.rows.size(); ++i) {
    NAS_TRY(time, number_at(csv, i, time_column));
    if (time < 0)
      return usage_error("a time cannot be negative: '" + target + "' is " + csv.rows[i][time_column],
                         csv.where + ":" + std::to_string(csv.lines[i]));
    if (time == 0) continue;  // below the clock's resolution
    std::vector<std::string> key;
    for (const std::size_t column : keys) key.push_back(csv.rows[i][column]);
    One& run = runs.try_emplace(std::move(key), One{i, {}}).first->second;
    const auto [at, fresh] = run.times.try_emplace(csv.rows[i][item_column], time);
    if (fresh) ++seen[at->first];
    at->second = std::min(at->second, time);
  }
  RunTable out;
  for (const auto& [name, count] : seen)
    if (5 * count >= 4 * runs.size()) out.networks.push_back(name);
  if (out.networks.size() < 3)
    return usage_error("fewer than 3 networks are in four fifths of the runs", csv.where);
  std::vector<const One*> complete;
  for (const auto& [key, run] : runs) {
    if (!std::ranges::all_of(out.networks, [&](const auto& n) { return run.times.count(n) > 0; })) continue;
    complete.push_back(&run);
    out.device.push_back(key[0]);
  }
  out.time = Matrix(complete.size(), out.networks.size());
  out.known = Matrix(complete.size(), figures.size());
  for (std::size_t i = 0; i < complete.size(); ++i) {
    for (std::size_t j = 0; j < out.networks.size(); ++j)
      out.time(i, j) = complete[i]->times.at(out.networks[j]);
    for (std::size_t j = 0; j < figures.size(); ++j) {
      NAS_TRY(value, number_at(csv, complete[i]->row, figures[j]));
      out.known(i, j) = std::log(std::abs(value) + 1);
    }
  }
  return out;
}

}  // namespace nas::latency
