#include "supernet/quantize/folding.h"

#include <cmath>

namespace nas::supernet {
namespace {

struct Source {
  const char *weight = "", *bias = "";
};

Source source_of(const DeployedOp& op) {
  if (op.part == DeployedPart::squeeze) return {"reduce_weight", "reduce_bias"};
  if (op.part == DeployedPart::excite) return {"expand_weight", "expand_bias"};
  return {"weight", "bias"};
}

// OIHW -> OHWI (conv) or HWC (depthwise), or `back`; fully connected stays OI.
std::vector<float> reordered(const DeployedOp& op, const std::vector<float>& from, bool back = false) {
  if (op.kind == DeployedKind::fully_connected) return from;
  const auto taps = static_cast<std::size_t>(op.kernel) * static_cast<std::size_t>(op.kernel);
  const auto out = static_cast<std::size_t>(op.out.channels);
  const std::size_t in = op.kind == DeployedKind::depthwise ? 1 : static_cast<std::size_t>(op.in.channels);
  std::vector<float> to(from.size());
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i)
      for (std::size_t t = 0; t < taps; ++t) {
        const std::size_t theirs = (o * in + i) * taps + t;
        const std::size_t ours = op.kind == DeployedKind::depthwise ? t * out + o : (o * taps + t) * in + i;
        (back ? to[theirs] : to[ours]) = from[back ? ours : theirs];
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

// A tensor of a layer, made where there is none.
std::vector<float>& values_of(TrainedNetwork& trained, std::int32_t layer, const char* part,
                              std::size_t channels) {
  const auto at = static_cast<std::size_t>(layer);
  const NamedTensor* there = trained.find(at, part);
  if (there == nullptr) {
    trained.tensors.push_back({layer_name(trained.network.layers[at]) + "." + part,
                               {static_cast<std::int64_t>(channels)},
                               std::vector<float>(channels)});
    there = &trained.tensors.back();
  }
  return trained.tensors[static_cast<std::size_t>(there - trained.tensors.data())].values;
}

}  // namespace

Result<FoldedNetwork> fold(const TrainedNetwork& trained) {
  NAS_CHECK(check(trained));
  NAS_TRY(deployment, deploy(trained.network));
  FoldedNetwork folded{std::move(deployment), {}};
  for (const DeployedOp& op : folded.deployment.ops) {
    FoldedWeights& weights = folded.weights.emplace_back();
    if (op.part == DeployedPart::none) continue;
    const Source source = source_of(op);
    const auto layer = static_cast<std::size_t>(op.layer);
    weights.values = reordered(op, trained.find(layer, source.weight)->values);
    weights.bias.assign(static_cast<std::size_t>(op.out.channels), 0.0F);
    if (const NamedTensor* bias = trained.find(layer, source.bias)) weights.bias = bias->values;
    if (op.batch_norm >= 0) fold_batch_norm(trained, op, weights);
  }
  return folded;
}

TrainedNetwork unfold(TrainedNetwork trained, const FoldedNetwork& folded) {
  for (std::size_t i = 0; i < folded.weights.size(); ++i) {
    const DeployedOp& op = folded.deployment.ops[i];
    if (op.part == DeployedPart::none) continue;
    const Source source = source_of(op);
    const FoldedWeights& weights = folded.weights[i];
    const std::size_t channels = weights.bias.size();
    const auto set = [&](std::int32_t layer, const char* part, const std::vector<float>& values) {
      values_of(trained, layer, part, channels) = values;
    };
    set(op.layer, source.weight, reordered(op, weights.values, true));
    const bool has_bias = trained.find(static_cast<std::size_t>(op.layer), source.bias) != nullptr;
    if (op.batch_norm < 0) {
      if (!has_bias) trained.network.layers[static_cast<std::size_t>(op.layer)].bias = true;
      set(op.layer, source.bias, weights.bias);
      continue;
    }
    if (has_bias) set(op.layer, source.bias, std::vector<float>(channels));
    set(op.batch_norm, "scale", std::vector<float>(channels, 1.0F));
    set(op.batch_norm, "mean", std::vector<float>(channels));
    set(op.batch_norm, "variance",
        std::vector<float>(channels, static_cast<float>(1 - trained.batch_norm_epsilon)));
    set(op.batch_norm, "shift", weights.bias);
  }
  return trained;
}

}  // namespace nas::supernet
