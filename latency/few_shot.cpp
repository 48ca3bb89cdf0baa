#include "latency/few_shot.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "latency/few_shot_model.h"
#include "space/base/rng.h"
#include "space/learn/metrics.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;
using Rows = std::vector<std::size_t>;

constexpr FewShotPrior kChooser{1.5, 0.04, 0.03};
constexpr std::size_t kRehearsedRows = 300;
constexpr std::size_t kRehearsals = 12;
constexpr std::size_t kMostPairs = 60;  // of known devices whose slower one may lead
constexpr std::size_t kKept = 24;       // models whose predictions are mixed

Values times(const Matrix& m, std::span<const double> v) {
  Values out(m.rows);
  for (std::size_t i = 0; i < m.rows; ++i)
    out[i] = std::inner_product(v.begin(), v.end(), m.row(i).begin(), 0.0);
  return out;
}

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Mean of phi phi' over (a stride of) all rows: what a fall of the weights' variance is worth.
Matrix second_moment(const Matrix& phi) {
  const std::size_t d = phi.columns;
  Matrix moment(d, d);
  const std::size_t stride = std::max<std::size_t>(1, phi.rows / 1500);
  for (std::size_t i = 0; i < phi.rows; i += stride) {
    const auto row = phi.row(i);
    for (std::size_t j = 0; j < d; ++j) {
      if (row[j] == 0) continue;
      for (std::size_t k = 0; k < d; ++k) moment(j, k) += row[j] * row[k];
    }
  }
  return moment;
}

// Rows to measure, one by one where the summed variance is expected to fall most.
Rows choose_rows(const FewShotBasis& b, double noise, std::size_t samples,
                 std::span<const std::size_t> pool) {
  const std::size_t d = b.phi.columns;
  Matrix cov(d, d);
  for (std::size_t j = 0; j < d; ++j) cov(j, j) = b.variance[j];
  const Matrix moment = second_moment(b.phi);
  Rows chosen;
  std::vector<bool> used(b.phi.rows, false);
  while (chosen.size() < samples) {
    std::size_t best = pool.size();
    double best_gain = -1;
    for (std::size_t p = 0; p < pool.size(); ++p) {
      if (used[pool[p]]) continue;
      const Values v = times(cov, b.phi.row(pool[p]));
      const double gain = dot(v, times(moment, v)) / (dot(v, b.phi.row(pool[p])) + noise * noise);
      if (gain > best_gain) best_gain = gain, best = p;
    }
    const std::size_t row = pool[best];
    used[row] = true;
    chosen.push_back(row);
    const Values v = times(cov, b.phi.row(row));
    const double spread = dot(v, b.phi.row(row)) + noise * noise;
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t k = 0; k < d; ++k) cov(j, k) -= v[j] * v[k] / spread;
  }
  return chosen;
}

std::vector<FewShotPrior> priors() {
  std::vector<FewShotPrior> grid;
  for (const double known : {0.6, 1.5, 4.0})
    for (const double entry : {0.01, 0.03, 0.1, 0.3})
      for (const double noise : {0.01, 0.03, 0.08, 0.2})
        for (const double smooth : {0.0, 0.5, 1.0}) grid.push_back({known, entry, noise, smooth});
  return grid;
}

// The means of all and of those at the new device's setting, each alone, and the slower of two with the
// second shifted; the means first.
struct Leads {
  std::vector<Lead> all;
  std::size_t means = 1;
};

Leads leads(const KnownDevices& known, const std::string& setting, std::uint64_t seed) {
  const std::size_t devices = known.logs.size();
  Lead everyone, alike;
  Leads out;
  std::vector<Lead> pairs;
  for (std::size_t a = 0; a < devices; ++a) {
    everyone.devices.push_back(a);
    if (!setting.empty() && known.names[a].setting == setting) alike.devices.push_back(a);
    for (std::size_t b = 0; b < a; ++b) pairs.push_back({{a, b}, true, 0});
  }
  out.all.push_back(everyone);
  if (alike.devices.size() > 1 && alike.devices.size() < devices) out.all.push_back(alike);
  out.means = out.all.size();
  for (std::size_t a = 0; a < devices; ++a) out.all.push_back({{a}, false, 0});
  for (const std::size_t p :
       Rng(seed, "few-shot-pairs").sample(pairs.size(), std::min(pairs.size(), kMostPairs)))
    for (const double shift : {-0.3, -0.1, 0.1, 0.3}) out.all.push_back({pairs[p].devices, true, shift});
  return out;
}

