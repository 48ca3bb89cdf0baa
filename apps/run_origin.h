#pragma once
#include "apps/command.h"
#include "results/records.h"
#include "results/store.h"

namespace nas::apps {

// What a run came from, as keys of its record: seed, config (SHA-256), space, data (fingerprint of the
// splits), weights (SHA-256 of the checkpoint) and sessions (ids); null where the run has none.
Result<void> add_origin(nlohmann::ordered_json& record, results::Store& store, const results::Run& run);
std::vector<Column> origin_columns();

}  // namespace nas::apps
