#include "apps/network_problem.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "apps/accuracy_file.h"
#include "devices/profile.h"
#include "latency/table.h"
#include "search/accuracy_surrogate.h"
#include "space/cost.h"
#include "space/memory.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using search::Metric;
using search::Source;

struct DeviceLatency {
  std::string metric;
  latency::LatencyTable table;
  FusionRules rules;
  double scale = 1;  // from the table's unit to the metric's
};

struct Models {
  std::optional<search::AccuracySurrogate> accuracy;
  std::vector<DeviceLatency> devices;
  std::vector<std::optional<search::Additive>> compiled;  // of every device's latency
  MemoryOptions memory;
};

fs::path from(const fs::path& base, const std::string& file) {
  return fs::path(file).is_absolute() ? fs::path(file) : base / file;
}

Result<DeviceLatency> open_device(const fs::path& session_path, const std::string& profile,
                                  const std::string& metric, const fs::path& project) {
  NAS_TRY(session, latency::load_session(session_path));
  NAS_TRY(table, latency::LatencyTable::make(session));
  const std::string name = profile.empty() ? session.info.device : profile;
  NAS_TRY(device, devices::load_profile(name, project / "devices"));
  if (device.fingerprint != session.info.profile)
    return usage_error("the session was measured on another device than " + name +
                           " (its profile differs); profile again or name the right one",
                       session_path.string());
  const bool counted = session.info.unit == "instructions";
  return DeviceLatency{metric.empty() ? (counted ? "minstr" : "latency_ms") : metric, std::move(table),
                       device.fusion, 1e-6};
}

Result<search::AccuracySurrogate> fit_surrogate(const SearchSpace& space, const AccuracyFile& file) {
  std::vector<Genotype> networks;
  std::vector<double> macs_of;
  for (const std::string& text : file.networks) {
    NAS_TRY(genotype, space.parse(text));
    networks.push_back(genotype);
    macs_of.push_back(static_cast<double>(macs(space.lower(genotype)).count()));
  }
  return search::fit_accuracy(space, networks, file.top1, macs_of);
}

void note_surrogate(const search::AccuracySurrogate& model, std::vector<std::string>& notes) {
  for (const search::SurrogateScore& s : model.scores()) {
    char line[200];
    std::snprintf(line, sizeof line,
                  "accuracy by %s: rmse %.4f, tau %.3f, tau inside MACs bins %.3f on %zu held-out networks%s",
                  s.model.c_str(), s.rmse, s.tau, s.tau_bins, model.held_out(),
                  s.model == model.model() ? " (chosen)" : "");
    notes.emplace_back(line);
  }
}

// Latencies and sizes that are sums over blocks become tables: exact, and fast.
void compile(const SearchSpace& space, Models& models, std::vector<search::KnownCost>& known,
             std::vector<std::string>& notes) {
  std::vector<std::string> names{"macs_m", "params_m"};
  for (const DeviceLatency& d : models.devices) names.push_back(d.metric);
  const search::Costs costs = [&](const Genotype& g, std::span<double> out) {
    const Network network = space.lower(g);
    out[0] = static_cast<double>(macs(network).count());
    out[1] = static_cast<double>(params(network).count());
    for (std::size_t d = 0; d < models.devices.size(); ++d) {
      const auto value = models.devices[d].table.value(network, models.devices[d].rules);
      out[2 + d] = value ? *value : std::numeric_limits<double>::quiet_NaN();
    }
  };
  // In whole counts and the table's own unit, where sums are exact: compiled and slow path agree in every
  // bit.
  const auto compiled = search::compile_additive(space, costs, names, {.tolerance = 0});
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double scale = i < 2 ? 1e-6 : models.devices[i - 2].scale;
    if (compiled[i]) known.push_back({names[i], compiled[i]->scaled(scale)});
    if (i < 2) continue;
    models.compiled.push_back(compiled[i] ? std::optional(*compiled[i]) : std::nullopt);
    if (!compiled[i])
      notes.push_back(names[i] + " is looked up network by network: " + compiled[i].error().message);
  }
}

