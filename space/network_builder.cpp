#include "space/network_builder.h"

#include "space/low_rank.h"

namespace nas {

Layer& NetworkBuilder::append(LayerKind kind, Site site, std::int32_t from) {
  Layer& layer = layers_.emplace_back();
  layer.kind = kind;
  layer.site = site;
  layer.weight_bits = weight_bits_;
  layer.activation_bits = activation_bits_;
  if (from >= 0) {
    layer.inputs[0] = from;
    layer.in = layers_[static_cast<std::size_t>(from)].out;
    layer.out = layer.in;
  }
  return layer;
}

void NetworkBuilder::set_side(Layer& layer, std::int32_t from) {
  layer.inputs[1] = from;
  layer.side = shape(from);
}

std::int32_t NetworkBuilder::last_at_rank() {
  const Layer whole = layers_.back();
  if (const std::int32_t rank = rank_ < 1 ? useful_rank(whole, rank_) : 0; rank > 0) {
    layers_.pop_back();
    append_factors(layers_, whole, rank);
  }
  return last();
}

std::int32_t NetworkBuilder::embedding(std::int32_t from, Site site, std::int32_t rows,
                                       std::int32_t channels) {
  Layer& layer = append(LayerKind::embedding, site, from);
  layer.hidden = rows;
  layer.out.channels = channels;
  return last();
}

std::int32_t NetworkBuilder::input(Shape shape) {
  Layer& layer = append(LayerKind::input, {}, -1);
  layer.in = layer.out = shape;
  return last();
}

std::int32_t NetworkBuilder::conv(std::int32_t from, Site site, std::int32_t out_channels,
                                  std::int32_t kernel, std::int32_t stride, std::int32_t groups, bool bias) {
  Layer& layer = append(LayerKind::conv, site, from);
  layer.kernel = kernel;
  layer.stride = stride;
  layer.padding = kernel / 2;
  layer.groups = groups;
  layer.bias = bias;
  // A division costs as much as the rest of the layer, and most strides are 1.
  const auto windows = [&](std::int32_t extent) {
    const std::int32_t room = extent + 2 * layer.padding - kernel;
    return (stride == 1 ? room : room / stride) + 1;
  };
  layer.out = {out_channels, windows(layer.in.height), windows(layer.in.width)};
  return last_at_rank();
}

std::int32_t NetworkBuilder::batch_norm(std::int32_t from) {
  return batch_norm(from, layers_[static_cast<std::size_t>(from)].site);
}

std::int32_t NetworkBuilder::batch_norm(std::int32_t from, Site site) {
  append(LayerKind::batch_norm, site, from);
  return last();
}

std::int32_t NetworkBuilder::activation(std::int32_t from, Activation activation) {
  if (activation == Activation::none) return from;
  append(LayerKind::activation, layers_[static_cast<std::size_t>(from)].site, from).activation = activation;
  return last();
}

std::int32_t NetworkBuilder::conv_bn_act(std::int32_t from, Site site, std::int32_t out_channels,
                                         std::int32_t kernel, std::int32_t stride, std::int32_t groups,
                                         Activation act) {
  return activation(batch_norm(conv(from, site, out_channels, kernel, stride, groups)), act);
}

std::int32_t NetworkBuilder::squeeze_excite(std::int32_t from, Site site, std::int32_t hidden,
                                            Activation gate) {
  Layer& layer = append(LayerKind::squeeze_excite, site, from);
  layer.hidden = hidden;
  layer.activation = gate;
  layer.bias = true;
  return last();
}

std::int32_t NetworkBuilder::max_pool(std::int32_t from, Site site, std::int32_t kernel, std::int32_t stride,
                                      std::int32_t padding) {
  Layer& layer = append(LayerKind::max_pool, site, from);
  layer.kernel = kernel;
  layer.stride = stride;
  layer.padding = padding;
  layer.out.height = (layer.in.height + 2 * padding - kernel) / stride + 1;
  layer.out.width = (layer.in.width + 2 * padding - kernel) / stride + 1;
  return last();
}

std::int32_t NetworkBuilder::avg_pool(std::int32_t from, Site site, std::int32_t kernel, std::int32_t stride,
                                      std::int32_t padding, bool ceil_mode) {
  Layer& layer = append(LayerKind::avg_pool, site, from);
  layer.kernel = kernel;
  layer.stride = stride;
  layer.padding = padding;
  const std::int32_t up = ceil_mode ? stride - 1 : 0;
  layer.out.height = (layer.in.height + 2 * padding - kernel + up) / stride + 1;
  layer.out.width = (layer.in.width + 2 * padding - kernel + up) / stride + 1;
  return last();
}

std::int32_t NetworkBuilder::global_pool(std::int32_t from, Site site) {
  Layer& layer = append(LayerKind::global_pool, site, from);
  layer.out = {layer.in.channels, 1, 1};
  return last();
}

std::int32_t NetworkBuilder::linear(std::int32_t from, Site site, std::int32_t out_channels, bool bias) {
  Layer& layer = append(LayerKind::linear, site, from);
  layer.out.channels = out_channels;
  layer.bias = bias;
  return last_at_rank();
}

std::int32_t NetworkBuilder::add(std::int32_t a, std::int32_t b, Site site) {
  set_side(append(LayerKind::add, site, a), b);
  return last();
}

std::int32_t NetworkBuilder::concat_tokens(std::int32_t a, std::int32_t b, Site site) {
  Layer& layer = append(LayerKind::concat, site, a);
  set_side(layer, b);
  layer.out.height += layer.side.height;
  return last();
}

std::int32_t NetworkBuilder::zero(std::int32_t from, Site site, Shape out) {
  append(LayerKind::zero, site, from).out = out;
  return last();
}

std::int32_t NetworkBuilder::patch_embed(std::int32_t from, Site site, std::int32_t channels,
                                         std::int32_t patch) {
  Layer& layer = append(LayerKind::patch_embed, site, from);
  layer.kernel = layer.stride = patch;
  layer.bias = true;
  layer.out = {channels, (layer.in.height / patch) * (layer.in.width / patch), 1};
  return last();
}

std::int32_t NetworkBuilder::positional(std::int32_t from, Site site, bool class_token) {
  Layer& layer = append(LayerKind::positional, site, from);
  if (class_token) ++layer.out.height;
  return last();
}

std::int32_t NetworkBuilder::layer_norm(std::int32_t from, Site site) {
  append(LayerKind::layer_norm, site, from);
  return last();
}

std::int32_t NetworkBuilder::attention(std::int32_t from, Site site, std::int32_t hidden, std::int32_t heads,
                                       std::int32_t keys_from) {
  Layer& layer = append(LayerKind::attention, site, from);
  layer.hidden = hidden;
  layer.heads = heads;
  layer.bias = true;
  if (keys_from >= 0) set_side(layer, keys_from);
  return last();
}

}  // namespace nas
