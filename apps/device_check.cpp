#include "apps/device_check.h"

#include <unistd.h>

#include <ctime>
#include <map>

#include "apps/engine_models.h"
#include "apps/network_costs.h"
#include "apps/profile_store.h"
#include "apps/progress.h"
#include "devices/device_lock.h"
#include "devices/profile.h"
#include "latency/measure/profiler.h"
#include "space/json/document.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using latency::KernelRecord;

// Measures the networks into the log, whatever it holds already.
Result<void> measure(const Context& context, const devices::DeviceProfile& device,
                     const latency::ProfileOptions& options, latency::SessionInfo info,
                     const std::vector<latency::NamedNetwork>& networks, latency::SessionLog& log,
                     std::map<std::string, KernelRecord>& records) {
  const std::int64_t now = std::time(nullptr);
  NAS_TRY(lock, devices::DeviceLock::take(
                    devices::cache_folder() / "locks",
                    {device.name, devices::lock_owner(), "check", ::getpid(), now + 3600}, now));
  NAS_TRY(stored, StoredSession::open(context, device, log.session().info));
  NAS_CHECK(stored.add_missing(log.session()));
  Progress progress("measure on " + device.name, networks.size(), context.quiet);
  std::size_t finished = 0;
  latency::ProfileHooks hooks;
  hooks.done = [&](const KernelRecord& record) -> Result<void> {
    records[record.signature] = record;
    NAS_CHECK(log.add(record));
    return stored.add(record);
  };
  hooks.progress = [&](std::size_t, std::size_t, const std::string&) { progress.update(++finished); };
  NAS_CHECK(latency::profile_with_networks(device, {}, networks, options, info, hooks));
  return stored.close(true);
}

// The device's numbers into `check`; fails when it cannot be used.
Result<void> check_device(const Context& context, const latency::Session& session, const fs::path& folder,
                          const SearchSpace& space, const std::vector<std::string>& archs,
                          DeviceCheck& check) {
  NAS_TRY(device, devices::load_profile(check.device, fs::path(context.project) / "devices"));
  if (device.fingerprint != session.info.profile)
    return Error{"its profile has changed since the session was measured"};
  if (device.engine == "c" && session.info.precision != "int8")
    return Error{"its table is of " + session.info.precision + ", whole networks run there as int8 C"};
  latency::ProfileOptions options;
  options.precision = session.info.precision;
  options.parts = engine_parts();
  options.cache = devices::cache_folder() / "builds";
  options.space = session.info.space;
  NAS_TRY(info, latency::describe_session(device, options));
  NAS_TRY(log, latency::SessionLog::open(folder / ("measured-" + check.metric + ".jsonl"), info));
  std::map<std::string, KernelRecord> records;
  for (const KernelRecord& r : log.session().kernels) records[r.signature] = r;
  std::vector<latency::NamedNetwork> open;
  for (const std::string& arch : archs) {
    const auto known = records.find(latency::kNetworkPrefix + arch);
    if (known != records.end() && known->second.failure.empty()) continue;
    NAS_TRY(genotype, space.parse(arch));
    open.push_back({arch, space.lower(genotype)});
  }
  const auto measured =
      open.empty() ? Result<void>() : measure(context, device, options, info, open, log, records);
  for (std::size_t i = 0; i < archs.size(); ++i) {
    const auto found = records.find(latency::kNetworkPrefix + archs[i]);
    if (found == records.end()) continue;
    if (found->second.failure.empty()) check.measured[i] = 1e-6 * found->second.median;
    if (!found->second.failure.empty()) check.missing = archs[i] + ": " + found->second.failure;
  }
  return measured;
}

}  // namespace

Result<std::vector<DeviceCheck>> measure_on_devices(const Context& context, const search::RunRecord& run,
                                                    const fs::path& folder, const SearchSpace& space,
                                                    const std::vector<std::string>& networks) {
  NAS_TRY(document, JsonDocument::parse(run.config, (folder / "run.json").string()));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  JsonReader problem = reader.object("problem");
  const CostRequest costs = read_cost_request(problem);
  std::vector<DeviceCheck> checks;
  for (const CostRequest::Device& wanted : costs.devices) {
    if (wanted.session.empty()) continue;  // of other people's measurements
    const fs::path path = fs::path(context.project) / run.base / wanted.session;
    NAS_TRY(session, latency::load_session(path));
    DeviceCheck check{wanted.metric.empty() ? session_metric(session.info) : wanted.metric,
                      wanted.profile.empty() ? session.info.device : wanted.profile,
                      session.info.unit == "instructions" ? "Minstr" : "ms",
                      std::vector<std::optional<double>>(networks.size()),
                      {}};
    const auto done = check_device(context, session, folder, space, networks, check);
    if (!done) check.missing = done.error().message;
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace nas::apps
