#include "supernet/detail/sorting.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace nas::supernet {
namespace {

// A producer whose output channels nobody sees but a chain of per-channel layers and one consumer.
struct Chain {
  std::size_t producer, consumer;
  std::vector<std::size_t> between;
};

bool mixes_channels(const Layer& l) {
  return (l.kind == LayerKind::conv && l.groups == 1) ||
         (l.kind == LayerKind::linear && l.in.height * l.in.width == 1);
}

bool keeps_channels(const Layer& l) {
  return l.kind == LayerKind::batch_norm || l.kind == LayerKind::activation ||
         l.kind == LayerKind::squeeze_excite || l.kind == LayerKind::global_pool ||
         l.kind == LayerKind::max_pool || l.kind == LayerKind::avg_pool || is_depthwise(l);
}

std::vector<Chain> find_chains(const Network& network) {
  std::vector<int> uses(network.layers.size(), 0);
  for (const Layer& l : network.layers)
    for (const std::int32_t from : l.inputs)
      if (from >= 0) ++uses[static_cast<std::size_t>(from)];
  std::vector<Chain> chains;
  for (std::size_t i = 1; i < network.layers.size(); ++i) {
    if (!mixes_channels(network.layers[i])) continue;
    Chain chain{0, i, {}};
    auto at = static_cast<std::size_t>(network.layers[i].inputs[0]);
    while (uses[at] == 1 && keeps_channels(network.layers[at])) {
      chain.between.push_back(at);
      at = static_cast<std::size_t>(network.layers[at].inputs[0]);
    }
    chain.producer = at;
    // Only inside a block: a block's output has another producer in a path of another depth.
    const Site &from = network.layers[at].site, &to = network.layers[i].site;
    if (uses[at] == 1 && mixes_channels(network.layers[at]) && from.stage == to.stage &&
        from.block == to.block)
      chains.push_back(chain);
  }
  return chains;
}

// Descending importance inside each group; `ends` are the widths that must keep their channels.
std::vector<std::int64_t> order_of(const at::Tensor& importance, const std::set<std::int64_t>& ends) {
  const std::int64_t n = importance.numel();
  const at::Tensor host = importance.to(at::kDouble).cpu().contiguous();
  const double* value = host.data_ptr<double>();
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::int64_t begin = 0;
  const auto sort_to = [&](std::int64_t end) {
    std::stable_sort(order.begin() + begin, order.begin() + end,
                     [&](std::int64_t a, std::int64_t b) { return value[a] > value[b]; });
    begin = end;
  };
  for (const std::int64_t end : ends)
    if (end > begin && end < n) sort_to(end);
  sort_to(n);
  return order;
}

class Sorter {
 public:
  Sorter(WeightTable& weights, const Network& largest, const std::vector<Network>& trained, Sorting criterion,
         const std::vector<std::vector<at::Tensor>*>& companions)
      : weights_(weights),
        network_(largest),
        trained_(trained),
        criterion_(criterion),
        companions_(companions) {}

  void sort(const Chain& chain) {
    const Layer& consumer = network_.layers[chain.consumer];
    const at::Tensor* w = value(consumer, Part::weight);
    if (!w || w->size(1) != consumer.in.channels) return;  // another path uses more of it: leave it alone
    at::Tensor scale;
    for (const std::size_t i : chain.between)
      if (network_.layers[i].kind == LayerKind::batch_norm && !scale.defined())
        scale = *value(network_.layers[i], Part::scale);
    const Layer& producer = network_.layers[chain.producer];
    const auto order = order_of(channel_importance(*w, scale, criterion_), widths(producer, false));
    if (!complete(chain, static_cast<std::int64_t>(order.size()))) return;
    permute(producer, Part::weight, 0, order);
    if (producer.bias) permute(producer, Part::bias, 0, order);
    for (const std::size_t i : chain.between) sort_between(network_.layers[i], order);
    permute(consumer, Part::weight, 1, order);
  }

