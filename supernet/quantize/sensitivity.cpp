#include "supernet/quantize/sensitivity.h"

#include <algorithm>
#include <cmath>

namespace nas::supernet {
namespace {

// Takes over operation i's grids: those of its result before and after the activation. The first operation
// brings the image's grid too.
void set_grids(Grids& grids, const QuantizedNetwork& q, std::size_t i, bool on) {
  grids.tensors[i + 1] = on ? std::optional(q.tensors[i + 1]) : std::nullopt;
  grids.before[i] = on ? std::optional(q.before[i]) : std::nullopt;
  if (i == 0) grids.tensors[0] = on ? std::optional(q.tensors[0]) : std::nullopt;
}

}  // namespace

std::vector<Sensitivity> sensitivity(const FoldedNetwork& folded, const QuantizedNetwork& quantized,
                                     std::span<const std::vector<float>> images) {
  const std::vector<DeployedOp>& ops = folded.deployment.ops;
  FloatExecutor plain(folded), rounded(folded);
  Grids none, all;
  none.tensors.resize(ops.size() + 1);
  none.before.resize(ops.size());
  all = none;
  std::vector<FoldedWeights> integer = folded.weights;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    set_grids(all, quantized, i, true);
    if (ops[i].part == DeployedPart::none) continue;
    integer[i] = real_values(ops[i], quantized.weights[i],
                             quantized.tensors[static_cast<std::size_t>(ops[i].inputs[0])].scale);
    rounded.set_weights(i, integer[i]);
  }
  const std::vector<std::vector<float>> exact = outputs(plain, images);
  std::vector<Sensitivity> result;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    Sensitivity s;
    set_grids(none, quantized, i, true);
    set_grids(all, quantized, i, false);
    plain.set_weights(i, integer[i]);
    rounded.set_weights(i, folded.weights[i]);
    s.alone = relative_error(exact, outputs(Simulation(plain, none), images));
    s.without = relative_error(exact, outputs(Simulation(rounded, all), images));
    set_grids(none, quantized, i, false);
    set_grids(all, quantized, i, true);
    plain.set_weights(i, folded.weights[i]);
    rounded.set_weights(i, integer[i]);
    result.push_back(s);
  }
  return result;
}

double decibels(double relative_error) {
  return relative_error > 1e-20 ? std::min(200.0, -10 * std::log10(relative_error)) : 200.0;
}

}  // namespace nas::supernet
