#include "devices/codegen/patches.h"

#include <algorithm>
#include <utility>

#include "devices/codegen/text.h"

namespace nas::devices::codegen {
namespace {

std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

bool is_window(const DeployedOp& op) {
  return op.kind == DeployedKind::conv || op.kind == DeployedKind::depthwise;
}

bool patchable(const DeployedOp& op) {
  return is_window(op) || op.kind == DeployedKind::add || op.kind == DeployedKind::activation;
}

std::size_t last_reader(const Deployment& d, std::size_t tensor) {
  std::size_t last = 0;
  for (std::size_t i = 0; i < d.ops.size(); ++i)
    for (const std::int32_t t : d.ops[i].inputs)
      if (t >= 0 && at(t) == tensor) last = i;
  return last;
}

// What an operation takes of its input for a span of its output.
PatchSpan taken(const DeployedOp& op, const PatchSpan& out) {
  if (!is_window(op)) return out;
  return {out.stride * op.stride, out.before * op.stride + op.padding,
          (out.length - 1) * op.stride + op.kernel};
}

// False where the two lie on different raster.
bool cover(PatchSpan& all, const PatchSpan& one) {
  if (all.length == 0) {
    all = one;
    return true;
  }
  const std::int32_t end = std::max(all.length - all.before, one.length - one.before);
  all.before = std::max(all.before, one.before);
  all.length = all.before + end;
  return all.stride == one.stride;
}

bool same(const PatchTensor& a, const PatchTensor& b) {
  return a.rows.before == b.rows.before && a.rows.length == b.rows.length &&
         a.columns.before == b.columns.before && a.columns.length == b.columns.length;
}

std::int64_t macs_of(const DeployedOp& op, std::int64_t positions) {
  if (!is_window(op)) return 0;
  const std::int64_t inputs = op.kind == DeployedKind::depthwise ? 1 : op.in.channels;
  return positions * op.out.channels * op.kernel * op.kernel * inputs;
}

// Every operation's kernel. False where a tensor would have to be cropped before its last reader.
bool make_ops(const Deployment& d, PatchGeometry& g) {
  const auto windows = [](std::int32_t extent, std::int32_t size) { return (extent + size - 1) / size; };
  const Shape whole = d.ops[g.stage.operations - 1].out;
  const std::int64_t count = std::int64_t{windows(whole.height, g.rows)} * windows(whole.width, g.columns);
  for (std::size_t i = 0; i < g.stage.operations; ++i) {
    const DeployedOp& op = d.ops[i];
    const PatchTensor& out = g.tensors[i + 1];
    PatchOp made;
    made.input = {taken(op, out.rows), taken(op, out.columns), false};
    for (std::size_t k = 0; k < 2; ++k) {
      if (op.inputs[k] < 0) continue;
      made.crops[k] = !same(g.tensors[at(op.inputs[k])], made.input);
      if (made.crops[k] && last_reader(d, at(op.inputs[k])) != i) return false;
    }
    const bool dies = op.inputs[0] > 0 && last_reader(d, at(op.inputs[0])) == i;
    made.in_place = can_run_in_place(op) && dies;
    const bool keeps = made.in_place && is_window(op);  // then its rim is computed and cut off
    made.spec.input = {op.in.channels, made.input.rows.length, made.input.columns.length};
    made.spec.padding = keeps ? op.padding : 0;
    made.out_rows = keeps ? made.input.rows.length : out.rows.length;
    made.out_columns = keeps ? made.input.columns.length : out.columns.length;
    g.macs += count * macs_of(op, std::int64_t{made.out_rows} * made.out_columns);
    g.plain_macs += macs_of(op, std::int64_t{op.out.height} * op.out.width);
    g.ops.push_back(made);
  }
  return true;
}

std::optional<PatchGeometry> geometry_of(const Deployment& d, const PatchStage& stage) {
  PatchGeometry g;
  g.stage = stage;
  const Shape whole = d.ops[stage.operations - 1].out;
  g.rows = (whole.height + stage.grid - 1) / stage.grid;
  g.columns = (whole.width + stage.grid - 1) / stage.grid;
  g.tensors.resize(stage.operations + 1);
  g.tensors.back().rows = {1, 0, g.rows};
  g.tensors.back().columns = {1, 0, g.columns};
  for (std::size_t i = stage.operations; i-- > 0;) {
    const DeployedOp& op = d.ops[i];
    if (!patchable(op) || g.tensors[i + 1].rows.length == 0) return std::nullopt;
    for (const std::int32_t t : op.inputs) {
      if (t < 0) continue;
      PatchTensor& in = g.tensors[at(t)];
      if (!cover(in.rows, taken(op, g.tensors[i + 1].rows)) ||
          !cover(in.columns, taken(op, g.tensors[i + 1].columns)))
        return std::nullopt;
      in.padded_reader = in.padded_reader || (is_window(op) && op.padding > 0);
    }
  }
  if (!make_ops(d, g)) return std::nullopt;
  return g;
}

constexpr const char* kHelpers = R"(
/* The part of a picture (h x w x c) that a window shows; outside of the picture it is zero. */
static void net_window(const int8_t *picture, int32_t h, int32_t w, int32_t c, int32_t top, int32_t left,
                       int8_t *to, int32_t rows, int32_t columns, int32_t zero) {
  const int32_t x0 = left < 0 ? -left : 0, x1 = left + columns > w ? w - left : columns;
  int32_t y;
  for (y = top; y < top + rows; ++y, to += columns * c) {
    if (y < 0 || y >= h || x1 <= x0) {
      memset(to, zero, (uint32_t)(columns * c));
      continue;
    }
    memset(to, zero, (uint32_t)(x0 * c));
    memcpy(to + x0 * c, picture + (y * w + left + x0) * c, (uint32_t)((x1 - x0) * c));
    memset(to + x1 * c, zero, (uint32_t)((columns - x1) * c));
  }
}
/* What of a window lies outside of the picture becomes zero. */
static NAS_UNUSED void net_outside(int8_t *t, int32_t h, int32_t w, int32_t c, int32_t top, int32_t left, int32_t rows,
                        int32_t columns, int32_t zero) {
  const int32_t x0 = left < 0 ? -left : 0, x1 = left + columns > w ? w - left : columns;
  int32_t y;
  if (top >= 0 && top + rows <= h && x0 == 0 && x1 == columns) return;
  for (y = top; y < top + rows; ++y, t += columns * c) {
    if (y < 0 || y >= h || x1 <= x0) {
      memset(t, zero, (uint32_t)(columns * c));
      continue;
    }
    memset(t, zero, (uint32_t)(x0 * c));
    memset(t + x1 * c, zero, (uint32_t)((columns - x1) * c));
  }
}
/* rows x columns of a tensor of `width` columns move to its start. */
static NAS_UNUSED void net_crop(int8_t *t, int32_t width, int32_t c, int32_t top, int32_t left, int32_t rows,
                                int32_t columns) {
  int32_t y;
  for (y = 0; y < rows; ++y)
    memmove(t + y * columns * c, t + ((top + y) * width + left) * c, (uint32_t)(columns * c));
}
static void net_place(const int8_t *from, int32_t rows, int32_t columns, int32_t c, int8_t *whole, int32_t w,
                      int32_t top, int32_t left) {
  int32_t y;
  for (y = 0; y < rows; ++y)
    memcpy(whole + ((top + y) * w + left) * c, from + y * columns * c, (uint32_t)(columns * c));
}
)";

std::string list(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t n : numbers) text += ", " + std::to_string(n);
  return text;
}

