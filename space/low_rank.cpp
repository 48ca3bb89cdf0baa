#include "space/low_rank.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace nas {
namespace {

constexpr std::uint8_t kFirstFactor = 128;  // of Site::variant, beyond any operation's

bool is_factorable(const Layer& l) {
  return (l.kind == LayerKind::conv && l.groups == 1 && l.kernel == 1) || l.kind == LayerKind::linear;
}

Site without_mark(Site site) {
  site.variant = static_cast<std::uint8_t>(site.variant - kFirstFactor);
  return site;
}

// Layers i and i + 1 are the two factors of one.
bool are_factors(const Network& network, std::size_t i) {
  if (i + 1 >= network.layers.size()) return false;
  const Layer &first = network.layers[i], &second = network.layers[i + 1];
  return is_factorable(first) && first.site.variant >= kFirstFactor && second.kind == first.kind &&
         second.site == without_mark(first.site) && second.inputs[0] == static_cast<std::int32_t>(i);
}

Result<void> check_ranks(const Network& network, const LayerRanks& ranks) {
  for (const auto& [index, rank] : ranks) {
    const Layer& l = network.layers[static_cast<std::size_t>(index)];
    if (!is_factorable(l))
      return usage_error("low rank: layer " + layer_name(l) + " is no 1x1 convolution or linear layer");
    const bool factor = l.site.variant >= kFirstFactor ||
                        (index > 0 && are_factors(network, static_cast<std::size_t>(index) - 1));
    if (rank < 1 || factor)
      return usage_error("low rank: layer " + layer_name(l) +
                         (rank < 1 ? " must keep a rank of at least 1, found " + std::to_string(rank)
                                   : " is a factor already"));
  }
  return {};
}

// A layer whose inputs are named by the indices that layers have now.
Layer with_moved_inputs(Layer layer, const std::vector<std::int32_t>& moved) {
  for (std::int32_t& from : layer.inputs)
    if (from >= 0) from = moved[static_cast<std::size_t>(from)];
  return layer;
}

}  // namespace

std::vector<std::int32_t> factorable_layers(const Network& network) {
  std::vector<std::int32_t> found;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (is_factorable(l) && l.site.variant < kFirstFactor && largest_useful_rank(l) >= 1 &&
        (i == 0 || !are_factors(network, i - 1)))
      found.push_back(static_cast<std::int32_t>(i));
  }
  return found;
}

std::int32_t largest_useful_rank(const Layer& l) {
  const std::int64_t out = l.out.channels, in = l.in.channels;
  return static_cast<std::int32_t>((out * in - 1) / (out + in));
}

std::int32_t useful_rank(const Layer& l, double share) {
  if (!is_factorable(l) || l.site.variant >= kFirstFactor) return 0;
  const auto rank = static_cast<std::int32_t>(std::lround(share * std::min(l.in.channels, l.out.channels)));
  return std::max(1, rank) <= largest_useful_rank(l) ? std::max(1, rank) : 0;
}

LayerRanks ranks_at(const Network& network, double share) {
  LayerRanks ranks;
  for (const std::int32_t layer : factorable_layers(network))
    if (const std::int32_t rank = useful_rank(network.layers[static_cast<std::size_t>(layer)], share);
        rank > 0)
      ranks[layer] = rank;
  return ranks;
}

void append_factors(std::vector<Layer>& layers, Layer layer, std::int32_t rank) {
  Layer first = layer;
  first.site.variant = static_cast<std::uint8_t>(first.site.variant + kFirstFactor);
  first.out.channels = rank;
  first.bias = false;
  layers.push_back(first);
  layer.inputs[0] = static_cast<std::int32_t>(layers.size()) - 1;
  layer.in = first.out;
  layer.stride = 1;
  layers.push_back(layer);
}

Result<Network> factored(const Network& network, const LayerRanks& ranks) {
  NAS_CHECK(check_ranks(network, ranks));
  Network result;
  std::vector<std::int32_t> moved;  // old index -> new
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer l = with_moved_inputs(network.layers[i], moved);
    if (const auto rank = ranks.find(static_cast<std::int32_t>(i)); rank != ranks.end())
      append_factors(result.layers, l, rank->second);
    else
      result.layers.push_back(l);
    moved.push_back(static_cast<std::int32_t>(result.layers.size()) - 1);
  }
  NAS_CHECK(validate(result));
  return result;
}

Joined joined(const Network& network) {
  Joined result;
  std::vector<std::int32_t> moved;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const auto place = static_cast<std::int32_t>(result.network.layers.size());
    if (are_factors(network, i)) {
      moved.push_back(place);  // nobody else reads it; the layer itself comes to stand there
      continue;
    }
    Layer l = with_moved_inputs(network.layers[i], moved);
    if (i > 0 && are_factors(network, i - 1)) {
      const Layer first = with_moved_inputs(network.layers[i - 1], moved);
      l.inputs[0] = first.inputs[0];
      l.in = first.in;
      l.stride = first.stride;
      result.ranks[place] = first.out.channels;
    }
    result.network.layers.push_back(l);
    moved.push_back(place);
  }
  return result;
}

}  // namespace nas
