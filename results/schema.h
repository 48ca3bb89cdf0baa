#pragma once
#include <filesystem>
#include <string>

#include "results/sqlite.h"
#include "space/base/result.h"

namespace nas::results {

// PRAGMA application_id of a store: "hwna".
constexpr std::int64_t kApplicationId = 0x68776E61;
// PRAGMA user_version that this program writes.
constexpr int kSchemaVersion = 3;

// The statements that make an empty file a store of the current version.
std::string schema_sql();

// Brings an open store of an older version to the current one, step by step in one transaction. A copy of the
// file is written beside it first (<file>.v<N>.bak); returns its path, or an empty one when nothing was to
// do.
Result<std::filesystem::path> migrate(Database& database);

}  // namespace nas::results
