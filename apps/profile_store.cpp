#include "apps/profile_store.h"

#include <cmath>
#include <cstdlib>
#include <set>

#include "apps/accuracy_file.h"
#include "latency/measure/profiler.h"
#include "results/catalog.h"
#include "results/measurements.h"

namespace nas::apps {
namespace {

std::string word(const latency::SessionInfo& info, const std::string& key) {
  const auto found = info.context.find(key);
  return found == info.context.end() ? std::string() : found->second;
}

results::Session to_session(const latency::SessionInfo& info, results::Id device, double clock_mhz) {
  results::Session session;
  session.uid = info.id;
  session.device_id = device;
  session.unit = info.unit;
  session.tool_version = version();
  if (clock_mhz > 0) session.clock_hz = clock_mhz * 1e6;
  session.governor = word(info, "before.governor");
  session.affinity = word(info, "taskset");
  session.info =
      nlohmann::json{{"precision", info.precision}, {"engine", info.engine},   {"profile", info.profile},
                     {"space", info.space},         {"started", info.started}, {"context", info.context}}
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return session;
}

results::Timing to_timing(const latency::KernelRecord& r) {
  results::Timing time{.n = static_cast<std::int64_t>(r.n),
                       .median = r.median,
                       .mean = r.mean,
                       .deviation = r.deviation,
                       .p05 = r.p05,
                       .p90 = r.p90,
                       .least = r.min,
                       .steady = r.steady};
  for (const double sample : r.visit_medians) time.samples.push_back(std::llround(sample));
  return time;
}

Result<results::Id> keep_session(results::Store& store, const devices::DeviceProfile& device,
                                 const std::string& profile, const latency::SessionInfo& info) {
  results::Device record;
  record.name = device.name;
  record.kind = device.kind;
  record.transport = nlohmann::json{{"kind", devices::to_string(device.transport.kind)}}.dump();
  record.spec = nlohmann::json::parse(profile, nullptr, false, true).dump();
  NAS_TRY(device_id, results::keep(store, record));
  NAS_TRY(sessions, results::list_sessions(store, device_id));
  for (const results::Session& session : sessions)
    if (session.uid == info.id) return session.id;
  return results::open_session(store, to_session(info, device_id, device.clock_mhz));
}

}  // namespace

Result<StoredSession> StoredSession::open(const Context& context, const devices::DeviceProfile& device,
                                          const latency::SessionInfo& info) {
  NAS_TRY(profile, devices::profile_text(device.name, std::filesystem::path(context.project) / "devices"));
  StoredSession stored(context);
  if (auto space = open_space(info.space)) stored.space_ = *std::move(space);
  stored.ledger_->write([&](results::Store& store) -> Result<void> {
    NAS_TRY(id, keep_session(store, device, profile, info));
    stored.id_ = id;
    return {};
  });
  return stored;
}

Result<void> StoredSession::put(results::Store& store) const {
  NAS_TRY(session, results::get_session(store, id_));
  const std::string precision = nlohmann::json::parse(session.info).value("precision", "fp32");
  std::vector<results::KernelTime> kernels;
  std::vector<results::NetworkTime> networks;
  for (const latency::KernelRecord& r : not_stored_) {
    if (!r.signature.starts_with(latency::kNetworkPrefix)) {
      kernels.push_back({.session_id = id_, .signature = r.signature, .time = to_timing(r)});
      continue;
    }
    // A network that the space does not know (any more) stays in the session's file only.
    if (!space_) continue;
    const auto genotype = space_->parse(r.signature.substr(latency::kNetworkPrefix.size()));
    if (!genotype) continue;
    NAS_TRY(archs, keep_networks(store, *space_, {&*genotype, 1}));
    networks.push_back(
        {.session_id = id_, .arch_id = archs.front(), .precision = precision, .time = to_timing(r)});
  }
  NAS_CHECK(results::add_kernel_times(store, kernels));
  return results::add_network_times(store, networks);
}

Result<void> StoredSession::add(const latency::KernelRecord& record) {
  if (!record.failure.empty() || record.provisional || id_ == 0) return {};
  not_stored_.push_back(record);
  if (ledger_->write([&](results::Store& store) { return put(store); })) not_stored_.clear();
  return {};
}

Result<void> StoredSession::add_missing(const latency::Session& session) {
  if (id_ == 0) return {};
  const bool kept = ledger_->write([&](results::Store& store) -> Result<void> {
    NAS_TRY(known, results::kernel_times(store, id_));
    std::set<std::string> have;
    for (const results::KernelTime& row : known) have.insert(row.signature);
    for (const latency::KernelRecord& r : session.kernels)
      if (r.failure.empty() && !r.provisional && !have.contains(r.signature)) not_stored_.push_back(r);
    return put(store);
  });
  if (kept) not_stored_.clear();
  return {};
}

Result<void> StoredSession::close(bool complete) {
  if (id_ == 0) return {};
  ledger_->write(
      [&](results::Store& store) -> Result<void> {
        NAS_CHECK(put(store));
        return results::close_session(store, id_, complete ? "done" : "open");
      },
      true);
  return {};
}

}  // namespace nas::apps
