#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "apps/command.h"
#include "space/memory.h"
#include "space/network.h"
#include "space/patch.h"

namespace nas::apps {

// Where every tensor and scratch lies: size and bound of the arena, and one record a block, by offset.
struct ArenaRecords {
  nlohmann::ordered_json total;  // arena_bytes, arena_bound_bytes
  std::vector<nlohmann::ordered_json> blocks;
};
ArenaRecords arena_records(const Network& network, const MemoryProgram& program);
std::vector<Column> arena_columns();

// How the first layers run in patches; empty values: not asked for.
struct PatchRequest {
  int grid = 0;       // patches a side
  std::string split;  // name of the last layer in patches; "": the one with the lowest peak
  Bytes ram;          // fewest extra MACs within so many bytes, any split and grid
};

// Adds patch_grid, patch_split, patch_peak_bytes (the whole network's), patch_stage_bytes, patch_rest_bytes,
// patch_macs and patch_extra_macs (share). Fails on a grid or split that cannot be and on a limit out of
// reach.
Result<void> add_patches(const Network& network, const MemoryOptions& memory, const PatchRequest& request,
                         nlohmann::ordered_json& record);
std::vector<Column> patch_columns();

}  // namespace nas::apps