std::string start_of(const PatchTensor& t) {
  return ", y * " + std::to_string(t.rows.stride) + " - " + std::to_string(t.rows.before) + ", x * " +
         std::to_string(t.columns.stride) + " - " + std::to_string(t.columns.before);
}

std::string crop_text(const std::string& tensor, std::int32_t width, std::int32_t channels, std::int32_t top,
                      std::int32_t left, std::int32_t rows, std::int32_t columns) {
  return "  net_crop(" + tensor + list({width, channels, top, left, rows, columns}) + ");\n";
}

std::string op_text(const QuantizedNetwork& network, const PatchGeometry& g, const PatchPlaces& places,
                    std::size_t i) {
  const DeployedOp& op = network.deployment.ops[i];
  const PatchOp& made = g.ops[i];
  const PatchTensor& out = g.tensors[i + 1];
  const auto place = [&](std::size_t t) { return "a + " + std::to_string(places.tensors[t]); };
  std::string text, inputs;
  for (std::size_t k = 0; k < 2; ++k) {
    if (op.inputs[k] < 0) continue;
    const std::size_t t = at(op.inputs[k]);
    const PatchTensor& has = g.tensors[t];
    if (made.crops[k])
      text += crop_text(
          place(t), has.columns.length, op.in.channels, has.rows.before - made.input.rows.before,
          has.columns.before - made.input.columns.before, made.input.rows.length, made.input.columns.length);
    inputs += place(t) + ", ";
  }
  text += "  net_op" + std::to_string(i) + "(" + inputs + place(i + 1) + ", a + " +
          std::to_string(places.scratch[i]) + ");\n";
  if (made.out_rows != out.rows.length || made.out_columns != out.columns.length)
    text += crop_text(place(i + 1), made.out_columns, op.out.channels, op.padding, op.padding,
                      out.rows.length, out.columns.length);
  if (out.padded_reader)
    text += "  net_outside(" + place(i + 1) + list({op.out.height, op.out.width, op.out.channels}) +
            start_of(out) + list({out.rows.length, out.columns.length, network.tensors[i + 1].zero}) + ");\n";
  return text;
}

}  // namespace

