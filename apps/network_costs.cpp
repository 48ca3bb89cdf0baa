#include "apps/network_costs.h"

#include <cstdio>
#include <limits>
#include <optional>

#include "devices/profile.h"
#include "latency/measured_networks.h"
#include "latency/table.h"
#include "search/additive_fit.h"
#include "search/memory_parts.h"
#include "space/cost.h"
#include "space/energy.h"
#include "space/memory.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using search::Source;

struct DeviceLatency {
  std::string metric;
  std::optional<latency::LatencyTable> table;  // null: fitted to whole networks
  FusionRules rules;
  double scale = 1;                     // to the metric's unit
  std::optional<search::Additive> sum;  // the latency as a sum of terms, before scaling
};

struct Costs {
  std::vector<DeviceLatency> devices;
  MemoryOptions memory;
  std::optional<EnergyTable> energy;
  std::optional<search::Additive> energy_sum;  // in uJ, where all weights lie in the same level
};

Result<DeviceLatency> open_session(const CostRequest::Device& wanted, const std::string& precision,
                                   const fs::path& base, const fs::path& project) {
  const fs::path path = base / wanted.session;
  NAS_TRY(session, latency::load_session(path));
  NAS_TRY(table, latency::LatencyTable::make(session));
  const std::string name = wanted.profile.empty() ? session.info.device : wanted.profile;
  NAS_TRY(device, devices::load_profile(name, project / "devices"));
  if (device.fingerprint != session.info.profile)
    return usage_error("the session was measured on another device than " + name +
                           " (its profile differs); profile again or name the right one",
                       path.string());
  if (table.info().precision != precision)
    return usage_error(
        "the session measured " + table.info().precision + " kernels, the search is for " + precision,
        path.string());
  return DeviceLatency{wanted.metric.empty() ? session_metric(session.info) : wanted.metric,
                       std::move(table),
                       device.fusion,
                       1e-6,
                       {}};
}

Result<DeviceLatency> fit_device(const SearchSpace& space, const CostRequest::Device& wanted,
                                 const fs::path& base, std::vector<std::string>& notes) {
  const std::string metric = wanted.metric.empty() ? "latency_ms" : wanted.metric;
  NAS_TRY(measured, latency::read_measured_networks(space, base / wanted.measurements, wanted.column));
  NAS_TRY(fit, search::fit_latency(space, measured.networks, measured.values));
  char line[200];
  std::snprintf(line, sizeof line,
                "%s by a sum over blocks fitted to %zu networks: MAPE %.2f %% on %zu held out",
                metric.c_str(), fit.trained_on, fit.held_out.mape, fit.held_out.n);
  notes.emplace_back(line);
  return DeviceLatency{metric, std::nullopt, {}, 1, std::move(fit.cost)};
}

// Sizes and latencies that are sums over blocks become tables: exact, and fast.
void compile(const SearchSpace& space, Costs& costs, std::vector<search::KnownCost>& known,
             std::vector<std::string>& notes) {
  std::vector<std::string> names{"macs_m", "params_m", "flash_kb"};
  std::vector<double> scales{1e-6, 1e-6, 1.0 / 1024};
  std::vector<DeviceLatency*> tables;
  for (DeviceLatency& d : costs.devices)
    if (d.table) names.push_back(d.metric), scales.push_back(d.scale), tables.push_back(&d);
  const search::Costs values = [&](const Genotype& g, std::span<double> out) {
    const Network network = space.lower(g);
    const Cost c = cost(network, costs.memory.precision);
    out[0] = static_cast<double>(c.macs.count());
    out[1] = static_cast<double>(c.params.count());
    out[2] = static_cast<double>(c.weight_bytes.count());
    for (std::size_t d = 0; d < tables.size(); ++d) {
      const auto value = tables[d]->table->value(network, tables[d]->rules);
      out[3 + d] = value ? *value : std::numeric_limits<double>::quiet_NaN();
    }
  };
  // In whole counts and the table's own unit, where sums are exact: compiled and slow path agree in every
  // bit.
  const auto compiled = search::compile_additive(space, values, names, {.tolerance = 0});
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (compiled[i]) known.push_back({names[i], compiled[i]->scaled(scales[i])});
    if (compiled[i] && i >= 3) tables[i - 3]->sum = *compiled[i];
    if (!compiled[i] && i >= 3)
      notes.push_back(names[i] + " is looked up network by network: " + compiled[i].error().message);
  }
  for (const DeviceLatency& d : costs.devices)
    if (!d.table) known.push_back({d.metric, *d.sum});
}

// Energy is a sum over kernels but for the weights, which all come from the smallest level that holds them
// together. Where that is the same level for all networks the sum is exact; else the sums for each level that
// occurs bound it.
void compile_energy(SearchProblem& problem, Costs& costs) {
  const auto flash = std::ranges::find(problem.known, "flash_kb", &search::KnownCost::metric);
  if (!costs.energy || flash == problem.known.end()) return;
  const auto weights = search::range(problem.space, flash->cost);
  if (!weights) return;
  const auto& levels = costs.energy->levels;
  const auto level_for = [&levels](double bytes) {
    std::size_t i = 0;
    while (i + 1 < levels.size() && static_cast<double>(levels[i].bytes) < bytes) ++i;
    return i;
  };
  const std::size_t first = level_for(1024 * weights->min), last = level_for(1024 * weights->max);
  const auto joules = [&, space = problem.space](const Genotype& g, std::span<double> out) {
    const Network network = space.lower(g);
    const Precision precision = costs.memory.precision;
    const auto bytes = static_cast<double>(cost(network, precision).weight_bytes.count());
    const double total = energy(network, precision, costs.memory.fusion, *costs.energy).joules();
    for (std::size_t l = first; l <= last; ++l)
      out[l - first] =
          total +
          1e-12 * bytes * (levels[l].picojoules_per_byte - levels[level_for(bytes)].picojoules_per_byte);
  };
  const std::vector<std::string> names(last - first + 1, "energy_uj");
  search::BoundedCost bound{"energy_uj", std::numeric_limits<double>::infinity(), 0};
  for (const auto& sum : search::compile_additive(problem.space, joules, names, {.tolerance = 1e-9})) {
    if (!sum) return problem.notes.push_back(sum.error().message);
    if (first == last) {
      costs.energy_sum = sum->scaled(1e6);
      return problem.known.push_back({"energy_uj", *costs.energy_sum});
    }
    const auto reach = search::range(problem.space, *sum);
    if (!reach) return;
    bound.lower = std::min(bound.lower, 1e6 * reach->min * (1 - 1e-8));  // sums are rounded
    bound.upper = std::max(bound.upper, 1e6 * reach->max * (1 + 1e-8));
  }
  problem.bounds.push_back(bound);
}

