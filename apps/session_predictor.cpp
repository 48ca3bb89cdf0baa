#include "apps/session_predictor.h"

#include <cstdio>
#include <set>
#include <utility>

#include "apps/project_sessions.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;

// What a device's name means: of its sessions, those of the same space first, then the newest.
Result<ProjectSession> newest_session(const Context& context, const SessionChoice& choice) {
  std::set<std::string> devices;
  std::optional<ProjectSession> best;
  const auto rank = [&](const latency::SessionInfo& info) {
    return std::pair(fs::path(info.space).stem() == fs::path(choice.space).stem(), info.started);
  };
  for (ProjectSession& one : project_sessions(context)) {
    if (!latency::LatencyTable::make(one.session)) continue;  // nothing measured
    const latency::SessionInfo& info = one.session.info;
    devices.insert(info.device);
    if (info.device != choice.device) continue;
    if (!choice.precision.empty() && info.precision != choice.precision) continue;
    if (!best || rank(best->session.info) < rank(info)) best = std::move(one);
  }
  if (best) return *std::move(best);
  std::string known;
  for (const std::string& device : devices) known += (known.empty() ? "" : ", ") + device;
  return usage_error("no session of " + choice.device +
                         (choice.precision.empty() ? "" : " in " + choice.precision) + " (" +
                         (known.empty() ? "there are none" : "there are sessions of " + known) +
                         "); hwnas profile " + choice.device + " --space " + choice.space + " measures one",
                     context.project);
}

Result<void> check_choice(const SessionChoice& choice, const latency::SessionInfo& info,
                          const fs::path& path) {
  if (!choice.device.empty() && choice.device != info.device)
    return usage_error(
        "the session is of another device: required " + choice.device + ", found " + info.device,
        path.string());
  if (!choice.precision.empty() && choice.precision != info.precision)
    return usage_error(
        "the session is of another precision: required " + choice.precision + ", found " + info.precision,
        path.string());
  return {};
}

}  // namespace

fs::path calibration_file(fs::path session) { return session.replace_extension(".calibration"); }

Result<SessionPredictor> open_session_predictor(const Context& context, const SessionChoice& choice) {
  if (choice.session.empty() && choice.device.empty())
    return usage_error("name a session with --session, or a device with --device");
  NAS_TRY(found,
          choice.session.empty() ? newest_session(context, choice) : find_session(context, choice.session));
  const latency::SessionInfo& info = found.session.info;
  NAS_CHECK(check_choice(choice, info, found.file));
  if (choice.session.empty() && !context.quiet)
    std::fprintf(stderr, "session %s%s: %s, %s, measured %s\n", found.name.c_str(),
                 found.from_store ? " (from the store)" : "", info.device.c_str(), info.precision.c_str(),
                 info.started.c_str());
  NAS_TRY(table, latency::LatencyTable::make(found.session));
  NAS_TRY(device, devices::load_profile(info.device, fs::path(context.project) / "devices"));
  if (device.fingerprint != info.profile)
    return usage_error("the profile of " + device.name + " has changed since this session; profile again",
                       found.file.string());
  SessionPredictor predictor{found.file, std::move(found.session), std::move(table), device.fusion, {}};
  const fs::path calibration = calibration_file(found.file);
  std::error_code ignored;
  if (fs::exists(calibration, ignored)) {
    NAS_TRY(text, read_file(calibration, 1 << 24));
    NAS_TRY(fitted, latency::load_calibration(text, calibration.string()));
    predictor.calibration = std::move(fitted);
  }
  return predictor;
}

void add_session_options(CLI::App* command, SessionChoice& choice) {
  command
      ->add_option("--space", choice.space,
                   "Built-in space, JSON file, or a sweep's .jsonl for the space as trained")
      ->required();
  command->add_option("--session,--table", choice.session,
                      "A session of `hwnas profile`: file, name, or id in the store");
  command->add_option("--device", choice.device, "Its newest session in this project");
  command->add_option("--precision", choice.precision, "int8 or fp32, where the device has sessions of both");
}

}  // namespace nas::apps
