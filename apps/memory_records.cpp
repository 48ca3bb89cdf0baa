#include "apps/memory_records.h"

#include <algorithm>

#include "space/arena.h"
#include "space/json/document.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

Result<std::int32_t> layer_named(const Network& network, const std::string& name) {
  std::vector<std::string> names;
  for (const std::int32_t i : patch_splits(network)) {
    names.push_back(layer_name(network.layers[static_cast<std::size_t>(i)]));
    if (names.back() == name) return i;
  }
  const std::string hint = nearest(name, names);
  return usage_error("--patch-split: no patch stage can end in a layer \"" + name + "\"" +
                     (hint.empty() ? "; `--layers` lists the names" : "; did you mean \"" + hint + "\"?"));
}

Result<PatchCost> patched(const Network& network, const PatchOptions& options, const PatchRequest& request) {
  if (request.ram.count() > 0) {
    PatchSearch search{8, options};
    return best_patch_plan(network, request.ram, search);
  }
  if (request.split.empty()) return lowest_patch_plan(network, request.grid, options);
  NAS_TRY(split, layer_named(network, request.split));
  return patch_cost(network, {split, request.grid}, options);
}

}  // namespace

ArenaRecords arena_records(const Network& network, const MemoryProgram& program) {
  const ArenaPlan plan = plan_arena(program);
  ArenaRecords out;
  out.total = {{"arena_bytes", plan.size.count()}, {"arena_bound_bytes", plan.bound.count()}};
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const std::string name = layer_name(network.layers[static_cast<std::size_t>(program.steps[i].layer)]);
    // A step that a step of the same layer reads makes the padded copy of that layer's input.
    const bool copy = std::ranges::any_of(program.steps, [&](const MemoryStep& s) {
      return s.layer == program.steps[i].layer && s.inputs[0] == static_cast<std::int32_t>(i);
    });
    for (const auto& [block, what] : {std::pair{&plan.tensors[i], copy ? "padded input" : "output"},
                                      std::pair{&plan.scratch[i], "scratch"}})
      if (block->size > 0)
        out.blocks.push_back({{"offset", block->offset},
                              {"bytes", block->size},
                              {"from_step", block->life.first},
                              {"to_step", block->life.last},
                              {"layer", name},
                              {"what", what}});
  }
  return out;
}

std::vector<Column> arena_columns() {
  return {{"offset", "offset", "B"}, {"bytes", "size", "B"}, {"from_step", "from step"},
          {"to_step", "to step"},    {"layer", "layer"},     {"what", "what"}};
}

Result<void> add_patches(const Network& network, const MemoryOptions& memory, const PatchRequest& request,
                         Record& record) {
  if (request.grid == 0 && request.ram.count() == 0) {
    if (!request.split.empty()) return usage_error("--patch-split: needs --patches too");
    return {};
  }
  PatchOptions options;
  options.memory = memory;
  NAS_TRY(cost, patched(network, options, request));
  record["patch_grid"] = cost.plan.grid;
  if (cost.plan.grid > 1)
    record["patch_split"] = layer_name(network.layers[static_cast<std::size_t>(cost.plan.split)]);
  record["patch_peak_bytes"] = cost.peak.count();
  record["patch_stage_bytes"] = cost.patch_peak.count();
  record["patch_rest_bytes"] = cost.rest_peak.count();
  record["patch_macs"] = cost.macs.count();
  record["patch_extra_macs"] = cost.plain_macs.count() > 0 ? cost.macs / cost.plain_macs - 1 : 0.0;
  return {};
}

std::vector<Column> patch_columns() {
  return {{"patch_grid", "patches a side"},
          {"patch_split", "  last layer in patches"},
          {"patch_peak_bytes", "  peak activations", "B"},
          {"patch_stage_bytes", "  in the patches", "B"},
          {"patch_rest_bytes", "  behind them", "B"},
          {"patch_macs", "  MACs"},
          {"patch_extra_macs", "  extra MACs, share"}};
}

}  // namespace nas::apps