 private:
  void sort_between(const Layer& l, const std::vector<std::int64_t>& order) {
    if (l.kind == LayerKind::batch_norm) {
      permute(l, Part::scale, 0, order);
      permute(l, Part::shift, 0, order);
    } else if (l.kind == LayerKind::conv) {
      permute(l, Part::weight, 0, order);
      if (l.bias) permute(l, Part::bias, 0, order);
    } else if (l.kind == LayerKind::squeeze_excite) {
      permute(l, Part::reduce_weight, 1, order);
      permute(l, Part::expand_weight, 0, order);
      permute(l, Part::expand_bias, 0, order);
      const auto hidden =
          order_of(channel_importance(*value(l, Part::expand_weight), {}, Sorting::l1), widths(l, true));
      permute(l, Part::reduce_weight, 0, hidden);
      permute(l, Part::reduce_bias, 0, hidden);
      permute(l, Part::expand_weight, 1, hidden);
    }
  }

  // Every tensor of the chain is stored at exactly this width, so that a permutation means the same to all.
  bool complete(const Chain& chain, std::int64_t width) const {
    const auto stored = [&](const Layer& l, Part part, std::int64_t dim) {
      const at::Tensor* t = value(l, part);
      return t && t->size(dim) == width;
    };
    if (!stored(network_.layers[chain.producer], Part::weight, 0)) return false;
    for (const std::size_t i : chain.between) {
      const Layer& l = network_.layers[i];
      if (l.kind == LayerKind::batch_norm && !stored(l, Part::scale, 0)) return false;
      if (l.kind == LayerKind::conv && !stored(l, Part::weight, 0)) return false;
      if (l.kind == LayerKind::squeeze_excite && !stored(l, Part::expand_weight, 0)) return false;
    }
    return true;
  }

  std::set<std::int64_t> widths(const Layer& layer, bool hidden) const {
    std::set<std::int64_t> found;
    for (const Network& n : trained_)
      for (const Layer& l : n.layers)
        if (l.kind == layer.kind && l.site == layer.site) found.insert(hidden ? l.hidden : l.out.channels);
    return found;
  }

  int index(const Layer& l, Part part) const { return weights_.find({l.site, l.kind, part}); }
  const at::Tensor* value(const Layer& l, Part part) const {
    const int i = index(l, part);
    return i < 0 ? nullptr : &weights_.parameters()[static_cast<std::size_t>(i)].value;
  }
  void permute(const Layer& l, Part part, std::int64_t dim, const std::vector<std::int64_t>& order) {
    const int i = index(l, part);
    if (i < 0) return;
    const auto at = static_cast<std::size_t>(i);
    const auto apply = [&](at::Tensor& t) {
      t.copy_(t.index_select(dim, at::tensor(order, at::kLong).to(t.device())));
    };
    apply(weights_.parameters()[at].value);
    for (std::vector<at::Tensor>* list : companions_)
      if (!list->empty()) apply((*list)[at]);
  }

  WeightTable& weights_;
  const Network& network_;
  const std::vector<Network>& trained_;
  Sorting criterion_;
  const std::vector<std::vector<at::Tensor>*>& companions_;
};

}  // namespace

at::Tensor channel_importance(const at::Tensor& weight, const at::Tensor& scale, Sorting criterion) {
  const at::Tensor flat = weight.transpose(0, 1).reshape({weight.size(1), -1}).to(at::kDouble);
  if (criterion != Sorting::batch_norm) return flat.abs().sum(1);
  const at::Tensor norm = flat.square().sum(1).sqrt();
  return scale.defined() ? norm * scale.to(at::kDouble).abs() : norm;
}

void sort_channels(WeightTable& weights, const Network& largest, const std::vector<Network>& trained,
                   Sorting criterion, const std::vector<std::vector<at::Tensor>*>& companions) {
  if (criterion == Sorting::none) return;
  const c10::NoGradGuard no_grad;
  Sorter sorter(weights, largest, trained, criterion, companions);
  std::vector<Chain> chains = find_chains(largest);
  // Consumers first: a later block's importance must not see columns that are about to move, and does not.
  for (std::size_t i = chains.size(); i-- > 0;) sorter.sort(chains[i]);
}

}  // namespace nas::supernet
