#include "supernet/quantize/bias_correction.h"

#include <tbb/parallel_for.h>

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

// Mean over images and positions, summed in the images' order.
std::vector<double> channel_means(const std::vector<Values>& results, std::size_t channels) {
  std::vector<std::vector<double>> sums(results.size(), std::vector<double>(channels, 0.0));
  tbb::parallel_for(std::size_t{0}, results.size(), [&](std::size_t n) {
    for (std::size_t i = 0; i < results[n].size(); ++i) sums[n][i % channels] += results[n][i];
  });
  std::vector<double> mean(channels, 0.0);
  const std::size_t positions = results.front().size() / channels;
  const double count = static_cast<double>(results.size()) * static_cast<double>(positions);
  for (const std::vector<double>& sum : sums)
    for (std::size_t c = 0; c < channels; ++c) mean[c] += sum[c] / count;
  return mean;
}

void add_to_channels(Values& values, const Values& change) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += change[i % change.size()];
}

}  // namespace

std::vector<std::vector<float>> correct_biases(FloatExecutor& rounded, const Grids& grids,
                                               const std::vector<std::vector<double>>& means,
                                               std::span<const Values> images) {
  const Deployment deployment = rounded.network().deployment;
  const Simulation simulation(rounded, grids);
  const std::vector<std::size_t> last_use = last_uses(deployment);
  std::vector<std::vector<Values>> tensors(deployment.ops.size() + 1, std::vector<Values>(images.size()));
  for (std::size_t n = 0; n < images.size(); ++n) tensors[0][n] = simulation.input(images[n]);
  std::vector<std::vector<float>> changes(deployment.ops.size());
  static const Values kNothing;
  for (std::size_t i = 0; i < deployment.ops.size(); ++i) {
    const DeployedOp& op = deployment.ops[i];
    const auto tensor = [&](std::int32_t t, std::size_t n) -> const Values& {
      return t >= 0 ? tensors[static_cast<std::size_t>(t)][n] : kNothing;
    };
    std::vector<Values>& out = tensors[i + 1];
    tbb::parallel_for(std::size_t{0}, images.size(), [&](std::size_t n) {
      rounded.before_activation(i, tensor(op.inputs[0], n), tensor(op.inputs[1], n), out[n]);
    });
    if (op.part != DeployedPart::none) {
      const std::vector<double> now = channel_means(out, means[i].size());
      for (std::size_t c = 0; c < now.size(); ++c)
        changes[i].push_back(static_cast<float>(means[i][c] - now[c]));
      FoldedWeights weights = rounded.network().weights[i];
      add_to_channels(weights.bias, changes[i]);
      rounded.set_weights(i, std::move(weights));
    }
    tbb::parallel_for(std::size_t{0}, images.size(), [&](std::size_t n) {
      if (!changes[i].empty()) add_to_channels(out[n], changes[i]);
      simulation.finish(i, out[n]);
    });
    for (const std::int32_t t : op.inputs)
      if (t >= 0 && last_use[static_cast<std::size_t>(t)] == i)
        for (Values& v : tensors[static_cast<std::size_t>(t)]) Values().swap(v);
  }
  return changes;
}

}  // namespace nas::supernet
