#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "apps/command.h"
#include "latency/measure/session.h"

namespace nas::apps {

// A session of `hwnas profile` (or `hwnas table import`) as a project keeps it: as a file in its sessions
// folder, in its store, or in both. The file is the log itself; where it is gone the store has what it held,
// but for kernels that failed, and with intervals made again from the visits' medians.
struct ProjectSession {
  std::string name;            // of the file without .jsonl: DEVICE-PRECISION-SPACE unless it was named
  std::filesystem::path file;  // where it is, or where it was kept
  bool from_store = false;
  latency::Session session;
};

// `name`: a file, the name of one in the sessions folder, or a session of the store by the same name or its
// id. Of several in the store by one name the newest.
Result<ProjectSession> find_session(const Context& context, const std::string& name);

// All that can be read of both, each once.
std::vector<ProjectSession> project_sessions(const Context& context);

}  // namespace nas::apps
