#include "space/cost.h"

#include <limits>

namespace nas {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kWordBytes = 4;  // float, int32 bias, float scale

std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kMost : product;
}

std::int64_t plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kMost : sum;
}

const Shape& keys_of(const Layer& l) { return l.side.channels > 0 ? l.side : l.in; }

// Weights of a layer as a matrix: rows (output channels) of equal length. Attention is four of them.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

Matrix matrix(const Layer& l) {
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed: {
      const std::int64_t window = std::int64_t{l.kernel} * l.kernel;
      // Depthwise has one channel a group; divisions are slow.
      const std::int64_t channels = l.groups == 1               ? l.in.channels
                                    : l.groups == l.in.channels ? 1
                                                                : l.in.channels / l.groups;
      return {l.out.channels, times(channels, window)};
    }
    case LayerKind::linear:
      return {l.out.channels, l.in.channels};
    default:
      return {};
  }
}

std::int64_t attention_weights(const Layer& l) {
  const std::int64_t d = l.in.channels, from = keys_of(l).channels;
  return times(2 * (d + from), l.hidden);  // query and output on d, key and value on `from`
}

std::int64_t attention_macs(const Layer& l) {
  const Shape& keys = keys_of(l);
  const std::int64_t queries = std::int64_t{l.in.height} * l.in.width;
  const std::int64_t sources = std::int64_t{keys.height} * keys.width;
  const std::int64_t projections =
      plus(times(queries, times(l.in.channels, l.hidden)), times(sources, times(keys.channels, l.hidden)));
  return plus(times(2, projections), times(2, times(times(queries, sources), l.hidden)));
}

std::int64_t layer_macs(const Layer& l) {
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed:
    case LayerKind::linear: {
      const Matrix m = matrix(l);
      return times(times(m.rows, m.columns), std::int64_t{l.out.height} * l.out.width);
    }
    case LayerKind::squeeze_excite:
      return times(2, times(l.in.channels, l.hidden));
    case LayerKind::attention:
      return attention_macs(l);
    default:
      return 0;
  }
}

std::int64_t layer_params(const Layer& l) {
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed:
    case LayerKind::linear: {
      const Matrix m = matrix(l);
      return plus(times(m.rows, m.columns), l.bias ? m.rows : 0);
    }
    case LayerKind::batch_norm:
    case LayerKind::layer_norm:
      return 2 * std::int64_t{l.in.channels};
    case LayerKind::squeeze_excite:
      return plus(times(2, times(l.in.channels, l.hidden)),
                  l.bias ? std::int64_t{l.in.channels} + l.hidden : 0);
    case LayerKind::attention:
      return plus(attention_weights(l), l.bias ? 3 * std::int64_t{l.hidden} + l.in.channels : 0);
    case LayerKind::embedding:
      return times(l.hidden, l.out.channels);
    case LayerKind::positional:
      return plus(l.out.elements(), l.out.height > l.in.height ? l.out.channels : 0);
    default:
      return 0;
  }
}

// Rows of weights at `bits`, each padded to whole bytes, plus what each row has of bias and scale.
std::int64_t stored(std::int64_t rows, std::int64_t columns, std::int64_t bits, bool bias) {
  if (bits >= 32) return times(rows, plus(times(columns, kWordBytes), bias ? kWordBytes : 0));
  return times(rows, plus(plus(times(columns, bits), 7) / 8, 2 * kWordBytes));
}

std::int64_t attention_bytes(const Layer& l, std::int64_t bits) {
  const std::int64_t d = l.in.channels, from = keys_of(l).channels;
  const std::int64_t inward =
      plus(stored(l.hidden, d, bits, l.bias), times(2, stored(l.hidden, from, bits, l.bias)));
  return plus(inward, stored(d, l.hidden, bits, l.bias));
}

