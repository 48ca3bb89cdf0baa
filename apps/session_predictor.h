#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "apps/command.h"
#include "devices/profile.h"
#include "latency/calibration.h"
#include "latency/table.h"

namespace nas::apps {

// Which session a command means: a file or name, or the newest of a device in the project
// (apps/project_sessions.h).
struct SessionChoice {
  std::string session, device, precision, space;
};

// A session with what is needed to use it: the device's fusion rules, and its calibration where it was
// fitted.
struct SessionPredictor {
  std::filesystem::path path;
  latency::Session session;
  latency::LatencyTable table;
  FusionRules rules;
  std::optional<latency::Calibration> calibration;
};

// Of several sessions of the device (and precision), those of the same space come first, then the newest;
// which one it is goes to stderr. Fails when there is none (naming the devices that have one), when a named
// session is of another device or precision, and when the device's profile has changed since.
Result<SessionPredictor> open_session_predictor(const Context& context, const SessionChoice& choice);

std::filesystem::path calibration_file(std::filesystem::path session);

// --space, --session, --device and --precision.
void add_session_options(CLI::App* command, SessionChoice& choice);

}  // namespace nas::apps
