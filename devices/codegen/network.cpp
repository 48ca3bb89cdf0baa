#include "devices/codegen/network.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "devices/codegen/layout.h"
#include "devices/codegen/reference.h"
#include "devices/codegen/tflite_tables.h"

namespace nas::devices::codegen {
namespace {

KernelKind kind_of(DeployedKind kind) {
  switch (kind) {
    case DeployedKind::conv:
      return KernelKind::conv;
    case DeployedKind::depthwise:
      return KernelKind::depthwise;
    case DeployedKind::fully_connected:
      return KernelKind::fully_connected;
    case DeployedKind::add:
      return KernelKind::add;
    case DeployedKind::scale_channels:
      return KernelKind::scale_channels;
    case DeployedKind::average_pool:
      return KernelKind::average_pool;
    case DeployedKind::max_pool:
      return KernelKind::max_pool;
    case DeployedKind::activation:
      break;
  }
  return KernelKind::lookup;
}

const Quantization& grid(const QuantizedNetwork& network, std::int32_t tensor) {
  return network.tensors[static_cast<std::size_t>(tensor)];
}

// The ends of the output's grid; relu and relu6 cut off more.
void set_clamp(Activation activation, const Quantization& out, Int8Params& params) {
  params.clamp_low = out.low();
  params.clamp_high = out.high();
  if (activation != Activation::relu && activation != Activation::relu6) return;
  params.clamp_low = std::max(out.low(), out.zero);
  if (activation == Activation::relu6)
    params.clamp_high =
        static_cast<std::int32_t>(std::min<double>(out.high(), out.zero + std::round(6 / out.scale)));
}

std::array<std::int8_t, 256> table_of(Activation activation, const Quantization& in, const Quantization& out,
                                      Rounding rounding) {
  if (rounding == Rounding::twice)
    if (const auto theirs = tflite_activation_table(activation, in, out)) return *theirs;
  auto table = activation_table(activation, in.scale, in.zero, out.scale, out.zero);
  for (std::int8_t& q : table)
    q = static_cast<std::int8_t>(std::clamp<std::int32_t>(q, out.low(), out.high()));
  return table;
}

Result<void> set_multipliers(const QuantizedNetwork& network, std::size_t index, const Quantization& result,
                             Rounding rounding, Int8Params& params) {
  const DeployedOp& op = network.deployment.ops[index];
  std::vector<double> reals;
  const double in = grid(network, op.inputs[0]).scale;
  if (op.kind == DeployedKind::add) {
    const double second = grid(network, op.inputs[1]).scale, t = 2 * std::max(in, second);
    reals = {in / t, second / t, t / (1048576.0 * result.scale)};
  } else if (op.kind == DeployedKind::scale_channels) {
    const double second = grid(network, op.inputs[1]).scale;
    reals = {in * second / result.scale};
    if (rounding == Rounding::twice)
      reals = {static_cast<float>(in) * static_cast<float>(second) / static_cast<float>(result.scale)};
  } else {
    for (const double w : network.weights[index].scales) reals.push_back(in * w / result.scale);
  }
  for (const double real : reals) {
    NAS_TRY(multiplier, make_multiplier(real));
    params.multipliers.push_back(multiplier);
  }
  return {};
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

// Every op's kernel, as far as possible in place; those of the patch stage on windows.
Result<std::vector<NamedKernel>> all_kernels(const QuantizedNetwork& network, const PatchGeometry* patches) {
  std::vector<NamedKernel> kernels;
  for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
    NAS_TRY(kernel, kernel_of(network, i));
    kernel.spec.in_place = can_run_in_place(network.deployment.ops[i]);
    if (patches != nullptr && i < patches->ops.size()) {
      kernel.spec.input = patches->ops[i].spec.input;
      kernel.spec.padding = patches->ops[i].spec.padding;
      kernel.spec.in_place = patches->ops[i].in_place;
    }
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

// The most scratch that any wanted target asks for.
Result<std::vector<std::int64_t>> scratch_of(const std::vector<NamedKernel>& kernels,
                                             const CodegenOptions& options) {
  std::vector<std::int64_t> scratch;
  for (const NamedKernel& kernel : kernels) {
    std::size_t most = 0;
    const std::pair<Target, bool> targets[] = {
        {Target::portable, options.portable}, {Target::dsp, options.dsp}, {Target::neon, options.neon}};
    for (const auto& [target, wanted] : targets) {
      if (!wanted) continue;
      NAS_TRY(bytes, scratch_bytes(kernel.spec, target, options));
      most = std::max(most, bytes);
    }
    scratch.push_back(static_cast<std::int64_t>(most));
  }
  return scratch;
}

std::int64_t constant_bytes(const NamedKernel& kernel) {
  const auto& params = std::get<Int8Params>(kernel.params);
  const std::int64_t weights =
      params.weights.empty() ? 0
                             : packed_row_bytes(kernel.spec) * static_cast<std::int64_t>(params.bias.size());
  return weights + static_cast<std::int64_t>(4 * params.bias.size() + 8 * params.multipliers.size() +
                                             (params.table ? 256 : 0));
}

// A network's kernels and where everything lies.
struct Planned {
  std::optional<PatchGeometry> patches;
  std::vector<NamedKernel> kernels;
  Layout layout;
  ArenaPlan arena;

  std::int64_t offset(std::int32_t step) const {
    return arena.tensors[static_cast<std::size_t>(step)].offset;
  }
  std::int64_t scratch(std::size_t op) const {
    return arena.scratch[static_cast<std::size_t>(layout.ops[op])].offset;
  }
  // The steps of the tensors that op reads and writes.
  const std::vector<std::int32_t>& steps_of(std::size_t op) const {
    return patches && op < patches->ops.size() ? layout.windows : layout.tensors;
  }
};

Result<Planned> plan_network(const QuantizedNetwork& network, const CodegenOptions& options,
                             const PatchStage& stage) {
  Planned p;
  if (stage.operations > 0) {
    NAS_TRY(geometry, patch_geometry(network.deployment, stage));
    p.patches = std::move(geometry);
  }
  const PatchGeometry* patches = p.patches ? &*p.patches : nullptr;
  NAS_TRY(kernels, all_kernels(network, patches));
  p.kernels = std::move(kernels);
  NAS_TRY(scratch, scratch_of(p.kernels, options));
  p.layout = layout_of(network.deployment, scratch, patches);
  p.arena = plan_arena(p.layout.program);
  for (std::size_t i = 0; i < p.kernels.size(); ++i) {
    const std::vector<std::int32_t>& steps = p.steps_of(i);
    const auto in = static_cast<std::size_t>(network.deployment.ops[i].inputs[0]);
    KernelSpec& spec = p.kernels[i].spec;
    spec.in_place = spec.in_place && p.offset(steps[in]) == p.offset(steps[i + 1]);
  }
  return p;
}

// Sizes per tensor and per op, as exports list them.
void describe(const QuantizedNetwork& network, const Planned& p, GeneratedNetwork& made) {
  made.arena_bytes = p.arena.size.count();
  made.arena_bound = p.arena.bound.count();
  if (p.patches) {
    made.patches = p.patches->stage;
    made.patch_macs = static_cast<double>(p.patches->macs) / static_cast<double>(p.patches->plain_macs);
  }
  made.places.push_back({p.offset(0), network.deployment.input.elements()});
  const std::vector<std::int64_t> alive = live_bytes(p.layout.program);
  for (std::size_t i = 0; i < p.kernels.size(); ++i) {
    const std::int32_t step = p.layout.tensors[i + 1];
    made.places.push_back(step < 0 ? TensorPlace{}
                                   : TensorPlace{p.offset(step), network.deployment.ops[i].out.elements()});
    made.op_weight_bytes.push_back(constant_bytes(p.kernels[i]));
    made.op_arena_bytes.push_back(alive[static_cast<std::size_t>(p.layout.ops[i])]);
    made.weight_bytes += made.op_weight_bytes.back();
    made.functions.push_back(p.kernels[i].name);
  }
}

std::string header_text(const QuantizedNetwork& network, const GeneratedNetwork& made) {
  const Shape in = network.deployment.input, out = network.deployment.ops.back().out;
  const auto define = [](const std::string& name, const std::string& value) {
    return "#define " + name + " " + value + "\n";
  };
  std::string h =
      "/* Written by hwnas. int8 network: real = scale * (q - zero). */\n#ifndef NET_H\n#define NET_H\n";
  h += "#include <stdint.h>\n\n";
  h += define("NET_ARENA_BYTES", std::to_string(made.arena_bytes));
  h += "/* Constants of the network; the code comes on top. */\n";
  h += define("NET_FLASH_BYTES", std::to_string(made.weight_bytes));
  h += define("NET_INPUT_HEIGHT", std::to_string(in.height)) +
       define("NET_INPUT_WIDTH", std::to_string(in.width)) +
       define("NET_INPUT_CHANNELS", std::to_string(in.channels));
  h += define("NET_INPUT_BYTES", std::to_string(in.elements())) +
       define("NET_OUTPUTS", std::to_string(out.elements()));
  h += define("NET_INPUT_SCALE", number(network.tensors.front().scale) + "f") +
       define("NET_INPUT_ZERO", "(" + std::to_string(network.tensors.front().zero) + ")");
  h += define("NET_OUTPUT_SCALE", number(network.tensors.back().scale) + "f") +
       define("NET_OUTPUT_ZERO", "(" + std::to_string(network.tensors.back().zero) + ")");
  h += "\n/* Define these to the board's sizes and the compiler refuses a network that does not fit. */\n";
  h += "#if defined(NET_MAX_ARENA_BYTES) && NET_ARENA_BYTES > NET_MAX_ARENA_BYTES\n"
       "#error \"the network's arena is larger than NET_MAX_ARENA_BYTES\"\n#endif\n";
  h += "#if defined(NET_MAX_FLASH_BYTES) && NET_FLASH_BYTES > NET_MAX_FLASH_BYTES\n"
       "#error \"the network's constants are larger than NET_MAX_FLASH_BYTES\"\n#endif\n\n";
  h += "/* `arena`: NET_ARENA_BYTES bytes, aligned to 16. Write the image (H, W, C order) to "
       "net_input(arena), call\n"
       "   net_run(arena), read NET_OUTPUTS values from net_output(arena). The input is overwritten. */\n";
  h += "int8_t *net_input(void *arena);\nvoid net_run(void *arena);\nconst int8_t *net_output(void "
       "*arena);\n\n#endif\n";
  return h;
}

std::string before(std::size_t op) { return "  NET_BEFORE(" + std::to_string(op) + ")\n"; }
std::string after(std::size_t op) { return "  NET_AFTER(" + std::to_string(op) + ")\n"; }

PatchPlaces patch_places(const Planned& p) {
  PatchPlaces places;
  for (const std::int32_t step : p.layout.windows) places.tensors.push_back(p.offset(step));
  for (std::size_t i = 0; i < p.patches->ops.size(); ++i) places.scratch.push_back(p.scratch(i));
  places.picture = p.offset(0);
  places.whole = p.offset(p.layout.tensors[p.patches->ops.size()]);
  return places;
}

std::string run_text(const QuantizedNetwork& network, const Planned& p) {
  const auto at = [&](std::int32_t tensor) {
    return "a + " + std::to_string(p.offset(p.layout.tensors[static_cast<std::size_t>(tensor)]));
  };
  std::string c =
      "\nint8_t *net_input(void *arena) { return (int8_t *)arena + " + std::to_string(p.offset(0)) + "; }\n";
  c += "const int8_t *net_output(void *arena) { return (const int8_t *)arena + " +
       std::to_string(p.offset(p.layout.tensors.back())) + "; }\n";
  c += "/* Define these to statements that run around every operation: timers, counters. */\n"
       "#ifndef NET_BEFORE\n#define NET_BEFORE(operation)\n#endif\n"
       "#ifndef NET_AFTER\n#define NET_AFTER(operation)\n#endif\n";
  std::size_t first = 0;
  if (p.patches) c += patch_text(network, *p.patches, patch_places(p));
  c += "void net_run(void *arena) {\n  int8_t *a = (int8_t *)arena;\n";
  if (p.patches) {
    first = p.patches->ops.size();
    for (std::size_t i = 0; i + 1 < first; ++i) c += before(i) + after(i);
    c += before(first - 1) + "  net_patches(a);\n" + after(first - 1);
  }
  for (std::size_t i = first; i < p.kernels.size(); ++i) {
    const DeployedOp& op = network.deployment.ops[i];
    c += before(i) + "  " + p.kernels[i].name + "(" + at(op.inputs[0]) + ", ";
    if (op.inputs[1] >= 0) c += at(op.inputs[1]) + ", ";
    c += at(static_cast<std::int32_t>(i) + 1) + ", a + " + std::to_string(p.scratch(i)) + ");\n" + after(i);
  }
  return c + "}\n";
}

// Why there is no stage: `most` bytes asked for, `lowest` the smallest arena in windows.
Error no_stage(std::int32_t grid, std::int64_t most, std::int64_t whole, std::int64_t lowest) {
  const std::string n = std::to_string(grid), windows = grid == 0 ? "windows" : n + " x " + n + " windows";
  if (lowest == std::numeric_limits<std::int64_t>::max())
    return usage_error("patches: no part of this network can run in " + windows);
  lowest = std::min(lowest, whole);
  return Error{"patches: nothing in " + windows + " needs at most " + std::to_string(most) +
                   " bytes; the smallest arena is " + std::to_string(lowest) + " bytes, " +
                   std::to_string(lowest - most) + " too many",
               "", ErrorKind::infeasible};
}

}  // namespace

Result<NamedKernel> kernel_of(const QuantizedNetwork& network, std::size_t index, Rounding rounding) {
  const DeployedOp& op = network.deployment.ops[index];
  const QuantizedWeights& weights = network.weights[index];
  const Quantization &out = network.tensors[index + 1], &before = network.before[index];
  NamedKernel kernel;
  kernel.name = "net_op" + std::to_string(index);
  kernel.spec.kind = kind_of(op.kind);
  kernel.spec.input = op.in;
  kernel.spec.out_channels = op.out.channels;
  kernel.spec.kernel = op.kernel;
  kernel.spec.stride = op.stride;
  kernel.spec.padding = op.padding;
  kernel.spec.activation = op.activation;
  if (op.part != DeployedPart::none) kernel.spec.weight_bits = op.weight_bits;
  Int8Params params;
  params.weights = weights.values;
  params.bias = weights.bias;
  params.input_zero = grid(network, op.inputs[0]).zero;
  if (op.inputs[1] >= 0) params.second_zero = grid(network, op.inputs[1]).zero;
  params.output_zero = before.zero;
  const bool pools = op.kind == DeployedKind::average_pool || op.kind == DeployedKind::max_pool;
  if (op.kind == DeployedKind::activation) {
    const Quantization& in = grid(network, op.inputs[0]);
    params.output_zero = 0;
    params.input_zero = 0;
    params.table = table_of(op.activation, in, out, rounding);
  } else if (!pools) {
    NAS_CHECK(set_multipliers(network, index, before, rounding, params));
    // A table looks up what is on the grid before it.
    set_clamp(op.activation, needs_table(op.activation) ? before : out, params);
    if (needs_table(op.activation)) params.table = table_of(op.activation, before, out, rounding);
  }
  kernel.params = std::move(params);
  return kernel;
}

Result<GeneratedNetwork> generate_network(const QuantizedNetwork& network, const CodegenOptions& options,
                                          const PatchStage& patches) {
  NAS_TRY(planned, plan_network(network, options, patches));
  GeneratedNetwork made;
  NAS_TRY(kernels_text, generate_source(planned.kernels, options));
  describe(network, planned, made);
  made.header = header_text(network, made);
  made.source = "#include \"net.h\"\n" + kernels_text + run_text(network, planned);
  return made;
}

Result<std::int64_t> planned_arena(const QuantizedNetwork& network, const CodegenOptions& options,
                                   const PatchStage& stage) {
  const auto planned = plan_network(network, options, stage);
  if (!planned) return planned.error();
  return planned->arena.size.count();
}

Result<PatchStage> choose_patches(const QuantizedNetwork& network, const CodegenOptions& options,
                                  std::int32_t grid, std::optional<std::int64_t> ram) {
  NAS_TRY(whole, planned_arena(network, options, {}));
  if (grid == 0 && ram && whole <= *ram) return PatchStage{};
  const std::int64_t most = ram ? std::min(*ram, whole - 1) : std::numeric_limits<std::int64_t>::max();
  std::int64_t lowest = std::numeric_limits<std::int64_t>::max(), best_arena = 0;
  std::optional<PatchCandidate> best;
  for (const PatchCandidate& c : patch_candidates(network.deployment, grid)) {
    if (ram && best && c.extra_macs > best->extra_macs) break;  // all that follow cost more
    NAS_TRY(arena, planned_arena(network, options, c.stage));
    lowest = std::min(lowest, arena);
    if (arena > most || (best && arena >= best_arena)) continue;
    best = c;
    best_arena = arena;
  }
  if (best) return best->stage;
  return no_stage(grid, most, whole, lowest);
}

Result<std::vector<std::int8_t>> run_reference(const QuantizedNetwork& network,
                                               std::span<const std::int8_t> input, Rounding rounding,
                                               const Int8Observer& observe) {
  std::vector<std::vector<std::int8_t>> tensors{{input.begin(), input.end()}};
  if (observe) observe(0, tensors[0]);
  static const std::vector<std::int8_t> kNothing;
  for (std::size_t i = 0; i < network.deployment.ops.size(); ++i) {
    const DeployedOp& op = network.deployment.ops[i];
    NAS_TRY(kernel, kernel_of(network, i, rounding));
    const auto& params = std::get<Int8Params>(kernel.params);
    NAS_CHECK(check(kernel.spec, params));
    const auto& second = op.inputs[1] >= 0 ? tensors[static_cast<std::size_t>(op.inputs[1])] : kNothing;
    tensors.push_back(run_reference(kernel.spec, params, tensors[static_cast<std::size_t>(op.inputs[0])],
                                    second, rounding));
    if (observe) observe(i + 1, tensors.back());
  }
  return std::move(tensors.back());
}

}  // namespace nas::devices::codegen