// Metrics in the order: macs_m, params_m, ram_kb, flash_kb, energy_uj where asked, then the devices.
void score_one(const SearchSpace& space, const Costs& costs, const Genotype& g, std::size_t i,
               search::Scores& scores) {
  const Network network = space.lower(g);
  const Cost c = cost(network, costs.memory.precision);
  auto row = scores.row(i);
  row[0] = 1e-6 * static_cast<double>(c.macs.count());
  row[1] = 1e-6 * static_cast<double>(c.params.count());
  row[2] = static_cast<double>(peak_memory(network, costs.memory).bytes.count()) / 1024;
  row[3] = static_cast<double>(c.weight_bytes.count()) / 1024;
  std::size_t at = 4;
  if (costs.energy_sum)
    row[at++] = (*costs.energy_sum)(g);
  else if (costs.energy)
    row[at++] = 1e6 * energy(network, costs.memory.precision, costs.memory.fusion, *costs.energy).joules();
  for (const DeviceLatency& device : costs.devices) {
    if (device.sum) {
      row[at++] = device.scale * (*device.sum)(g);
      continue;
    }
    const auto value = device.table->value(network, device.rules);
    if (!value) return scores.fail(i, value.error().message);
    row[at++] = device.scale * *value;
  }
}

search::Evaluator cost_evaluator(const SearchSpace& space, std::shared_ptr<const Costs> costs) {
  search::Evaluator evaluator;
  evaluator.metrics = {{"macs_m", "MMACs", Source::modelled},
                       {"params_m", "M", Source::modelled},
                       {"ram_kb", "KiB", Source::modelled},
                       {"flash_kb", "KiB", Source::modelled}};
  if (costs->energy) evaluator.metrics.push_back({"energy_uj", "uJ", Source::modelled});
  for (const DeviceLatency& d : costs->devices)
    evaluator.metrics.push_back(
        {d.metric, d.metric.starts_with("minstr") ? "Minstr" : "ms", Source::predicted});
  evaluator.threads = search::ThreadSafety::concurrent;
  evaluator.score = [space, costs](std::span<const Genotype> batch, double, search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) score_one(space, *costs, batch[i], i, scores);
  };
  return evaluator;
}

}  // namespace

std::string session_metric(const latency::SessionInfo& info) {
  return info.unit == "instructions" ? "minstr" : "latency_ms";
}

CostRequest read_cost_request(JsonReader& reader) {
  CostRequest request;
  request.precision = reader.word("precision", {"int8", "fp32"}, request.precision);
  request.energy = reader.text("energy", "");
  for (JsonReader& one : reader.objects("devices")) {
    request.devices.push_back({one.text("session", ""), one.text("profile", ""), one.text("measurements", ""),
                               one.text("column", ""), one.text("metric", "")});
    const CostRequest::Device& d = request.devices.back();
    if (d.session.empty() == d.measurements.empty())
      one.fail("", "required either \"session\" or \"measurements\" with \"column\"");
    if (!d.measurements.empty() && d.column.empty())
      one.fail("", "required \"column\" beside \"measurements\"");
    one.done();
  }
  return request;
}

Result<void> add_network_costs(SearchProblem& problem, const CostRequest& request, const fs::path& base,
                               const fs::path& project) {
  auto costs = std::make_shared<Costs>();
  costs->memory = *memory_preset("in-place");
  costs->memory.precision = latency::precision_of(request.precision);
  if (!request.energy.empty()) {
    NAS_TRY(table, load_energy_table(request.energy));
    costs->energy = std::move(table);
  }
  for (const CostRequest::Device& wanted : request.devices) {
    NAS_TRY(device, wanted.session.empty() ? fit_device(problem.space, wanted, base, problem.notes)
                                           : open_session(wanted, request.precision, base, project));
    for (const DeviceLatency& other : costs->devices)
      if (other.metric == device.metric)
        return usage_error("two devices give the metric " + device.metric +
                           "; name them with \"metric\": \"latency_phone\"");
    costs->devices.push_back(std::move(device));
  }
  compile(problem.space, *costs, problem.known, problem.notes);
  compile_energy(problem, *costs);
  NAS_TRY(memory, search::compile_peak(problem.space, search::memory_parts(problem.space, costs->memory)));
  problem.peaks.push_back({"ram_kb", memory.scaled(1.0 / 1024)});
  const auto with = [&](const search::Evaluator& first) {
    const search::Evaluator second = cost_evaluator(problem.space, costs);
    return first.score ? search::combined({first, second}) : second;
  };
  if (problem.probe.score) problem.probe = with(problem.probe);
  problem.evaluator = with(problem.evaluator);
  return {};
}

}  // namespace nas::apps