// Metrics in the order: top1, macs_m, params_m, ram_kb, flash_kb, then the devices.
void score_one(const SearchSpace& space, const Models& models, const Genotype& g, std::size_t i,
               search::Scores& scores) {
  const Network network = space.lower(g);
  const Cost c = cost(network, models.memory.precision);
  auto row = scores.row(i);
  std::size_t at = models.accuracy ? 1 : 0;
  row[at++] = 1e-6 * static_cast<double>(c.macs.count());
  row[at++] = 1e-6 * static_cast<double>(c.params.count());
  row[at++] = static_cast<double>(peak_memory(network, models.memory).bytes.count()) / 1024;
  row[at++] = static_cast<double>(c.weight_bytes.count()) / 1024;
  for (std::size_t d = 0; d < models.devices.size(); ++d) {
    if (models.compiled[d]) {
      row[at++] = models.devices[d].scale * (*models.compiled[d])(g);
      continue;
    }
    const auto value = models.devices[d].table.value(network, models.devices[d].rules);
    if (!value) return scores.fail(i, value.error().message);
    row[at++] = models.devices[d].scale * *value;
  }
}

search::Evaluator make_evaluator(const SearchSpace& space, std::shared_ptr<const Models> models) {
  search::Evaluator evaluator;
  if (models->accuracy) evaluator.metrics.push_back({"top1", "share", Source::predicted});
  evaluator.metrics.push_back({"macs_m", "MMACs", Source::modelled});
  evaluator.metrics.push_back({"params_m", "M", Source::modelled});
  evaluator.metrics.push_back({"ram_kb", "KiB", Source::modelled});
  evaluator.metrics.push_back({"flash_kb", "KiB", Source::modelled});
  for (const DeviceLatency& d : models->devices)
    evaluator.metrics.push_back(
        {d.metric, d.metric.starts_with("minstr") ? "Minstr" : "ms", Source::predicted});
  evaluator.threads = search::ThreadSafety::concurrent;
  evaluator.score = [space, models](std::span<const Genotype> batch, double, search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) score_one(space, *models, batch[i], i, scores);
    if (!models->accuracy) return;
    const std::vector<double> top1 = models->accuracy->predict(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) scores.row(i)[0] = top1[i];
  };
  return evaluator;
}

}  // namespace

Result<NetworkProblem> read_network_problem(JsonReader& reader, const fs::path& base,
                                            const fs::path& project) {
  const std::string accuracy = reader.text("accuracy", "");
  const std::string space_name = reader.text("space", "");
  const std::string precision = reader.word("precision", {"int8", "fp32"}, "fp32");
  struct Wanted {
    std::string session, profile, metric;
  };
  std::vector<Wanted> wanted;
  for (JsonReader& one : reader.objects("devices")) {
    wanted.push_back({one.text("session"), one.text("profile", ""), one.text("metric", "")});
    one.done();
  }
  if (accuracy.empty() == space_name.empty())
    reader.fail("", "required either \"accuracy\" (a sweep's file) or \"space\", found " +
                        std::string(accuracy.empty() ? "neither" : "both"));
  reader.done();
  auto models = std::make_shared<Models>();
  std::vector<std::string> notes;
  AccuracyFile sweep;
  if (!accuracy.empty()) {
    NAS_TRY(file, read_accuracy_file(from(base, accuracy)));
    sweep = std::move(file);
  }
  NAS_TRY(space, accuracy.empty() ? load_space(space_name) : sweep.load_space());
  if (!accuracy.empty()) {
    NAS_TRY(surrogate, fit_surrogate(space, sweep));
    note_surrogate(surrogate, notes);
    models->accuracy = std::move(surrogate);
  }
  models->memory = *memory_preset("in-place");
  models->memory.precision = latency::precision_of(precision);
  for (const Wanted& w : wanted) {
    NAS_TRY(device, open_device(from(base, w.session), w.profile, w.metric, project));
    if (device.table.info().precision != precision)
      return usage_error("the session measured " + device.table.info().precision +
                             " kernels, the search is for " + precision,
                         w.session);
    models->devices.push_back(std::move(device));
  }
  NetworkProblem problem{space, {}, {}, {}};
  compile(space, *models, problem.known, notes);
  problem.evaluator = make_evaluator(space, models);
  problem.notes = std::move(notes);
  return problem;
}

}  // namespace nas::apps
