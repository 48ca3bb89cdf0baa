#include "apps/project_sessions.h"

#include <algorithm>
#include <set>

#include "apps/store_records.h"
#include "latency/measure/statistics.h"
#include "results/catalog.h"
#include "results/measurements.h"
#include "results/runs.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using latency::KernelRecord;

fs::path sessions_folder(const Context& context) { return fs::path(context.project) / "sessions"; }

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

KernelRecord to_kernel_record(const results::Timing& row, std::string signature) {
  KernelRecord r;
  r.signature = std::move(signature);
  r.n = static_cast<std::uint64_t>(row.n);
  r.visits = row.samples.size();
  r.median = row.median;
  r.mean = row.mean;
  r.deviation = row.deviation;
  r.min = row.least;
  r.p05 = row.p05;
  r.p90 = row.p90;
  r.steady = row.steady;
  for (const std::int64_t sample : row.samples) r.visit_medians.push_back(static_cast<double>(sample));
  r.low = r.high = row.median;
  if (const auto interval = latency::median_interval(r.visit_medians, 0.95)) {
    r.low = std::min(interval->low, row.median);
    r.high = std::max(interval->high, row.median);
  } else if (r.visits > 1) {
    r.low = std::min(row.least, row.median);
    r.high = std::max(row.p90, row.median);
  }
  r.own_low = r.low;
  r.own_high = r.high;
  return r;
}

latency::SessionInfo to_info(const results::Session& stored, const std::string& device) {
  const auto json = nlohmann::json::parse(stored.info, nullptr, false);
  const auto word = [&](const char* key) {
    return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>()
                                                                           : std::string();
  };
  latency::SessionInfo info{stored.uid,        device,      word("profile"), word("engine"),
                            word("precision"), stored.unit, word("space"),   word("started")};
  if (json.is_object() && json.contains("context") && json["context"].is_object())
    for (const auto& [key, value] : json["context"].items())
      if (value.is_string()) info.context[key] = value.get<std::string>();
  return info;
}

Result<ProjectSession> from_store(const Context& context, results::Store& store,
                                  const results::Session& stored, const std::string& device) {
  ProjectSession out;
  out.from_store = true;
  out.session.info = to_info(stored, device);
  const latency::SessionInfo& info = out.session.info;
  out.name = device + "-" + info.precision + "-" + fs::path(info.space).stem().string();
  out.file = sessions_folder(context) / (out.name + ".jsonl");
  NAS_TRY(kernels, results::kernel_times(store, stored.id, true));
  for (const results::KernelTime& row : kernels)
    out.session.kernels.push_back(to_kernel_record(row.time, row.signature));
  NAS_TRY(networks, results::network_times(store, stored.id, true));
  for (const results::NetworkTime& row : networks) {
    NAS_TRY(architecture, results::get_architecture(store, row.arch_id));
    out.session.kernels.push_back(to_kernel_record(row.time, latency::kNetworkPrefix + architecture.text));
  }
  return out;
}

// The store's sessions, newest first; none where the project has no store.
Result<std::vector<ProjectSession>> stored_sessions(const Context& context) {
  std::vector<ProjectSession> out;
  if (!is_there(fs::path(context.project) / results::kStoreFile)) return out;
  NAS_TRY(store, open_to_read(context));
  NAS_TRY(devices, results::list_devices(store));
  for (const results::Device& device : devices) {
    NAS_TRY(sessions, results::list_sessions(store, device.id));
    for (const results::Session& one : sessions) {
      NAS_TRY(session, from_store(context, store, one, device.name));
      out.push_back(std::move(session));
    }
  }
  std::ranges::stable_sort(out, std::greater<>(),
                           [](const ProjectSession& s) { return s.session.info.started; });
  return out;
}

}  // namespace

Result<ProjectSession> find_session(const Context& context, const std::string& name) {
  const fs::path kept = sessions_folder(context) / (name + ".jsonl");
  for (const fs::path& file : {kept, fs::path(name)}) {
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored)) continue;
    NAS_TRY(session, latency::load_session(file));
    return ProjectSession{file.stem().string(), file, false, std::move(session)};
  }
  NAS_TRY(stored, stored_sessions(context));
  for (ProjectSession& one : stored)
    if (one.name == name || one.session.info.id == name) return std::move(one);
  std::set<std::string> known;
  for (const ProjectSession& one : project_sessions(context)) known.insert(one.name);
  std::string list;
  for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
  return usage_error("no session '" + name + "': neither a file, nor in this project, which has " +
                         (list.empty() ? "none" : list),
                     sessions_folder(context).string());
}

std::vector<ProjectSession> project_sessions(const Context& context) {
  std::vector<ProjectSession> out;
  std::set<std::string> ids;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(sessions_folder(context), ignored)) {
    if (entry.path().extension() != ".jsonl") continue;
    auto session = latency::load_session(entry.path());
    if (!session) continue;  // not a session
    ids.insert(session->info.id);
    out.push_back({entry.path().stem().string(), entry.path(), false, *std::move(session)});
  }
  // A store that cannot be read says so where one of its sessions is asked for.
  if (auto stored = stored_sessions(context))
    for (ProjectSession& one : *stored)
      if (!ids.contains(one.session.info.id)) out.push_back(std::move(one));
  return out;
}

}  // namespace nas::apps
