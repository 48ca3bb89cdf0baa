#include "apps/report/part_json.h"

#include <algorithm>
#include <cmath>

#include "results/catalog.h"
#include "results/measurements.h"
#include "results/queue.h"
#include "results/runs.h"
#include "space/base/file.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
constexpr std::size_t kMostKernels = 3000;  // of a session
constexpr std::size_t kMostVisits = 200;    // raw medians of one kernel
constexpr std::size_t kMostTasks = 2000;
constexpr std::size_t kMostStates = 1500;

Json kernel_json(const latency::KernelRecord& r) {
  Json visits = Json::array();
  for (std::size_t i = 0; i < std::min(r.visit_medians.size(), kMostVisits); ++i)
    visits.push_back(r.visit_medians[i]);
  return {{"signature", r.signature}, {"n", r.n},         {"median", r.median}, {"low", r.low},
          {"high", r.high},           {"p05", r.p05},     {"p90", r.p90},       {"deviation", r.deviation},
          {"outliers", r.outliers},   {"drift", r.drift}, {"steady", r.steady}, {"redone", r.redone},
          {"visits", visits}};
}

// Columns over time; null where a state does not tell. Of many states every n-th.
Json states_json(const std::vector<latency::DeviceState>& states) {
  const auto optional = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  Json out{{"time", Json::array()},
           {"clock_mhz", Json::array()},
           {"celsius", Json::array()},
           {"load", Json::array()},
           {"references", Json::object()}};
  for (const latency::DeviceState& state : states)
    for (const auto& [kernel, value] : state.references) out["references"][kernel] = Json::array();
  const std::size_t step = (states.size() + kMostStates - 1) / kMostStates;
  for (std::size_t i = 0; i < states.size(); i += step) {
    const latency::DeviceState& state = states[i];
    out["time"].push_back(state.time);
    out["clock_mhz"].push_back(optional(state.clock_mhz));
    out["celsius"].push_back(optional(state.celsius));
    out["load"].push_back(optional(state.load));
    for (auto& [kernel, values] : out["references"].items()) {
      const auto found = state.references.find(kernel);
      values.push_back(found == state.references.end() ? Json(nullptr) : Json(found->second));
    }
  }
  return out;
}

}  // namespace

Json session_json(const latency::Session& session, const std::string& name) {
  Json kernels = Json::array(), failures = Json::array();
  std::size_t left_out = 0, unsteady = 0;
  for (const latency::KernelRecord& r : session.kernels) {
    if (!r.failure.empty()) {
      failures.push_back({{"signature", r.signature}, {"failure", r.failure}});
      continue;
    }
    unsteady += !r.steady;
    if (kernels.size() < kMostKernels)
      kernels.push_back(kernel_json(r));
    else
      ++left_out;
  }
  const auto& i = session.info;
  return {{"name", name},
          {"device", i.device},
          {"engine", i.engine},
          {"precision", i.precision},
          {"unit", i.unit},
          {"space", i.space},
          {"started", i.started},
          {"context", i.context},
          {"kernels", kernels},
          {"failures", failures},
          {"left_out", left_out},
          {"unsteady", unsteady},
          {"states", states_json(session.states)}};
}

Result<Json> export_json(const fs::path& folder) {
  NAS_TRY(text, read_file(folder / "manifest.json", std::uint64_t{16} << 20));
  Json manifest = Json::parse(text, nullptr, false);
  if (!manifest.is_object()) return Error{"is no JSON object", (folder / "manifest.json").string()};
  Json parity = nullptr;
  if (const auto found = read_file(folder / "parity.json", std::uint64_t{16} << 20))
    parity = Json::parse(*found, nullptr, false);
  if (parity.is_discarded()) parity = nullptr;
  return Json{{"name", folder.filename().string()}, {"manifest", manifest}, {"parity", parity}};
}

