#include "space/patch.h"

#include <algorithm>
#include <optional>
#include <string>

namespace nas {
namespace {

std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

bool patchable(const Layer& l) {
  switch (l.kind) {
    case LayerKind::input:
    case LayerKind::conv:
    case LayerKind::batch_norm:
    case LayerKind::activation:
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
    case LayerKind::add:
    case LayerKind::zero:
      return true;
    default:
      return false;
  }
}

// Half-open range of rows (or columns) of a tensor.
struct Range {
  std::int32_t low = 0;
  std::int32_t high = 0;
  std::int32_t size() const { return high - low; }
  void cover(Range other) {
    if (other.size() <= 0) return;
    if (size() <= 0) {
      *this = other;
      return;
    }
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};

// What of the input a range of the output needs, clipped at the borders.
Range receptive(const Layer& l, Range out, std::int32_t extent) {
  if (out.size() <= 0) return {};
  const bool window =
      l.kind == LayerKind::conv || l.kind == LayerKind::max_pool || l.kind == LayerKind::avg_pool;
  if (!window) return out;
  const std::int64_t low = std::int64_t{out.low} * l.stride - l.padding;
  const std::int64_t high = std::int64_t{out.high - 1} * l.stride - l.padding + l.kernel;
  return {static_cast<std::int32_t>(std::clamp<std::int64_t>(low, 0, extent)),
          static_cast<std::int32_t>(std::clamp<std::int64_t>(high, 0, extent))};
}

// Ranges of every layer's output that the range `out` of the split's output needs, in one direction.
std::vector<Range> needed(const Network& network, std::int32_t split, Range out, std::int32_t Shape::*side) {
  std::vector<Range> range(at(split) + 1);
  range[at(split)] = out;
  for (std::int32_t i = split; i > 0; --i) {
    const Layer& l = network.layers[at(i)];
    for (const std::int32_t from : l.inputs)
      if (from >= 0) range[at(from)].cover(receptive(l, range[at(i)], network.layers[at(from)].out.*side));
  }
  return range;
}

Range part(std::int32_t extent, std::int32_t grid, std::int32_t index) {
  return {static_cast<std::int32_t>(std::int64_t{extent} * index / grid),
          static_cast<std::int32_t>(std::int64_t{extent} * (index + 1) / grid)};
}

Network cropped(const Network& network, std::int32_t split, const std::vector<Range>& rows,
                const std::vector<Range>& columns) {
  Network patch;
  patch.layers.assign(network.layers.begin(), network.layers.begin() + split + 1);
  for (std::size_t i = 0; i < patch.layers.size(); ++i) {
    Layer& l = patch.layers[i];
    l.out.height = rows[i].size();
    l.out.width = columns[i].size();
    l.in = l.inputs[0] >= 0 ? patch.layers[at(l.inputs[0])].out : l.out;
  }
  return patch;
}

// The layers behind the split, reading its output as their input.
Network rest_of(const Network& network, std::int32_t split) {
  Network rest;
  Layer& input = rest.layers.emplace_back();
  input.in = input.out = network.layers[at(split)].out;
  input.activation_bits = network.layers[at(split)].activation_bits;
  for (std::size_t i = at(split) + 1; i < network.layers.size(); ++i) {
    Layer l = network.layers[i];
    for (std::int32_t& from : l.inputs)
      if (from >= 0) from -= split;
    rest.layers.push_back(l);
  }
  return rest;
}

Result<void> check(const Network& network, const PatchPlan& plan) {
  const std::vector<std::int32_t> splits = patch_splits(network);
  if (!std::ranges::binary_search(splits, plan.split))
    return usage_error(
        "patches: layer " + std::to_string(plan.split) +
        " cannot end a patch stage; its first layers must be windows or elementwise and nothing "
        "behind may read them" +
        (splits.empty() ? std::string("; this network has no such layer")
                        : "; the last that can is layer " + std::to_string(splits.back())));
  const Shape& out = network.layers[at(plan.split)].out;
  const std::int32_t most = std::min(out.height, out.width);
  if (plan.grid < 1 || plan.grid > most)
    return usage_error("patches: the grid must be 1 to " + std::to_string(most) + " for an output of " +
                       std::to_string(out.height) + "x" + std::to_string(out.width) + ", found " +
                       std::to_string(plan.grid));
  return {};
}

// Makes the program of a patch in `w` and gives its peak.
std::int64_t patch_peak(const Network& patch, MemoryOptions o, MemoryWorkspace& w) {
  o.whole_layers = false;
  memory_program(patch, o, w, w.program);
  MemoryStep& last = w.program.steps.back();
  last.output = 0;
  last.shared = {0, 0};
  if (is_depthwise(patch.layers[at(last.layer)])) last.scratch = 0;  // the buffer of an in-place one
  return peak_memory(w.program, w).bytes.count();
}

// Bytes of the first tensor as it lies in the arena.
std::int64_t input_bytes(const Network& network, MemoryOptions o, MemoryWorkspace& w) {
  o.count_input = true;
  memory_program(network, o, w, w.program);
  return w.program.steps.front().output;
}

struct Evaluator {
  const Network& network;
  const PatchOptions& options;
  Macs plain;
  MemoryWorkspace workspace;

  PatchCost whole() {
    const Bytes peak = peak_memory(network, options.memory, workspace).bytes;
    return {{0, 1}, peak, peak, Bytes(0), plain, plain};
  }