// `folded_bias`: the batch norm leaves its convolution a bias that it did not have or count before.
std::int64_t layer_bytes(const Layer& l, std::int64_t bits, bool folded, bool folded_bias) {
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed:
    case LayerKind::linear: {
      const Matrix m = matrix(l);
      return stored(m.rows, m.columns, bits, l.bias);
    }
    case LayerKind::batch_norm:
      if (folded) return folded_bias ? kWordBytes * l.in.channels : 0;
      return 2 * kWordBytes * l.in.channels;
    case LayerKind::layer_norm:
      return 2 * kWordBytes * l.in.channels;
    case LayerKind::squeeze_excite:
      return plus(stored(l.hidden, l.in.channels, bits, l.bias),
                  stored(l.in.channels, l.hidden, bits, l.bias));
    case LayerKind::attention:
      return attention_bytes(l, bits);
    case LayerKind::embedding:
      return times(l.hidden, plus(times(l.out.channels, bits >= 32 ? 32 : bits), 7) / 8);
    case LayerKind::positional: {
      const std::int64_t rows =
          std::int64_t{l.out.height} * l.out.width + (l.out.height > l.in.height ? 1 : 0);
      return times(rows, plus(times(l.out.channels, bits >= 32 ? 32 : bits), 7) / 8);
    }
    default:
      return 0;
  }
}

std::int64_t weight_bits(const Layer& l, Precision p) {
  return l.weight_bits != 0 ? l.weight_bits : p.weight_bits;
}

std::int64_t bytes_within(const Network& network, const Layer& l, Precision precision) {
  const std::int64_t bits = weight_bits(l, precision);
  if (l.kind != LayerKind::batch_norm || l.inputs[0] < 0) return layer_bytes(l, bits, false, false);
  const Layer& before = network.layers[static_cast<std::size_t>(l.inputs[0])];
  const bool folded = before.kind == LayerKind::conv || before.kind == LayerKind::linear ||
                      before.kind == LayerKind::patch_embed;
  return layer_bytes(l, bits, folded, weight_bits(before, precision) >= 32 && !before.bias);
}

}  // namespace

Macs macs(const Layer& layer) { return Macs(layer_macs(layer)); }

Macs macs(const Network& network) {
  std::int64_t sum = 0;
  for (const Layer& l : network.layers) sum = plus(sum, layer_macs(l));
  return Macs(sum);
}

Params params(const Layer& layer) { return Params(layer_params(layer)); }

Params params(const Network& network) {
  std::int64_t sum = 0;
  for (const Layer& l : network.layers) sum = plus(sum, layer_params(l));
  return Params(sum);
}

Bytes weight_bytes(const Layer& layer, Precision precision) {
  const std::int64_t bits = weight_bits(layer, precision);
  return Bytes(layer_bytes(layer, bits, true, bits >= 32));
}

Bytes weight_bytes(const Network& network, std::size_t index, Precision precision) {
  return Bytes(bytes_within(network, network.layers[index], precision));
}

Bytes weight_bytes(const Network& network, Precision precision) {
  std::int64_t sum = 0;
  for (const Layer& l : network.layers) sum = plus(sum, bytes_within(network, l, precision));
  return Bytes(sum);
}

Cost cost(const Network& network, Precision precision) {
  std::int64_t all_macs = 0, all_params = 0, all_bytes = 0;
  for (const Layer& l : network.layers) {
    if (l.kind == LayerKind::activation || l.kind == LayerKind::add) continue;
    if (l.kind == LayerKind::conv) {  // most of the work: its matrix is made once
      const Matrix m = matrix(l);
      const std::int64_t weights = times(m.rows, m.columns);
      all_macs = plus(all_macs, times(weights, std::int64_t{l.out.height} * l.out.width));
      all_params = plus(all_params, plus(weights, l.bias ? m.rows : 0));
      all_bytes = plus(all_bytes, stored(m.rows, m.columns, weight_bits(l, precision), l.bias));
      continue;
    }
    all_macs = plus(all_macs, layer_macs(l));
    all_params = plus(all_params, layer_params(l));
    all_bytes = plus(all_bytes, bytes_within(network, l, precision));
  }
  return {Macs(all_macs), Params(all_params), Bytes(all_bytes)};
}

Bytes output_bytes(const Layer& layer, Precision precision) {
  const std::int64_t bits = layer.activation_bits != 0 ? layer.activation_bits : precision.activation_bits;
  return Bytes(plus(times(layer.out.elements(), bits), 7) / 8);
}

}  // namespace nas
