#include "supernet/prune/prune.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {
namespace {

using Index = std::vector<std::int32_t>;

NamedTensor* tensor_of(TrainedNetwork& t, std::int32_t layer, const char* part) {
  return const_cast<NamedTensor*>(t.find(static_cast<std::size_t>(layer), part));
}

// Keeps rows (the first dimension) or columns (the second; everything behind it belongs to the column).
void keep_rows(NamedTensor* tensor, const Index& kept) {
  if (tensor == nullptr) return;
  const std::size_t row = tensor->values.size() / static_cast<std::size_t>(tensor->shape[0]);
  std::vector<float> values;
  values.reserve(kept.size() * row);
  for (const std::int32_t k : kept) {
    const auto begin =
        tensor->values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(k) * row);
    values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(row));
  }
  tensor->values = std::move(values);
  tensor->shape[0] = static_cast<std::int64_t>(kept.size());
}

void keep_columns(NamedTensor* tensor, const Index& kept) {
  const auto rows = static_cast<std::size_t>(tensor->shape[0]),
             columns = static_cast<std::size_t>(tensor->shape[1]);
  const std::size_t each = tensor->values.size() / (rows * columns);
  std::vector<float> values;
  values.reserve(rows * kept.size() * each);
  for (std::size_t r = 0; r < rows; ++r)
    for (const std::int32_t k : kept) {
      const auto begin = tensor->values.begin() +
                         static_cast<std::ptrdiff_t>((r * columns + static_cast<std::size_t>(k)) * each);
      values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(each));
    }
  tensor->values = std::move(values);
  tensor->shape[1] = static_cast<std::int64_t>(kept.size());
}

// What the columns that go add to each row when their inputs have these means.
std::vector<double> lost(const NamedTensor& weight, const std::vector<double>& mean, const Index& kept) {
  const auto rows = static_cast<std::size_t>(weight.shape[0]),
             columns = static_cast<std::size_t>(weight.shape[1]);
  const std::size_t each = weight.values.size() / (rows * columns);
  std::vector<bool> stays(columns, false);
  for (const std::int32_t k : kept) stays[static_cast<std::size_t>(k)] = true;
  std::vector<double> sums(rows, 0);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t k = 0; k < columns; ++k)
      for (std::size_t e = 0; !stays[k] && e < each; ++e)
        sums[r] += mean[k] * weight.values[(r * columns + k) * each + e];
  return sums;
}

void add(NamedTensor& tensor, const std::vector<double>& values, double sign) {
  for (std::size_t i = 0; i < values.size(); ++i)
    tensor.values[i] = static_cast<float>(tensor.values[i] + sign * values[i]);
}

// Gives a consumer what it loses: in its bias, the mean of the batch norm that reads nothing else, or a new
// bias.
void compensate(TrainedNetwork& t, std::int32_t consumer, const std::vector<double>& values) {
  if (NamedTensor* bias = tensor_of(t, consumer, "bias")) return add(*bias, values, 1);
  const auto& layers = t.network.layers;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i].kind == LayerKind::batch_norm && layers[i].inputs[0] == consumer)
      return add(*tensor_of(t, static_cast<std::int32_t>(i), "mean"), values, -1);
  t.network.layers[static_cast<std::size_t>(consumer)].bias = true;
  const std::string name = layer_name(layers[static_cast<std::size_t>(consumer)]) + ".bias";
  t.tensors.push_back({name, {static_cast<std::int64_t>(values.size())}, {values.begin(), values.end()}});
}

void slice_carrier(TrainedNetwork& t, std::int32_t index, const Index& kept,
                   const ChannelStatistics* statistics) {
  const Layer& l = t.network.layers[static_cast<std::size_t>(index)];
  if (l.kind == LayerKind::batch_norm)
    for (const char* part : {"scale", "shift", "mean", "variance"})
      keep_rows(tensor_of(t, index, part), kept);
  if (l.kind == LayerKind::conv)
    for (const char* part : {"weight", "bias"}) keep_rows(tensor_of(t, index, part), kept);
  if (l.kind != LayerKind::squeeze_excite) return;
  if (statistics)
    add(*tensor_of(t, index, "reduce_bias"),
        lost(*tensor_of(t, index, "reduce_weight"), statistics->squeezed, kept), 1);
  keep_columns(tensor_of(t, index, "reduce_weight"), kept);
  for (const char* part : {"expand_weight", "expand_bias"}) keep_rows(tensor_of(t, index, part), kept);
}

