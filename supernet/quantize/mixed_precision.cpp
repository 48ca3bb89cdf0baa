#include "supernet/quantize/mixed_precision.h"

#include <algorithm>

#include "space/cost.h"
#include "supernet/quantize/budget.h"
#include "supernet/quantize/quantize.h"
#include "supernet/quantize/simulation.h"

namespace nas::supernet {
namespace {

constexpr Precision kInt8{8, 8};

bool has_integer_weights(const Layer& l) { return has_weights(l) && l.kind != LayerKind::batch_norm; }

// The weights of an operation rounded to `bits`, as real numbers.
FoldedWeights rounded(DeployedOp op, const FoldedWeights& weights, std::int32_t bits) {
  op.weight_bits = static_cast<std::uint8_t>(bits);
  FoldedWeights real = weights;
  real.values = real_values(op, quantize_weights(op, weights, 1), 1).values;
  return real;
}

Result<void> check_name(const Network& network, const std::string& name) {
  for (const Layer& l : network.layers)
    if (has_integer_weights(l) && layer_name(l).starts_with(name)) return {};
  return usage_error("no layer with weights is called \"" + name + "\"");
}

}  // namespace

BitSensitivity bit_sensitivity(const FoldedNetwork& folded, std::span<const std::vector<float>> images,
                               std::vector<std::int32_t> bits) {
  BitSensitivity found{{}, std::move(bits), {}};
  const std::vector<DeployedOp>& ops = folded.deployment.ops;
  FloatExecutor executor(folded);
  const auto exact = outputs(executor, images);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::int32_t layer = ops[i].layer;
    if (ops[i].part == DeployedPart::none || std::ranges::find(found.layers, layer) != found.layers.end())
      continue;
    found.layers.push_back(layer);
    found.error.emplace_back();
    for (const std::int32_t b : found.bits) {
      for (std::size_t k = i; k < ops.size(); ++k)
        if (ops[k].layer == layer && ops[k].part != DeployedPart::none)
          executor.set_weights(k, rounded(ops[k], folded.weights[k], b));
      found.error.back().push_back(relative_error(exact, outputs(executor, images)));
    }
    for (std::size_t k = i; k < ops.size(); ++k)
      if (ops[k].layer == layer && ops[k].part != DeployedPart::none)
        executor.set_weights(k, folded.weights[k]);
  }
  return found;
}

Result<Network> mixed_precision(Network network, const BitSensitivity& sensitivity, Bytes limit) {
  std::vector<std::vector<Option>> items;
  for (std::size_t i = 0; i < sensitivity.layers.size(); ++i) {
    const auto index = static_cast<std::size_t>(sensitivity.layers[i]);
    items.emplace_back();
    for (std::size_t b = 0; b < sensitivity.bits.size(); ++b) {
      network.layers[index].weight_bits = static_cast<std::uint8_t>(sensitivity.bits[b]);
      items.back().push_back(
          {static_cast<double>(weight_bytes(network, index, kInt8).count()), sensitivity.error[i][b]});
    }
  }
  std::int64_t others = weight_bytes(network, kInt8).count();
  for (const auto& options : items) others -= static_cast<std::int64_t>(options.back().cost);
  const auto room = static_cast<double>(limit.count() - others);
  constexpr double kSteps = 200'000;  // bytes are whole: below that the choice is exact
  auto chosen = least_error(items, room, static_cast<std::size_t>(std::clamp(room, 1.0, kSteps)));
  if (!chosen)
    return Error{"mixed precision: the weights must fit " + to_string(limit) +
                     ", at the fewest bits they take " + to_string(weight_bytes(network, kInt8)),
                 "", ErrorKind::infeasible};
  for (std::size_t i = 0; i < chosen->size(); ++i)
    network.layers[static_cast<std::size_t>(sensitivity.layers[i])].weight_bits =
        static_cast<std::uint8_t>(sensitivity.bits[(*chosen)[i]]);
  return network;
}

Result<Network> with_weight_bits(Network network, std::int32_t bits, const std::string& name) {
  if (bits != 8 && bits != 4 && bits != 2)
    return usage_error("weights of " + std::to_string(bits) +
                       " bits: engine c has kernels for 8, 4 and 2 bits, onnxruntime and tflite for 8");
  NAS_CHECK(check_name(network, name));
  for (Layer& l : network.layers)
    if (has_integer_weights(l) && layer_name(l).starts_with(name))
      l.weight_bits = static_cast<std::uint8_t>(bits);
  return network;
}

Result<Network> with_activation_bits(Network network, std::int32_t bits) {
  if (bits != 8 && bits != 4)
    return usage_error("activations of " + std::to_string(bits) +
                       " bits: engine c has kernels for 8 and 4 bits, onnxruntime and tflite for 8");
  // The image and the answer keep their 8 bits.
  for (std::size_t i = 1; i + 1 < network.layers.size(); ++i)
    network.layers[i].activation_bits = static_cast<std::uint8_t>(bits);
  return network;
}

}  // namespace nas::supernet
