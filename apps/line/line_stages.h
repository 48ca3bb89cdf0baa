#pragma once
#include "apps/line/line_config.h"
#include "apps/line/stage.h"

namespace nas::apps {

// The searches' configurations, by path within the project: what the stages of write_searches read.
std::map<std::string, std::string> search_files(const LineConfig& config);

// All of a project's stages in the order in which they run: train, sweep, then per target profile, search,
// check, export and verify, and the report of all at the end.
std::vector<Stage> line_stages(const LineConfig& config);

}  // namespace nas::apps
