#include "apps/integer_runner.h"

#include <algorithm>
#include <cmath>

#include "devices/codegen/reference.h"
#include "supernet/quantize/quantize.h"

namespace nas::apps {
namespace {

using namespace devices::codegen;
using supernet::FoldedNetwork;
using Bytes = std::vector<std::int8_t>;

// Every partial sum of a channel is at most |bias| + 255 * sum |w|.
bool sums_fit_floats(const NamedKernel& kernel) {
  const auto& params = std::get<Int8Params>(kernel.params);
  if (params.weights.empty()) return false;
  const std::size_t channels = params.bias.size(), per = params.weights.size() / channels;
  const bool depthwise = kernel.spec.kind == KernelKind::depthwise;
  for (std::size_t o = 0; o < channels; ++o) {
    std::int64_t most = std::abs(static_cast<std::int64_t>(params.bias[o]));
    for (std::size_t i = 0; i < per; ++i)
      most += 255 * std::abs(params.weights[depthwise ? i * channels + o : o * per + i]);
    if (most >= 1 << 24) return false;
  }
  return true;
}

}  // namespace

Result<IntegerRunner> IntegerRunner::make(const QuantizedNetwork& network) {
  FoldedNetwork sums{network.deployment, std::vector<supernet::FoldedWeights>(network.weights.size())};
  std::vector<NamedKernel> kernels;
  std::vector<bool> exact;
  for (std::size_t i = 0; i < network.weights.size(); ++i) {
    NAS_TRY(kernel, kernel_of(network, i));
    if (auto sound = check(kernel.spec, std::get<Int8Params>(kernel.params)); !sound)
      return Error{"operation " + std::to_string(i) + ": " + sound.error().message, sound.error().where,
                   sound.error().kind};
    exact.push_back(sums_fit_floats(kernel));
    kernels.push_back(std::move(kernel));
    sums.weights[i].values.assign(network.weights[i].values.begin(), network.weights[i].values.end());
    for (const std::int32_t bias : network.weights[i].bias)
      sums.weights[i].bias.push_back(static_cast<float>(bias));
  }
  return IntegerRunner(network, supernet::FloatExecutor(sums), std::move(kernels), std::move(exact));
}

Bytes IntegerRunner::weighted(std::size_t op, const Bytes& in) const {
  const auto& params = std::get<Int8Params>(kernels_[op].params);
  std::vector<float> centred, sums;
  for (const std::int8_t v : in) centred.push_back(static_cast<float>(v - params.input_zero));
  sums_.before_activation(op, centred, {}, sums);
  Bytes out(sums.size());
  const std::size_t channels = params.multipliers.size();
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto sum = static_cast<std::int32_t>(sums[i]);
    const std::int32_t q =
        std::clamp(multiply(sum, params.multipliers[i % channels], Rounding::single) + params.output_zero,
                   params.clamp_low, params.clamp_high);
    out[i] = params.table ? (*params.table)[static_cast<std::size_t>(q + 128)] : static_cast<std::int8_t>(q);
  }
  return out;
}

Bytes IntegerRunner::run(std::span<const std::int8_t> image) const {
  const std::vector<DeployedOp>& ops = network_.deployment.ops;
  std::vector<Bytes> tensors(ops.size() + 1);
  tensors[0].assign(image.begin(), image.end());
  static const Bytes kNothing;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Bytes& in = tensors[static_cast<std::size_t>(ops[i].inputs[0])];
    const Bytes& second =
        ops[i].inputs[1] >= 0 ? tensors[static_cast<std::size_t>(ops[i].inputs[1])] : kNothing;
    tensors[i + 1] = exact_[i] ? weighted(i, in)
                               : run_reference(kernels_[i].spec, std::get<Int8Params>(kernels_[i].params), in,
                                               second, Rounding::single);
  }
  return std::move(tensors.back());
}

std::vector<float> IntegerRunner::run(std::span<const float> image) const {
  Bytes q;
  for (const float v : image) q.push_back(supernet::to_grid(v, network_.tensors.front()));
  std::vector<float> real;
  for (const std::int8_t v : run(std::span<const std::int8_t>(q)))
    real.push_back(static_cast<float>(supernet::from_grid(v, network_.tensors.back())));
  return real;
}

}  // namespace nas::apps