  PatchCost patched(const PatchPlan& plan) {
    const Shape& out = network.layers[at(plan.split)].out;
    PatchCost cost{plan, {}, {}, {}, {}, plain};
    MemoryOptions inner = options.memory;
    const bool resident_image = inner.count_input && !options.stream_input;
    inner.count_input = inner.count_input && options.stream_input;
    std::vector<std::vector<Range>> rows, columns;
    for (std::int32_t i = 0; i < plan.grid; ++i) {
      rows.push_back(needed(network, plan.split, part(out.height, plan.grid, i), &Shape::height));
      columns.push_back(needed(network, plan.split, part(out.width, plan.grid, i), &Shape::width));
    }
    for (const auto& row : rows)
      for (const auto& column : columns) {
        const Network patch = cropped(network, plan.split, row, column);
        cost.macs += nas::macs(patch);
        cost.patch_peak = std::max(cost.patch_peak, Bytes(patch_peak(patch, inner, workspace)));
      }
    const Network rest = rest_of(network, plan.split);
    cost.patch_peak += Bytes(input_bytes(rest, options.memory, workspace));
    if (resident_image) cost.patch_peak += Bytes(input_bytes(network, options.memory, workspace));
    finish(rest, cost);
    return cost;
  }

  void finish(const Network& rest, PatchCost& cost) {
    MemoryOptions after = options.memory;
    after.count_input = true;  // the split's output lies in the arena in any case
    cost.rest_peak = peak_memory(rest, after, workspace).bytes;
    cost.macs += nas::macs(rest);
    cost.peak = std::max(cost.patch_peak, cost.rest_peak);
  }
};

bool better(const PatchCost& a, const PatchCost& b) {
  return a.macs != b.macs ? a.macs < b.macs : a.peak < b.peak;
}

}  // namespace

std::vector<std::int32_t> patch_splits(const Network& network) {
  const auto n = static_cast<std::int32_t>(network.layers.size());
  std::vector<std::int32_t> last_reader(at(n), -1);
  for (std::int32_t i = 0; i < n; ++i)
    for (const std::int32_t from : network.layers[at(i)].inputs)
      if (from >= 0) last_reader[at(from)] = i;
  // A batch norm or activation that can still be fused belongs to its convolution: no split between them.
  const auto fused_next = [&](std::int32_t i) {
    if (i + 1 >= n) return false;
    const LayerKind next = network.layers[at(i + 1)].kind;
    return (next == LayerKind::batch_norm || next == LayerKind::activation) &&
           network.layers[at(i + 1)].inputs[0] == i;
  };
  std::vector<std::int32_t> splits;
  std::int32_t open = -1;  // the last reader of anything before i
  for (std::int32_t i = 0; i + 1 < n && patchable(network.layers[at(i)]); ++i) {
    if (i > 0 && open <= i && !fused_next(i) && last_reader[at(i)] > i) splits.push_back(i);
    open = std::max(open, last_reader[at(i)]);
  }
  return splits;
}

Result<PatchCost> patch_cost(const Network& network, const PatchPlan& plan, const PatchOptions& options) {
  NAS_CHECK(check(network, plan));
  Evaluator evaluator{network, options, nas::macs(network), {}};
  return evaluator.patched(plan);
}

Network patch_network(const Network& network, const PatchPlan& plan, std::int32_t row, std::int32_t column) {
  const Shape& out = network.layers[at(plan.split)].out;
  return cropped(network, plan.split,
                 needed(network, plan.split, part(out.height, plan.grid, row), &Shape::height),
                 needed(network, plan.split, part(out.width, plan.grid, column), &Shape::width));
}

MemoryProgram patch_program(const Network& patch, const MemoryOptions& options) {
  MemoryWorkspace workspace;
  patch_peak(patch, options, workspace);
  return workspace.program;
}

Result<PatchCost> lowest_patch_plan(const Network& network, std::int32_t grid, const PatchOptions& options) {
  Evaluator evaluator{network, options, nas::macs(network), {}};
  std::optional<PatchCost> best;
  std::int32_t most = 0;
  for (const std::int32_t split : patch_splits(network)) {
    const Shape& out = network.layers[at(split)].out;
    most = std::max(most, std::min(out.height, out.width));
    if (grid < 1 || grid > std::min(out.height, out.width)) continue;
    const PatchCost cost = evaluator.patched({split, grid});
    if (!best || cost.peak < best->peak || (cost.peak == best->peak && cost.macs < best->macs)) best = cost;
  }
  if (best) return *best;
  return usage_error(most == 0 ? "patches: this network has no layer that can end a patch stage"
                               : "patches: the grid must be 1 to " + std::to_string(most) + ", found " +
                                     std::to_string(grid));
}

Result<PatchCost> best_patch_plan(const Network& network, Bytes ram, const PatchSearch& search) {
  Evaluator evaluator{network, search.options, nas::macs(network), {}};
  PatchCost best = evaluator.whole();
  Bytes lowest = best.peak;
  bool found = best.peak <= ram;
  for (const std::int32_t split : patch_splits(network)) {
    const Shape& out = network.layers[at(split)].out;
    const std::int32_t most = std::min({search.max_grid, out.height, out.width});
    for (std::int32_t grid = 2; grid <= most; ++grid) {
      const PatchCost cost = evaluator.patched({split, grid});
      lowest = std::min(lowest, cost.peak);
      if (cost.peak > ram || (found && !better(cost, best))) continue;
      best = cost;
      found = true;
    }
  }
  if (found) return best;
  return Error{"patches: no split and grid up to " + std::to_string(search.max_grid) + " needs at most " +
                   to_string(ram) + "; the lowest peak reached is " + to_string(lowest),
               "", ErrorKind::infeasible};
}

}  // namespace nas
