#include "supernet/quantize/folding.h"

#include <cmath>

namespace nas::supernet {
namespace {

struct Source {
  const NamedTensor* weight = nullptr;
  const NamedTensor* bias = nullptr;
};

Source source_of(const TrainedNetwork& trained, const DeployedOp& op) {
  const auto layer = static_cast<std::size_t>(op.layer);
  switch (op.part) {
    case DeployedPart::main:
      return {trained.find(layer, "weight"), trained.find(layer, "bias")};
    case DeployedPart::squeeze:
      return {trained.find(layer, "reduce_weight"), trained.find(layer, "reduce_bias")};
    case DeployedPart::excite:
      return {trained.find(layer, "expand_weight"), trained.find(layer, "expand_bias")};
    case DeployedPart::none:
      break;
  }
  return {};
}

// OIHW -> OHWI (conv) or HWC (depthwise); fully connected stays OI.
std::vector<float> reordered(const DeployedOp& op, const std::vector<float>& from) {
  if (op.kind == DeployedKind::fully_connected) return from;
  const auto taps = static_cast<std::size_t>(op.kernel) * static_cast<std::size_t>(op.kernel);
  const auto out = static_cast<std::size_t>(op.out.channels);
  const std::size_t in = op.kind == DeployedKind::depthwise ? 1 : static_cast<std::size_t>(op.in.channels);
  std::vector<float> to(from.size());
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i)
      for (std::size_t t = 0; t < taps; ++t) {
        const float w = from[(o * in + i) * taps + t];
        if (op.kind == DeployedKind::depthwise)
          to[t * out + o] = w;
        else
          to[(o * taps + t) * in + i] = w;
      }
  return to;
}

// y = (conv - mean) / sqrt(variance + eps) * scale + shift, as a convolution of its own.
void fold_batch_norm(const TrainedNetwork& trained, const DeployedOp& op, FoldedWeights& weights) {
  const auto layer = static_cast<std::size_t>(op.batch_norm);
  const auto part = [&](const char* name) -> const std::vector<float>& {
    return trained.find(layer, name)->values;
  };
  const auto channels = static_cast<std::size_t>(op.out.channels);
  for (std::size_t o = 0; o < channels; ++o) {
    const double factor = part("scale")[o] / std::sqrt(part("variance")[o] + trained.batch_norm_epsilon);
    weights.bias[o] = static_cast<float>((weights.bias[o] - part("mean")[o]) * factor + part("shift")[o]);
    const std::size_t per = weights.values.size() / channels;
    for (std::size_t i = 0; i < per; ++i) {
      float& w =
          op.kind == DeployedKind::depthwise ? weights.values[i * channels + o] : weights.values[o * per + i];
      w = static_cast<float>(w * factor);
    }
  }
}

}  // namespace

Result<FoldedNetwork> fold(const TrainedNetwork& trained) {
  NAS_CHECK(check(trained));
  NAS_TRY(deployment, deploy(trained.network));
  FoldedNetwork folded{std::move(deployment), {}};
  for (const DeployedOp& op : folded.deployment.ops) {
    FoldedWeights& weights = folded.weights.emplace_back();
    if (op.part == DeployedPart::none) continue;
    const Source source = source_of(trained, op);
    weights.values = reordered(op, source.weight->values);
    weights.bias.assign(static_cast<std::size_t>(op.out.channels), 0.0F);
    if (source.bias != nullptr) weights.bias = source.bias->values;
    if (op.batch_norm >= 0) fold_batch_norm(trained, op, weights);
  }
  return folded;
}

}  // namespace nas::supernet
