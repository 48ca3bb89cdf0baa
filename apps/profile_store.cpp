#include "apps/profile_store.h"

#include <cmath>
#include <cstdlib>
#include <set>

#include "apps/store_records.h"
#include "devices/device_lock.h"
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

results::KernelTime to_row(const latency::KernelRecord& r, results::Id session) {
  results::KernelTime row;
  row.session_id = session;
  row.signature = r.signature;
  row.n = static_cast<std::int64_t>(r.n);
  row.median = r.median;
  row.mean = r.mean;
  row.deviation = r.deviation;
  row.p05 = r.p05;
  row.p90 = r.p90;
  row.least = r.min;
  row.steady = r.steady;
  for (const double sample : r.visit_medians) row.samples.push_back(std::llround(sample));
  return row;
}

}  // namespace

Result<StoredSession> StoredSession::open(const Context& context, const devices::DeviceProfile& device,
                                          const latency::SessionInfo& info) {
  NAS_TRY(store, open_to_write(context));
  StoredSession stored(std::move(store));
  NAS_TRY(text, devices::profile_text(device.name, std::filesystem::path(context.project) / "devices"));
  results::Device record;
  record.name = device.name;
  record.kind = device.kind;
  record.transport = nlohmann::json{{"kind", devices::to_string(device.transport.kind)}}.dump();
  record.spec = nlohmann::json::parse(text, nullptr, false, true).dump();
  NAS_TRY(device_id, results::keep(*stored.store_, record));
  NAS_TRY(sessions, results::list_sessions(*stored.store_, device_id));
  for (const results::Session& session : sessions)
    if (session.uid == info.id) stored.id_ = session.id;
  if (stored.id_ == 0) {
    NAS_TRY(id, results::open_session(*stored.store_, to_session(info, device_id, device.clock_mhz)));
    stored.id_ = id;
  }
  return stored;
}

Result<void> StoredSession::add(const latency::KernelRecord& record) {
  if (!record.failure.empty()) return {};
  return results::add_kernel_times(*store_, {to_row(record, id_)});
}

Result<void> StoredSession::add_missing(const latency::Session& session) {
  NAS_TRY(known, results::kernel_times(*store_, id_));
  std::set<std::string> have;
  for (const results::KernelTime& row : known) have.insert(row.signature);
  std::vector<results::KernelTime> rows;
  for (const latency::KernelRecord& r : session.kernels)
    if (r.failure.empty() && !have.contains(r.signature)) rows.push_back(to_row(r, id_));
  return rows.empty() ? Result<void>{} : results::add_kernel_times(*store_, rows);
}

Result<void> StoredSession::close(bool complete) {
  return results::close_session(*store_, id_, complete ? "done" : "open");
}

}  // namespace nas::apps