// One way to see the new device: a lead and a prior, by its place in both lists, and its weight.
struct Model {
  std::size_t lead = 0, prior = 0;
  double weight = 0;
};

// All models, the best first, and what is doubted in the measurements.
struct Weighed {
  std::vector<Model> models;
  Values doubt;
};

// Every model's evidence on the measured rows; half of the belief is in the means as leads. Something may
// have disturbed a measurement: what the best models find far off gets the variance that it lacks, and all
// are weighed again.
Weighed weigh(const KnownDevices& measured, const Leads& leads, const std::vector<FewShotPrior>& prior,
              const Values& belief, std::span<const double> log_times) {
  const auto share = [](std::size_t n) { return -std::log(std::max<double>(1, static_cast<double>(n))); };
  const double mean = share(leads.means), other = share(leads.all.size() - leads.means);
  Weighed out{{}, Values(log_times.size())};
  for (int round = 0; round < 2; ++round) {
    std::vector<Values> evidence(leads.all.size());
    tbb::parallel_for(std::size_t{0}, evidence.size(), [&](std::size_t l) {
      evidence[l] = few_shot_evidence(measured, leads.all[l], prior, log_times, out.doubt);
    });
    out.models.clear();
    for (std::size_t l = 0; l < evidence.size(); ++l)
      for (std::size_t p = 0; p < prior.size(); ++p)
        out.models.push_back({l, p, evidence[l][p] + belief[p] + (l < leads.means ? mean : other)});
    std::ranges::stable_sort(out.models, std::greater<>(), &Model::weight);
    out.models.resize(std::min(out.models.size(), kKept));
    double sum = 0;
    const double most = out.models[0].weight;
    for (Model& m : out.models) sum += m.weight = std::exp(m.weight - most);
    for (Model& m : out.models) m.weight /= sum;
    if (round > 0) break;
    for (const Model& m : out.models) {
      const Values doubt = few_shot_doubt(measured, leads.all[m.lead], prior[m.prior], log_times);
      for (std::size_t i = 0; i < doubt.size(); ++i) out.doubt[i] += m.weight * doubt[i];
    }
  }
  return out;
}

struct Blend {
  Values mean, deviation;
};

// The models' mixture. `known` holds every row that is asked for.
Blend blend(const KnownDevices& known, const KnownDevices& measured, const Leads& leads,
            const std::vector<FewShotPrior>& prior, const Weighed& weighed,
            std::span<const double> log_times) {
  const std::vector<Model>& models = weighed.models;
  const std::size_t rows = known.table.rows;
  std::vector<Blend> parts(models.size());
  tbb::parallel_for(std::size_t{0}, models.size(), [&](std::size_t m) {
    const FewShotPrior& p = prior[models[m].prior];
    const Lead& l = leads.all[models[m].lead];
    const FewShotBasis seen = few_shot_basis(measured, p, l);
    const auto posterior = condition_few_shot(seen, p, log_times, weighed.doubt);
    // Doubted measurements do not move the mean, yet show how far off a time can be.
    const double scale = condition_few_shot(seen, p, log_times, Values(log_times.size())).scale();
    const FewShotBasis basis = few_shot_basis(known, p, l);
    for (std::size_t i = 0; i < rows; ++i) {
      const auto [mean, deviation] = predict_few_shot(basis, posterior, p, i);
      parts[m].mean.push_back(mean);
      parts[m].deviation.push_back(scale * deviation);
    }
  });
  Blend out{Values(rows), Values(rows)};
  for (std::size_t m = 0; m < parts.size(); ++m)
    for (std::size_t i = 0; i < rows; ++i) out.mean[i] += models[m].weight * parts[m].mean[i];
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t m = 0; m < parts.size(); ++m) {
      const double apart = parts[m].mean[i] - out.mean[i], own = parts[m].deviation[i];
      out.deviation[i] += models[m].weight * (own * own + apart * apart);
    }
    out.deviation[i] = std::sqrt(out.deviation[i]);
  }
  return out;
}

// Known device `device` in the place of the new one: what was measured of it, and what is known then.
struct Rehearsal {
  std::size_t device = 0;
  KnownDevices known, measured;
  Leads lead;
  Values log_times, evidence;  // evidence: of each prior, the mean of all devices leading
};

