#include "devices/kernel_writer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "devices/codegen/generate.h"
#include "devices/drawn_weights.h"
#include "space/base/hash.h"
#include "space/base/rng.h"
#include "space/integer_codes.h"

namespace nas::devices {
namespace {

using codegen::KernelKind;
using codegen::KernelSpec;

// One generated function: reads the first input from `from` (an index of a step, -1: the kernel's input),
// adds or multiplies by `second` where it has two.
struct Step {
  KernelSpec spec;
  int from = -1;
  int second = -2;  // -2: none
};

// Bits of the anchor's integer weights: 8 where nothing chose them.
std::int32_t weight_bits(const Kernel& kernel) {
  return kernel.anchor.weight_bits == 0 ? 8 : kernel.anchor.weight_bits;
}

Error no_code(const Kernel& kernel) {
  return usage_error("engine c has no code for this kernel: " + signature(kernel));
}

KernelSpec base_spec(KernelKind kind, const Kernel& kernel, const std::string& precision) {
  KernelSpec spec;
  spec.kind = kind;
  spec.precision = precision == "int8" ? codegen::Precision::int8 : codegen::Precision::fp32;
  spec.input = kernel.anchor.in;
  spec.activation = kernel.activation;
  if (spec.precision == codegen::Precision::int8 && has_weights(kernel.anchor))
    spec.weight_bits = weight_bits(kernel);
  // As whole networks run it: such a kernel's input dies with it.
  spec.in_place =
      spec.precision == codegen::Precision::int8 &&
      (kind == KernelKind::lookup || kind == KernelKind::scale_channels || kind == KernelKind::add);
  return spec;
}

Result<std::vector<Step>> convolution(const Kernel& kernel, const std::string& precision) {
  const Layer& layer = kernel.anchor;
  const bool depthwise = is_depthwise(layer) && layer.in.channels == layer.out.channels;
  if (!depthwise && layer.groups != 1) return no_code(kernel);
  if (kernel.add) return no_code(kernel);
  KernelSpec spec = base_spec(depthwise ? KernelKind::depthwise : KernelKind::conv, kernel, precision);
  spec.out_channels = layer.out.channels;
  spec.kernel = layer.kernel;
  spec.stride = layer.stride;
  spec.padding = layer.padding;
  spec.in_place = depthwise && layer.stride == 1 && spec.precision == codegen::Precision::int8;
  return std::vector<Step>{{spec}};
}

Result<std::vector<Step>> linear(const Kernel& kernel, const std::string& precision) {
  const Layer& layer = kernel.anchor;
  const bool positions = layer.in.height * layer.in.width > 1;
  KernelSpec spec = base_spec(positions ? KernelKind::conv : KernelKind::fully_connected, kernel, precision);
  spec.out_channels = layer.out.channels;
  return std::vector<Step>{{spec}};
}

Result<std::vector<Step>> pool(const Kernel& kernel, const std::string& precision) {
  const Layer& layer = kernel.anchor;
  KernelSpec spec = base_spec(
      layer.kind == LayerKind::max_pool ? KernelKind::max_pool : KernelKind::average_pool, kernel, precision);
  spec.kernel = layer.kind == LayerKind::global_pool ? 0 : layer.kernel;
  spec.stride = layer.kind == LayerKind::global_pool ? 1 : layer.stride;
  spec.padding = layer.padding;
  NAS_TRY(out, codegen::output_shape(spec));
  if (out.height != layer.out.height || out.width != layer.out.width) return no_code(kernel);  // ceil mode
  return std::vector<Step>{{spec}};
}

Result<std::vector<Step>> squeeze_excite(const Kernel& kernel, const std::string& precision) {
  const Layer& layer = kernel.anchor;
  Kernel plain = kernel;
  plain.activation = Activation::none;
  KernelSpec average = base_spec(KernelKind::average_pool, plain, precision);
  average.kernel = 0;
  KernelSpec reduce = base_spec(KernelKind::fully_connected, plain, precision);
  reduce.input = {layer.in.channels, 1, 1};
  reduce.out_channels = layer.hidden;
  reduce.activation = Activation::relu;
  KernelSpec expand = base_spec(KernelKind::fully_connected, plain, precision);
  expand.input = {layer.hidden, 1, 1};
  expand.out_channels = layer.in.channels;
  expand.activation = layer.activation;
  KernelSpec scale = base_spec(KernelKind::scale_channels, kernel, precision);
  return std::vector<Step>{{average}, {reduce, 0}, {expand, 1}, {scale, -1, 2}};
}

Result<void> check_bits(const Kernel& kernel, const std::string& precision) {
  const std::int32_t weights = weight_bits(kernel), results = kernel.anchor.activation_bits;
  if (precision != "int8" || !has_weights(kernel.anchor)) return {};
  if (weights != 8 && weights != 4 && weights != 2)
    return usage_error("engine c has no kernel for weights of " + std::to_string(weights) +
                       " bits, it has for 8, 4 and 2: " + signature(kernel));
  if (results != 0 && results != 8 && results != 4)
    return usage_error("engine c has no kernel for activations of " + std::to_string(results) +
                       " bits, it has for 8 and 4: " + signature(kernel));
  return {};
}

Result<std::vector<Step>> steps_of(const Kernel& kernel, const std::string& precision) {
  NAS_CHECK(check_bits(kernel, precision));
  switch (kernel.anchor.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed:
      return convolution(kernel, precision);
    case LayerKind::linear:
      return linear(kernel, precision);
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
    case LayerKind::global_pool:
      return pool(kernel, precision);
    case LayerKind::squeeze_excite:
      return squeeze_excite(kernel, precision);
    case LayerKind::add:
      return std::vector<Step>{{base_spec(KernelKind::add, kernel, precision), -1, -1}};
    case LayerKind::activation: {
      KernelSpec spec = base_spec(KernelKind::lookup, kernel, precision);
      spec.activation = kernel.anchor.activation;
      return std::vector<Step>{{spec}};
    }
    default:
      return no_code(kernel);
  }
}

bool fits_a_clamp(Activation activation) {
  return activation == Activation::none || activation == Activation::relu || activation == Activation::relu6;
}

std::int64_t weight_count(const KernelSpec& spec) {
  const std::int64_t window = std::int64_t{spec.kernel} * spec.kernel;
  switch (spec.kind) {
    case KernelKind::conv:
      return window * spec.input.channels * spec.out_channels;
    case KernelKind::depthwise:
      return window * spec.input.channels;
    case KernelKind::fully_connected:
      return spec.input.elements() * spec.out_channels;
    default:
      return 0;
  }
}

std::int64_t output_channels(const KernelSpec& spec) {
  return spec.kind == KernelKind::conv || spec.kind == KernelKind::fully_connected ? spec.out_channels
                                                                                   : spec.input.channels;
}

Result<codegen::Int8Params> draw_int8(const KernelSpec& spec, Rng& rng) {
  codegen::Int8Params params;
  const std::int64_t weights = weight_count(spec);
  const std::int64_t channels = weights > 0 ? output_channels(spec) : 0;
  const double terms = channels > 0 ? static_cast<double>(weights) / static_cast<double>(channels) : 1;
  const DrawnWeights drawn = draw_weights(rng, channels, static_cast<std::int64_t>(terms),
                                          spec.kind == KernelKind::depthwise, largest_code(spec.weight_bits));
  params.weights = drawn.values;
  params.input_zero = -3;
  params.second_zero = 2;
  params.output_zero = 5;
  // Scales that keep outputs inside the range for inputs drawn evenly (deviation 74).
  for (const double deviation : drawn.deviations) {
    params.bias.push_back(static_cast<std::int32_t>(rng.below(2001)) - 1000);
    NAS_TRY(multiplier,
            codegen::make_multiplier(rng.uniform(0.8, 1.2) * 40 / (74.0 * deviation * std::sqrt(terms))));
    params.multipliers.push_back(multiplier);
  }
  std::vector<double> extra;
  if (spec.kind == KernelKind::add) extra = {0.5, 0.45, 1.0 / (1 << 20)};
  if (spec.kind == KernelKind::scale_channels) extra = {1.0 / 200};
  for (const double real : extra) {
    NAS_TRY(multiplier, codegen::make_multiplier(real));
    params.multipliers.push_back(multiplier);
  }
  // As calibration leaves it: 0 is the grid's lowest value, and 6 (or the largest value seen) its highest, so
  // that saturating is all the clamp there is.
  if (spec.activation == Activation::relu || spec.activation == Activation::relu6) params.output_zero = -128;
  if (!fits_a_clamp(spec.activation) || spec.kind == KernelKind::lookup)
    params.table = codegen::activation_table(spec.activation, 0.05, 5, 0.05, -20);
  return params;
}

codegen::FloatParams draw_float(const KernelSpec& spec, Rng& rng) {
  codegen::FloatParams params;
  const std::int64_t weights = weight_count(spec);
  const std::int64_t channels = weights > 0 ? output_channels(spec) : 0;
  const double terms = channels > 0 ? static_cast<double>(weights) / static_cast<double>(channels) : 1;
  const auto scale = static_cast<float>(std::exp2(std::round(7 + std::log2(terms) / 2)));
  // Few significant bits keep the C text short.
  for (std::int64_t i = 0; i < weights; ++i)
    params.weights.push_back(static_cast<float>(static_cast<int>(rng.below(255)) - 127) / scale);
  for (std::int64_t i = 0; i < channels; ++i) params.bias.push_back(static_cast<float>(rng.below(64)) / 256);
  return params;
}

std::uint32_t aligned(std::int64_t bytes) { return static_cast<std::uint32_t>((bytes + 15) / 16 * 16); }

// Where tensors lie in the arena: input, second input, each step's output, scratch of the hungriest step.
struct Layout {
  std::uint32_t second = 0;
  std::vector<std::uint32_t> outputs;
  std::uint32_t scratch = 0;
  std::uint32_t end = 0;
};

Result<Layout> lay_out(const std::vector<Step>& steps, std::int64_t element) {
  Layout layout;
  const std::uint32_t input = aligned(steps.front().spec.input.elements() * element);
  layout.second = input;
  std::uint32_t at = input;
  if (steps.front().spec.kind == KernelKind::add) at += input;
  std::size_t scratch = 0;
  for (const Step& step : steps) {
    NAS_TRY(shape, codegen::output_shape(step.spec));
    if (step.spec.in_place) {
      layout.outputs.push_back(step.from < 0 ? 0 : layout.outputs[static_cast<std::size_t>(step.from)]);
    } else {
      layout.outputs.push_back(at);
      at += aligned(shape.elements() * element);
    }
    for (const codegen::Target target :
         {codegen::Target::portable, codegen::Target::dsp, codegen::Target::neon}) {
      NAS_TRY(bytes, codegen::scratch_bytes(step.spec, target));
      scratch = std::max(scratch, bytes);
    }
  }
  layout.scratch = at;
  layout.end = at + aligned(static_cast<std::int64_t>(scratch));
  return layout;
}

std::string at_offset(const std::string& type, std::uint32_t offset) {
  return "(" + type + "*)(void*)(arena + " + std::to_string(offset) + "u)";
}

}  // namespace

Result<KernelCode> write_kernel(const Kernel& kernel, const std::string& precision,
                                const std::string& function) {
  NAS_TRY(steps, steps_of(kernel, precision));
  const std::int64_t element = precision == "int8" ? 1 : 4;
  const std::string type = precision == "int8" ? "int8_t" : "float";
  NAS_TRY(layout, lay_out(steps, element));
  KernelCode code;
  code.signature = signature(kernel);
  code.function = function;
  code.source = codegen::generate_prelude();
  std::string body = "void " + function + "(uint8_t* arena);\nvoid " + function + "(uint8_t* arena) {\n";
  Rng rng(hash_text(code.signature).low, "profiled weights");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const std::string name = function + "_" + std::to_string(i);
    Result<std::string> text = std::string();
    if (precision == "int8") {
      NAS_TRY(params, draw_int8(step.spec, rng));
      text = codegen::generate_kernel(name, step.spec, params);
    } else {
      text = codegen::generate_kernel(name, step.spec, draw_float(step.spec, rng));
    }
    if (!text) return text.error();
    code.source += *text;
    const std::uint32_t from = step.from < 0 ? 0 : layout.outputs[static_cast<std::size_t>(step.from)];
    body += "  " + name + "(" + at_offset("const " + type, from);
    if (step.second != -2)
      body += ", " + at_offset("const " + type, step.second < 0
                                                    ? layout.second
                                                    : layout.outputs[static_cast<std::size_t>(step.second)]);
    body +=
        ", " + at_offset(type, layout.outputs[i]) + ", arena + " + std::to_string(layout.scratch) + "u);\n";
  }
  code.source += body + "}\n";
  NAS_TRY(out, codegen::output_shape(steps.back().spec));
  code.arena_bytes = std::max<std::uint32_t>(16, layout.end);
  code.input_bytes = steps.front().spec.kind == KernelKind::add
                         ? 2 * layout.second
                         : static_cast<std::uint32_t>(steps.front().spec.input.elements() * element);
  code.output_offset = layout.outputs.back();
  code.output_bytes = static_cast<std::uint32_t>(out.elements() * element);
  code.element_bytes = static_cast<int>(element);
  return code;
}

}  // namespace nas::devices
