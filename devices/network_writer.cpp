#include "devices/network_writer.h"

#include <algorithm>
#include <cmath>

#include "devices/codegen/network.h"
#include "devices/drawn_weights.h"
#include "space/base/hash.h"
#include "space/base/rng.h"

namespace nas::devices {
namespace {

// Grids as calibration leaves them: 0 at the bottom after a ReLU, near the middle elsewhere.
Quantization grid_after(Activation activation) {
  const bool positive = activation == Activation::relu || activation == Activation::relu6 ||
                        activation == Activation::hard_sigmoid || activation == Activation::sigmoid;
  if (activation == Activation::relu6) return {6.0 / 255, -128};
  return {0.03, positive ? -128 : 3};
}

// Weights spread evenly with scales that keep the result inside its grid.
QuantizedWeights weights_for(const DeployedOp& op, double input_scale, double output_scale, Rng& rng) {
  QuantizedWeights weights;
  const std::int64_t terms = weights_per_channel(op);
  if (terms == 0) return weights;
  const DrawnWeights drawn = draw_weights(rng, op.out.channels, terms, op.kind == DeployedKind::depthwise,
                                          (1 << (std::min<int>(op.weight_bits, 8) - 1)) - 1);
  weights.values = drawn.values;
  for (const double deviation : drawn.deviations) {
    const double multiplier =
        rng.uniform(0.8, 1.2) * 40 / (74.0 * deviation * std::sqrt(static_cast<double>(terms)));
    weights.scales.push_back(multiplier * output_scale / input_scale);
    weights.bias.push_back(static_cast<std::int32_t>(rng.below(2001)) - 1000);
  }
  return weights;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

QuantizedNetwork drawn_numbers(Deployment deployment, const std::string& name) {
  Rng rng(hash_text(name).low, "profiled weights");
  QuantizedNetwork q;
  q.deployment = std::move(deployment);
  q.tensors.push_back({0.02, -4});
  for (const DeployedOp& op : q.deployment.ops) {
    const Quantization in = q.tensors[static_cast<std::size_t>(op.inputs[0])];
    const bool keeps = op.kind == DeployedKind::average_pool || op.kind == DeployedKind::max_pool;
    const Quantization out = keeps ? in : grid_after(op.activation);
    const Quantization before = needs_table(op.activation) ? Quantization{0.03, 3} : out;
    q.weights.push_back(weights_for(op, in.scale, before.scale, rng));
    q.tensors.push_back(out);
    q.before.push_back(before);
  }
  return q;
}

Result<KernelCode> write_network(const Network& network, const std::string& name,
                                 const std::string& function) {
  NAS_TRY(deployment, deploy(network));
  const std::int64_t input = deployment.input.elements(), output = deployment.ops.back().out.elements();
  const QuantizedNetwork quantized = drawn_numbers(std::move(deployment), name);
  NAS_TRY(made, codegen::generate_network(quantized));
  KernelCode code;
  code.signature = name;
  code.function = function;
  code.source = made.source;
  replace_all(code.source, "#include \"net.h\"\n",
              "#include <stdint.h>\nint8_t *net_input(void *arena);\nvoid "
              "net_run(void *arena);\nconst int8_t *net_output(void *arena);\n");
  replace_all(code.source, "net_", function + "_");
  code.source += "void " + function + "(uint8_t *arena);\nvoid " + function + "(uint8_t *arena) { " +
                 function + "_run(arena); }\n";
  code.arena_bytes = static_cast<std::uint32_t>(std::max<std::int64_t>(16, made.arena_bytes));
  code.input_bytes = static_cast<std::uint32_t>(input);
  code.output_bytes = static_cast<std::uint32_t>(output);
  return code;
}

}  // namespace nas::devices