Rehearsal rehearse(const KnownDevices& all, std::size_t device, const std::vector<FewShotPrior>& grid,
                   std::size_t samples, std::uint64_t seed) {
  Rehearsal r{device, all.without(device), {}, {}, {}, {}};
  r.lead = leads(r.known, all.names[device].setting, seed);
  const std::size_t n = all.table.rows;
  const Rows pool = Rng(seed, "rehearsal", device).sample(n, std::min(n, std::max<std::size_t>(60, samples)));
  const Rows rows =
      choose_rows(few_shot_basis(r.known, kChooser, r.lead.all[0]), kChooser.noise, samples, pool);
  r.measured = r.known.rows(rows);
  r.log_times = learn::take(all.logs[device], rows);
  r.evidence = few_shot_evidence(r.measured, r.lead.all[0], grid, r.log_times, Values(samples));
  return r;
}

// What rehearsals teach: how much each prior is to be believed, and how many deviations hold 90 %.
struct Lesson {
  Values belief;
  double width = 0;
};

Lesson learn_from(const KnownDevices& known, const std::vector<FewShotPrior>& grid, std::size_t samples,
                  std::uint64_t seed) {
  const Rows some =
      Rng(seed, "few-shot-rows").sample(known.table.rows, std::min(known.table.rows, kRehearsedRows));
  const KnownDevices small = known.rows(some);
  const Rows devices =
      Rng(seed, "few-shot-devices").sample(known.logs.size(), std::min(known.logs.size(), kRehearsals));
  const std::size_t rounds = std::min<std::size_t>({samples, some.size() - 1, 30});
  std::vector<Rehearsal> all(devices.size());
  tbb::parallel_for(std::size_t{0}, devices.size(),
                    [&](std::size_t r) { all[r] = rehearse(small, devices[r], grid, rounds, seed); });
  // What a prior was worth on the known devices counts as much as on one of them.
  Lesson lesson{Values(grid.size()), 0};
  for (const Rehearsal& r : all)
    for (std::size_t g = 0; g < grid.size(); ++g)
      lesson.belief[g] += r.evidence[g] / static_cast<double>(all.size());
  std::vector<Values> errors(all.size());
  tbb::parallel_for(std::size_t{0}, all.size(), [&](std::size_t i) {
    const Rehearsal& r = all[i];
    const Blend found = blend(r.known, r.measured, r.lead, grid,
                              weigh(r.measured, r.lead, grid, lesson.belief, r.log_times), r.log_times);
    for (std::size_t row = 0; row < some.size(); ++row)
      errors[i].push_back(std::abs(found.mean[row] - small.logs[r.device][row]) / found.deviation[row]);
  });
  Values together;
  for (const Values& one : errors) together.insert(together.end(), one.begin(), one.end());
  lesson.width = learn::quantile(together, 0.9);
  return lesson;
}

}  // namespace

Result<FewShot> few_shot(const Matrix& table, const std::vector<Values>& sources,
                         const std::vector<DeviceName>& names, std::span<const double> target,
                         std::size_t samples, std::uint64_t seed) {
  if (sources.size() < 2) {
    return usage_error("a new device needs at least 2 known devices to learn from, found " +
                       std::to_string(sources.size()));
  }
  if (samples < 1 || samples >= table.rows) {
    return usage_error("samples must be from 1 to " + std::to_string(table.rows - 1) +
                       " (rows less one), found " + std::to_string(samples));
  }
  std::vector<DeviceName> others(names.begin(), names.end() - 1);
  // A new device whose card is known has relatives among the sources: so have those that rehearse its part.
  if (std::ranges::count(others, names.back().card, &DeviceName::card) > 0)
    for (std::size_t d = 0; d < others.size(); ++d) others[d].card += " " + std::to_string(d);
  const KnownDevices known = known_devices(table, sources, std::move(others));
  const std::vector<FewShotPrior> grid = priors();
  const Leads lead = leads(known, names.back().setting, seed);
  const Lesson lesson = learn_from(known, grid, samples, seed);
  const Rows pool = Rng(seed, "few-shot-pool")
                        .sample(table.rows, std::min(table.rows, std::max<std::size_t>(200, samples)));
  FewShot out;
  out.measured = choose_rows(few_shot_basis(known, kChooser, lead.all[0]), kChooser.noise, samples, pool);
  Values log_times;
  for (const std::size_t row : out.measured) log_times.push_back(std::log(target[row]));
  const KnownDevices measured = known.rows(out.measured);
  const Blend found =
      blend(known, measured, lead, grid, weigh(measured, lead, grid, lesson.belief, log_times), log_times);
  for (std::size_t i = 0; i < table.rows; ++i) {
    out.predicted.push_back(std::exp(found.mean[i]));
    out.low.push_back(std::exp(found.mean[i] - lesson.width * found.deviation[i]));
    out.high.push_back(std::exp(found.mean[i] + lesson.width * found.deviation[i]));
  }
  return out;
}

}  // namespace nas::latency
