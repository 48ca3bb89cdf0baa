#include "supernet/quantize/drawn.h"

#include <cmath>

#include "space/base/hash.h"
#include "space/base/rng.h"

namespace nas::supernet {

FoldedNetwork drawn_network(Deployment deployment, const std::string& name) {
  FoldedNetwork folded{std::move(deployment), {}};
  Rng rng(hash_text(name).low, "drawn network");
  for (const DeployedOp& op : folded.deployment.ops) {
    FoldedWeights& weights = folded.weights.emplace_back();
    const std::int64_t terms = weights_per_channel(op);
    if (terms == 0) continue;
    const double spread = std::sqrt(6.0 / static_cast<double>(terms));
    for (std::int64_t i = 0; i < terms * op.out.channels; ++i)
      weights.values.push_back(static_cast<float>(rng.uniform(-spread, spread)));
    for (std::int32_t c = 0; c < op.out.channels; ++c)
      weights.bias.push_back(static_cast<float>(rng.uniform(-0.1, 0.1)));
  }
  return folded;
}

}  // namespace nas::supernet