std::vector<std::size_t> patch_stages(const Deployment& d) {
  std::vector<std::size_t> stages;
  std::size_t open = 0;  // the last reader of any tensor before the result
  for (std::size_t n = 1; n < d.ops.size() && patchable(d.ops[n - 1]); ++n) {
    open = std::max(open, last_reader(d, n - 1));
    if (open < n && geometry_of(d, {n, 1})) stages.push_back(n);
  }
  return stages;
}

Result<PatchGeometry> patch_geometry(const Deployment& d, const PatchStage& stage) {
  const std::vector<std::size_t> stages = patch_stages(d);
  if (!std::binary_search(stages.begin(), stages.end(), stage.operations))
    return usage_error("patches: the first " + std::to_string(stage.operations) +
                       " operations cannot run in patches");
  const Shape whole = d.ops[stage.operations - 1].out;
  const std::int32_t most = std::min(whole.height, whole.width);
  if (stage.grid < 1 || stage.grid > most)
    return usage_error("patches: the grid must be 1 to " + std::to_string(most) + ", found " +
                       std::to_string(stage.grid));
  if (auto geometry = geometry_of(d, stage)) return std::move(*geometry);
  return usage_error("patches: the windows of this grid do not fit each other");
}

std::vector<PatchCandidate> patch_candidates(const Deployment& d, std::int32_t grid) {
  std::vector<PatchCandidate> all;
  for (const std::size_t n : patch_stages(d)) {
    const Shape& out = d.ops[n - 1].out;
    const std::int32_t most = std::min(out.height, out.width);
    std::pair<std::int32_t, std::int32_t> size{0, 0};  // of a window: many grids have the same
    for (std::int32_t g = grid == 0 ? 2 : grid; g <= (grid == 0 ? most : std::min(grid, most)); ++g) {
      const auto geometry = geometry_of(d, {n, g});
      if (!geometry || size == std::pair(geometry->rows, geometry->columns)) continue;
      size = {geometry->rows, geometry->columns};
      all.push_back({{n, g}, geometry->macs - geometry->plain_macs});
    }
  }
  std::ranges::stable_sort(all, {}, &PatchCandidate::extra_macs);
  return all;
}

std::int64_t window_bytes(const PatchGeometry& g, const Deployment& d, std::size_t tensor) {
  const PatchTensor& t = g.tensors[tensor];
  if (tensor == 0) return std::int64_t{t.rows.length} * t.columns.length * d.input.channels;
  const PatchOp& op = g.ops[tensor - 1];
  return std::int64_t{op.out_rows} * op.out_columns * d.ops[tensor - 1].out.channels;
}

std::string patch_text(const QuantizedNetwork& network, const PatchGeometry& g, const PatchPlaces& places) {
  const Deployment& d = network.deployment;
  const Shape in = d.input, out = d.ops[g.stage.operations - 1].out;
  std::string c = kHelpers;
  c +=
      "/* One window of the stage's result, from row y and column x on. */\nstatic void net_patch(int8_t *a, "
      "int32_t y, int32_t x) {\n";
  c += "  net_window(a + " + std::to_string(places.picture) + list({in.height, in.width, in.channels}) +
       start_of(g.tensors[0]) + ", a + " + std::to_string(places.tensors[0]) +
       list({g.tensors[0].rows.length, g.tensors[0].columns.length, network.tensors[0].zero}) + ");\n";
  for (std::size_t i = 0; i < g.stage.operations; ++i) c += op_text(network, g, places, i);
  c += "  net_place(a + " + std::to_string(places.tensors.back()) + list({g.rows, g.columns, out.channels}) +
       ", a + " + std::to_string(places.whole) + list({out.width}) + ", y, x);\n}\n";
  const auto steps = [](const char* v, std::int32_t extent, std::int32_t size) {
    const std::string s = std::to_string(size);
    return std::string(v) + " < " + std::to_string(extent) + "; " + v + " += " + s;
  };
  const auto start = [](const char* v, std::int32_t extent, std::int32_t size) {
    const std::string last = std::to_string(extent - size);
    return std::string(v) + " < " + last + " ? " + v + " : " + last;
  };
  c += "static void net_patches(int8_t *a) {\n  int32_t y, x;\n  for (y = 0; " +
       steps("y", out.height, g.rows) + ")\n    for (x = 0; " + steps("x", out.width, g.columns) +
       ")\n      net_patch(a, " + start("y", out.height, g.rows) + ", " + start("x", out.width, g.columns) +
       ");\n}\n";
  return c;
}

}  // namespace nas::devices::codegen
