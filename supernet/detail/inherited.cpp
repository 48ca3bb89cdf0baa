#include "supernet/detail/inherited.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <map>

#include "space/low_rank.h"
#include "supernet/detail/execution.h"
#include "supernet/detail/step.h"
#include "supernet/low_rank/svd.h"

namespace nas::supernet {
namespace {

// A slice of a shared weight: networks that differ in rank alone share one decomposition.
struct SliceKey {
  Site site;
  LayerKind kind;
  std::int32_t out, in;
  friend auto operator<=>(const SliceKey&, const SliceKey&) = default;
};
struct Slice {
  at::Tensor weight;
  Svd parts;
};
using Slices = std::map<SliceKey, Slice>;

SliceKey key_of(const Layer& l) { return {l.site, l.kind, l.out.channels, l.in.channels}; }

Svd decomposed(const at::Tensor& weight) {
  const TaskGuard guard;
  const at::Tensor host = weight.cpu().contiguous();
  const float* p = host.data_ptr<float>();
  return svd({p, p + host.numel()}, static_cast<std::size_t>(host.size(0)),
             static_cast<std::size_t>(host.size(1)));
}

// [a, b] or, of a convolution, [a, b, 1, 1].
at::Tensor matrix(const std::vector<float>& values, std::int64_t a, std::int64_t b, const at::Tensor& like) {
  std::vector<std::int64_t> shape{a, b};
  shape.resize(static_cast<std::size_t>(like.dim()), 1);
  at::Tensor host = at::empty(shape, at::kFloat);
  std::copy(values.begin(), values.end(), host.data_ptr<float>());
  return host.to(like.device());
}

// Every weight of the network `thin`, whose layers in two `whole` has in one.
std::unique_ptr<WeightTable> table_of(const WeightTable& shared, const Network& thin, const Joined& whole,
                                      const Slices& slices) {
  auto table = std::make_unique<WeightTable>(false, shared.batch_norm_epsilon());
  table->add(thin);
  table->allocate(at::kCPU);
  const auto set = [&](const Layer& l, Part part, at::Tensor value) {
    table->parameters()[static_cast<std::size_t>(table->find({l.site, l.kind, part}))].value =
        std::move(value);
  };
  const Execution active(shared, whole.network, {});
  for (std::size_t i = 0, at = 0; i < whole.network.layers.size(); ++i, ++at) {
    const auto rank = whole.ranks.find(static_cast<std::int32_t>(i));
    const bool in_two = rank != whole.ranks.end();
    const Layer& layer = thin.layers[in_two ? at + 1 : at];
    for (const PartShape& p : parts_of(whole.network.layers[i]))
      if (!in_two || p.part != Part::weight) set(layer, p.part, active.active_weight(i, p.part));
    if (!in_two) continue;
    const Slice& slice = slices.at(key_of(whole.network.layers[i]));
    const Factors f = truncated(slice.parts, static_cast<std::size_t>(rank->second));
    const std::int64_t in = slice.weight.size(1), out = slice.weight.size(0);
    set(thin.layers[at++], Part::weight, matrix(f.first, rank->second, in, slice.weight));
    set(layer, Part::weight, matrix(f.second, out, rank->second, slice.weight));
  }
  return table;
}

}  // namespace

Network as_stored(const WeightTable& table, const Network& network) {
  const auto missing = [&](const Layer& l) {
    const auto parts = parts_of(l);
    return !parts.empty() && table.find({l.site, l.kind, parts.front().part}) < 0;
  };
  if (!std::ranges::any_of(network.layers, missing)) return network;
  return joined(network).network;
}

Inherited::Inherited(const WeightTable& shared, std::span<const Network> networks)
    : shared_(shared), own_(networks.size()) {
  const TaskGuard guard;
  std::map<std::size_t, Joined> of_low_rank;
  Slices slices;
  for (std::size_t n = 0; n < networks.size(); ++n) {
    if (as_stored(shared, networks[n]).layers.size() == networks[n].layers.size()) continue;
    const Joined& whole = of_low_rank[n] = joined(networks[n]);
    const Execution active(shared, whole.network, {});
    for (const auto& [layer, rank] : whole.ranks)
      slices.try_emplace(key_of(whole.network.layers[static_cast<std::size_t>(layer)]),
                         Slice{active.active_weight(static_cast<std::size_t>(layer), Part::weight), {}});
  }
  std::vector<Slice*> open;
  for (auto& [key, slice] : slices) open.push_back(&slice);
  tbb::parallel_for(std::size_t{0}, open.size(),
                    [&](std::size_t i) { open[i]->parts = decomposed(open[i]->weight); });
  for (const auto& [n, whole] : of_low_rank) own_[n] = table_of(shared, networks[n], whole, slices);
}

}  // namespace nas::supernet