Result<Json> predictions_json(const fs::path& file) {
  NAS_TRY(text, read_file(file, std::uint64_t{256} << 20));
  Json rows = Json::array();
  std::size_t bad = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                  text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    at = end + 1;
    const auto number = [&](const char* key) {
      return line.is_object() && line.contains(key) && line[key].is_number() &&
             std::isfinite(line[key].get<double>());
    };
    if (number("predicted") && number("measured"))
      rows.push_back(line);
    else
      ++bad;
  }
  // Beside a search: the measurements of its candidates.
  const fs::path folder = fs::absolute(file).parent_path();
  std::error_code ignored;
  const bool of_search = fs::exists(folder / "run.json", ignored);
  return Json{{"name", file.filename().string()},
              {"run", of_search ? Json(folder.filename().string()) : Json(nullptr)},
              {"rows", rows},
              {"unusable_lines", bad}};
}

Json stages_json(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, Json>> found;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    const auto text = read_file(it->path(), 1 << 20);
    const Json record = text ? Json::parse(*text, nullptr, false) : Json();
    if (!record.is_object() || !record.contains("stage")) continue;
    std::error_code gone;
    found.emplace_back(fs::last_write_time(it->path(), gone),
                       Json{{"stage", record["stage"]},
                            {"seconds", record.value("seconds", Json())},
                            {"peak_kilobytes", record.value("peak_kilobytes", Json())}});
  }
  std::ranges::sort(found, {}, [](const auto& one) { return std::pair(one.first, one.second.dump()); });
  Json rows = Json::array();
  for (auto& [time, row] : found) rows.push_back(std::move(row));
  return rows;
}

Json hashes_json(const std::vector<fs::path>& files, const fs::path& project) {
  Json rows = Json::array();
  for (const fs::path& file : files) {
    const auto hash = sha256_file(file);
    if (!hash) continue;
    const fs::path inside = fs::absolute(file).lexically_relative(fs::absolute(project).lexically_normal());
    const bool outside = inside.empty() || *inside.begin() == "..";
    rows.push_back({{"file", (outside ? file : inside).string()}, {"sha256", *hash}});
  }
  return rows;
}

Result<Json> tasks_json(results::Store& store) {
  NAS_TRY(tasks, results::list_tasks(store, {}, static_cast<std::int64_t>(kMostTasks)));
  NAS_TRY(workers, results::list_workers(store));
  NAS_TRY(runs, results::list_runs(store));
  Json names = Json::object(), worker_names = Json::object(), rows = Json::array();
  for (const auto& run : runs) names[std::to_string(run.id)] = run.name;
  for (const auto& worker : workers) worker_names[std::to_string(worker.id)] = worker.name;
  for (const auto& task : tasks) {
    NAS_TRY(attempts, results::list_attempts(store, task.id));
    Json tries = Json::array();
    for (const auto& a : attempts)
      tries.push_back({{"attempt", a.attempt},
                       {"worker", worker_names.value(std::to_string(a.worker_id), "")},
                       {"started", a.started},
                       {"ended", a.ended ? Json(*a.ended) : Json(nullptr)},
                       {"outcome", a.outcome},
                       {"error", a.error}});
    rows.push_back({{"id", task.id},
                    {"run", names.value(std::to_string(task.run_id), "")},
                    {"number", task.number},
                    {"kind", task.kind},
                    {"state", results::to_word(task.state)},
                    {"queued", task.queued},
                    {"wait_ms", task.wait_ms},
                    {"run_ms", task.run_ms},
                    {"error", task.error},
                    {"attempts", tries}});
  }
  return Json{{"now", store.now()}, {"tasks", rows}};
}

Result<Json> predictors_json(results::Store& store) {
  NAS_TRY(predictors, results::list_predictors(store));
  const auto optional = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  Json rows = Json::array();
  for (const auto& p : predictors)
    rows.push_back({{"name", p.name},
                    {"target", p.target},
                    {"algorithm", p.algorithm},
                    {"n_train", p.n_train},
                    {"mape", optional(p.mape)},
                    {"within10", optional(p.within10)},
                    {"kendall", optional(p.kendall)}});
  return rows;
}

}  // namespace nas::report