void slice_group(TrainedNetwork& t, const ChannelGroup& group, const Index& kept,
                 const ChannelStatistics* statistics) {
  for (const char* part : {"weight", "bias"}) keep_rows(tensor_of(t, group.producer, part), kept);
  for (const std::int32_t i : group.carriers) slice_carrier(t, i, kept, statistics);
  for (const std::int32_t i : group.consumers) {
    if (statistics) compensate(t, i, lost(*tensor_of(t, i, "weight"), statistics->mean, kept));
    keep_columns(tensor_of(t, i, "weight"), kept);
  }
}

// The deployed tensor that a layer's input is.
std::size_t input_tensor(const Deployment& d, std::int32_t layer) {
  for (const DeployedOp& op : d.ops)
    if (op.layer == layer) return static_cast<std::size_t>(op.inputs[0]);
  return 0;
}

// One place where a group's channels are looked at.
struct Place {
  std::size_t tensor = 0, channels = 0;
  std::vector<double>* mean = nullptr;
  std::vector<double>* non_zero = nullptr;
  std::size_t values = 0;

  void add(std::span<const float> seen) {
    for (std::size_t i = 0; i < seen.size(); ++i) {
      (*mean)[i % channels] += seen[i];
      if (non_zero) (*non_zero)[i % channels] += seen[i] != 0 ? 1 : 0;
    }
    values += seen.size() / channels;
  }
  void divide() {
    for (auto* sums : {mean, non_zero})
      for (std::size_t c = 0; sums && c < channels; ++c)
        (*sums)[c] /= static_cast<double>(std::max<std::size_t>(values, 1));
  }
};

}  // namespace

Result<std::vector<ChannelStatistics>> channel_statistics(const TrainedNetwork& trained,
                                                          const std::vector<ChannelGroup>& groups,
                                                          std::span<const std::vector<float>> images) {
  NAS_TRY(folded, fold(trained));
  const FloatExecutor executor(folded);
  std::vector<ChannelStatistics> all(groups.size());
  std::vector<Place> places;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto channels = static_cast<std::size_t>(groups[g].channels);
    all[g].mean.resize(channels);
    all[g].non_zero.resize(channels);
    places.push_back({input_tensor(folded.deployment, groups[g].consumers.front()), channels, &all[g].mean,
                      &all[g].non_zero, 0});
    for (const std::int32_t i : groups[g].carriers) {
      if (trained.network.layers[static_cast<std::size_t>(i)].kind != LayerKind::squeeze_excite) continue;
      all[g].squeezed.resize(channels);
      places.push_back({input_tensor(folded.deployment, i), channels, &all[g].squeezed, nullptr, 0});
    }
  }
  const auto observe = [&](std::size_t tensor, bool before, std::span<const float> seen) {
    for (Place& place : places)
      if (!before && place.tensor == tensor) place.add(seen);
  };
  for (const std::vector<float>& image : images) (void)executor.run(image, observe);
  for (Place& place : places) place.divide();
  return all;
}

Result<TrainedNetwork> prune_channels(const TrainedNetwork& trained, const std::vector<ChannelGroup>& groups,
                                      const KeptChannels& kept,
                                      const std::vector<ChannelStatistics>& statistics) {
  TrainedNetwork t = trained;
  std::vector<std::int32_t> counts;
  std::int64_t gone = 0, all = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    counts.push_back(static_cast<std::int32_t>(kept[g].size()));
    all += groups[g].channels;
    gone += groups[g].channels - counts.back();
  }
  NAS_CHECK(narrowed(t.network, groups, counts));
  for (std::size_t g = 0; g < groups.size(); ++g)
    if (counts[g] < groups[g].channels)
      slice_group(t, groups[g], kept[g], statistics.empty() ? nullptr : &statistics[g]);
  NAS_TRY(network, narrowed(t.network, groups, counts));
  t.network = std::move(network);
  t.provenance.note += ", " + std::to_string(gone) + " of " + std::to_string(all) + " inner channels pruned";
  NAS_CHECK(check(t));
  return t;
}

std::vector<std::int32_t> best_channels(const std::vector<double>& scores, std::int32_t count) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  order.resize(
      static_cast<std::size_t>(std::clamp<std::int32_t>(count, 0, static_cast<std::int32_t>(order.size()))));
  std::sort(order.begin(), order.end());
  return order;
}

std::int32_t kept_at(std::int32_t channels, double ratio, std::int32_t multiple) {
  const auto exact = static_cast<std::int32_t>(std::lround(channels * (1 - ratio)));
  const std::int32_t step = channels >= 16 ? std::max(multiple, 1) : 1;
  const std::int32_t rounded = std::min((exact + step / 2) / step * step, channels);
  return rounded > 0 ? rounded : exact;
}

}  // namespace nas::supernet
