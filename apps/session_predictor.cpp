#include "apps/session_predictor.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <vector>

#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;

// A file, or the name of one in the project's sessions folder.
fs::path named_session(const Context& context, const std::string& name) {
  const fs::path kept = fs::path(context.project) / "sessions" / (name + ".jsonl");
  std::error_code ignored;
  return fs::exists(kept, ignored) ? kept : fs::path(name);
}

struct Found {
  bool same_space = false;
  std::string started;
  fs::path path;
  auto operator<=>(const Found&) const = default;
};

Result<fs::path> newest_session(const Context& context, const SessionChoice& choice) {
  const fs::path folder = fs::path(context.project) / "sessions";
  std::vector<Found> found;
  std::set<std::string> devices;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".jsonl") continue;
    const auto session = latency::load_session(entry.path());
    if (!session || !latency::LatencyTable::make(*session)) continue;  // nothing measured, or not a session
    devices.insert(session->info.device);
    if (session->info.device != choice.device) continue;
    if (!choice.precision.empty() && session->info.precision != choice.precision) continue;
    found.push_back({fs::path(session->info.space).stem() == fs::path(choice.space).stem(),
                     session->info.started, entry.path()});
  }
  if (found.empty()) {
    std::string known;
    for (const std::string& device : devices) known += (known.empty() ? "" : ", ") + device;
    return usage_error("no session of " + choice.device +
                           (choice.precision.empty() ? "" : " in " + choice.precision) + " (" +
                           (known.empty() ? "there are none" : "there are sessions of " + known) +
                           "); hwnas profile " + choice.device + " --space " + choice.space + " measures one",
                       folder.string());
  }
  return std::ranges::max_element(found)->path;
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

fs::path calibration_file(fs::path session) { return session.replace_extension(".calibration.json"); }

Result<SessionPredictor> open_session_predictor(const Context& context, const SessionChoice& choice) {
  if (choice.session.empty() && choice.device.empty())
    return usage_error("name a session with --session, or a device with --device");
  fs::path path = named_session(context, choice.session);
  if (choice.session.empty()) {
    NAS_TRY(newest, newest_session(context, choice));
    path = newest;
  }
  NAS_TRY(session, latency::load_session(path));
  NAS_CHECK(check_choice(choice, session.info, path));
  if (choice.session.empty() && !context.quiet)
    std::fprintf(stderr, "session %s: %s, %s, measured %s\n", path.stem().c_str(),
                 session.info.device.c_str(), session.info.precision.c_str(), session.info.started.c_str());
  NAS_TRY(table, latency::LatencyTable::make(session));
  NAS_TRY(device, devices::load_profile(session.info.device, fs::path(context.project) / "devices"));
  if (device.fingerprint != session.info.profile)
    return usage_error("the profile of " + device.name + " has changed since this session; profile again",
                       path.string());
  SessionPredictor predictor{path, std::move(session), std::move(table), device.fusion, {}};
  std::error_code ignored;
  if (fs::exists(calibration_file(path), ignored)) {
    NAS_TRY(text, read_file(calibration_file(path), 1 << 20));
    NAS_TRY(calibration, latency::parse_calibration(text, calibration_file(path).string()));
    predictor.calibration = std::move(calibration);
  }
  return predictor;
}

void add_session_options(CLI::App* command, SessionChoice& choice) {
  command
      ->add_option("--space", choice.space,
                   "Built-in space, JSON file, or a sweep's .jsonl for the space as trained")
      ->required();
  command->add_option("--session,--table", choice.session, "A session of `hwnas profile`: file or name");
  command->add_option("--device", choice.device, "Its newest session in this project");
  command->add_option("--precision", choice.precision, "int8 or fp32, where the device has sessions of both");
}

}  // namespace nas::apps
