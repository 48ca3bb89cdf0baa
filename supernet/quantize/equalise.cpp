#include "supernet/quantize/equalise.h"

#include <algorithm>
#include <cmath>

namespace nas::supernet {
namespace {

constexpr double kMostScale = 64;  // channels that hardly ever speak are not blown up further

bool has_weights(const DeployedOp& op) { return op.part != DeployedPart::none; }
bool homogeneous(Activation a) { return a == Activation::none || a == Activation::relu; }

// The operation that alone reads a tensor, or -1.
std::vector<int> only_readers(const Deployment& deployment) {
  std::vector<int> readers(deployment.ops.size() + 1, -1);
  std::vector<int> count(readers.size(), 0);
  for (std::size_t i = 0; i < deployment.ops.size(); ++i)
    for (const std::int32_t t : deployment.ops[i].inputs)
      if (t >= 0) {
        readers[static_cast<std::size_t>(t)] = static_cast<int>(i);
        ++count[static_cast<std::size_t>(t)];
      }
  for (std::size_t t = 0; t < readers.size(); ++t)
    if (count[t] != 1) readers[t] = -1;
  return readers;
}

// Calls visit(weight, channel) for every weight, channel being that of the input.
template <class Visit>
void for_each_input_weight(const DeployedOp& op, std::vector<float>& weights, Visit visit) {
  const auto channels = static_cast<std::size_t>(op.in.channels);  // innermost in all three orders
  for (std::size_t i = 0; i < weights.size(); ++i) visit(weights[i], i % channels);
}

// The factor that divides each channel of the tensor.
std::vector<double> factors(const DeployedOp& reader, FoldedWeights& weights,
                            const std::vector<float>& seen) {
  const float most_seen = *std::max_element(seen.begin(), seen.end());
  std::vector<double> reach(seen.size(), 0);
  if (reader.kind == DeployedKind::depthwise)
    reach.assign(seen.size(), 0);
  else
    for_each_input_weight(reader, weights.values, [&](float& w, std::size_t c) {
      reach[c] = std::max(reach[c], std::fabs(static_cast<double>(w)));
    });
  const double most_reach = *std::max_element(reach.begin(), reach.end());
  std::vector<double> s(seen.size(), 1);
  for (std::size_t c = 0; c < s.size(); ++c) {
    if (seen[c] <= 0) continue;
    const double share = static_cast<double>(seen[c]) / most_seen;
    if (reader.kind == DeployedKind::depthwise)
      s[c] = share;
    else if (reach[c] > 0)
      s[c] = std::sqrt(share / (reach[c] / most_reach));
    s[c] = std::clamp(s[c], 1 / kMostScale, kMostScale);
  }
  return s;
}

void divide_outputs(const DeployedOp& op, FoldedWeights& weights, const std::vector<double>& s) {
  const std::size_t channels = s.size(), per = weights.values.size() / channels;
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < per; ++i) {
      float& w = weights.values[op.kind == DeployedKind::depthwise ? i * channels + c : c * per + i];
      w = static_cast<float>(w / s[c]);
    }
    weights.bias[c] = static_cast<float>(weights.bias[c] / s[c]);
  }
}

}  // namespace

std::size_t equalise(FoldedNetwork& folded, const std::vector<std::vector<float>>& largest) {
  const Deployment& deployment = folded.deployment;
  const std::vector<int> readers = only_readers(deployment);
  std::size_t changed = 0;
  for (std::size_t i = 0; i + 1 < deployment.ops.size(); ++i) {
    const DeployedOp& op = deployment.ops[i];
    const int reader = readers[i + 1];
    if (reader < 0 || !has_weights(op) || !homogeneous(op.activation)) continue;
    const auto r = static_cast<std::size_t>(reader);
    if (!has_weights(deployment.ops[r])) continue;
    const std::vector<double> s = factors(deployment.ops[r], folded.weights[r], largest[i + 1]);
    divide_outputs(op, folded.weights[i], s);
    for_each_input_weight(deployment.ops[r], folded.weights[r].values,
                          [&](float& w, std::size_t c) { w = static_cast<float>(w * s[c]); });
    ++changed;
  }
  return changed;
}

}  // namespace nas::supernet
