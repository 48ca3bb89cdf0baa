#include "space/network.h"

#include <limits>

namespace nas {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;

std::string at_layer(std::size_t index, const Layer& layer) {
  return "layer " + std::to_string(index) + " (" + layer_name(layer) + ")";
}

std::string text(const Shape& s) {
  return std::to_string(s.channels) + "x" + std::to_string(s.height) + "x" + std::to_string(s.width);
}

bool positive(const Shape& s) {
  return s.channels > 0 && s.height > 0 && s.width > 0 && s.elements() <= kMaxElements;
}

std::int64_t windows(std::int64_t extent, const Layer& layer, bool ceil_mode) {
  const std::int64_t room = extent + 2 * std::int64_t{layer.padding} - layer.kernel;
  if (room < 0 && !ceil_mode) return 0;
  return (ceil_mode ? (room + layer.stride - 1) / layer.stride : room / layer.stride) + 1;
}

// What the output shape must be, given the layer's input shape and geometry.
bool shape_agrees(const Layer& l) {
  switch (l.kind) {
    case LayerKind::conv:
    case LayerKind::patch_embed:
    case LayerKind::max_pool:
    case LayerKind::avg_pool: {
      if (l.kernel < 1 || l.stride < 1 || l.padding < 0 || l.groups < 1) return false;
      const std::int64_t h = windows(l.in.height, l, false), w = windows(l.in.width, l, false);
      if (l.kind == LayerKind::patch_embed) return l.out.height == h * w && l.out.width == 1;
      if (l.kind == LayerKind::avg_pool && l.padding == 0)
        return (l.out.height == h || l.out.height == windows(l.in.height, l, true)) &&
               (l.out.width == w || l.out.width == windows(l.in.width, l, true)) &&
               l.in.channels == l.out.channels;
      if (l.kind != LayerKind::conv && l.in.channels != l.out.channels) return false;
      return l.out.height == h && l.out.width == w;
    }
    case LayerKind::global_pool:
      return l.out.channels == l.in.channels && l.out.height == 1 && l.out.width == 1;
    case LayerKind::linear:
      return l.out.height == l.in.height && l.out.width == l.in.width;
    case LayerKind::zero:
      return true;
    case LayerKind::positional:
      return l.out.channels == l.in.channels &&
             (l.out.height == l.in.height || l.out.height == l.in.height + 1);
    case LayerKind::concat:
      return l.out.elements() == l.in.elements() + l.side.elements();
    case LayerKind::embedding:
      return l.in.channels == 1 && l.hidden > 0 && l.out.height == l.in.height && l.out.width == l.in.width;
    case LayerKind::attention:
      return l.heads > 0 && l.hidden > 0 && l.hidden % l.heads == 0 && l.out == l.in;
    case LayerKind::squeeze_excite:
      return l.hidden > 0 && l.out == l.in;
    default:
      return l.out == l.in;
  }
}

Result<void> check_inputs(const Network& network, std::size_t index) {
  const Layer& l = network.layers[index];
  const bool two = l.kind == LayerKind::add || l.kind == LayerKind::concat;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int32_t from = l.inputs[i];
    if (from < 0 && (i == 1 ? !two : l.kind == LayerKind::input)) continue;
    if (from < 0 || from >= static_cast<std::int32_t>(index))
      return Error{at_layer(index, l) + ": input " + std::to_string(i) + " must be an earlier layer, found " +
                   std::to_string(from)};
    const Shape& produced = network.layers[static_cast<std::size_t>(from)].out;
    const Shape& expected = i == 0 ? l.in : l.side;
    if (!(produced == expected) || (l.kind == LayerKind::add && !(produced == l.in)))
      return Error{at_layer(index, l) + ": expects an input of " + text(expected) + ", layer " +
                   std::to_string(from) + " gives " + text(produced)};
  }
  return {};
}

}  // namespace

bool is_depthwise(const Layer& layer) {
  return layer.kind == LayerKind::conv && layer.groups == layer.in.channels && layer.groups > 1 &&
         layer.out.channels == layer.in.channels;
}

bool has_weights(const Layer& layer) {
  switch (layer.kind) {
    case LayerKind::conv:
    case LayerKind::batch_norm:
    case LayerKind::squeeze_excite:
    case LayerKind::linear:
    case LayerKind::patch_embed:
    case LayerKind::positional:
    case LayerKind::layer_norm:
    case LayerKind::embedding:
    case LayerKind::attention:
      return true;
    default:
      return false;
  }
}

std::string_view to_string(LayerKind kind) {
  constexpr std::string_view kNames[] = {
      "input",       "conv",        "batch_norm", "activation", "squeeze_excite", "max_pool",
      "avg_pool",    "global_pool", "linear",     "add",        "concat",         "zero",
      "patch_embed", "positional",  "layer_norm", "embedding",  "attention"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view to_string(Activation activation) {
  constexpr std::string_view kNames[] = {"none",  "relu",         "relu6",   "hard_swish",
                                         "swish", "hard_sigmoid", "sigmoid", "gelu"};
  return kNames[static_cast<std::size_t>(activation)];
}

std::string_view to_string(Role role) {
  constexpr std::string_view kNames[] = {
      "input",   "stem",     "stem_extra", "expand",     "depthwise",  "squeeze_excite",
      "project", "shortcut", "join",       "downsample", "conv1",      "conv2",
      "conv3",   "mix",      "head",       "pool",       "classifier", "edge",
      "reduce",  "embed",    "position",   "norm1",      "attention",  "cross_attention",
      "norm2",   "mlp_up",   "mlp_down",   "norm3",      "concat"};
  return kNames[static_cast<std::size_t>(role)];
}

std::string to_string(const Site& site) {
  std::string name;
  if (site.stage > 0) name += "stage" + std::to_string(site.stage) + ".";
  if (site.block > 0) name += "block" + std::to_string(site.block) + ".";
  name += to_string(site.role);
  if (site.variant > 0) name += ".op" + std::to_string(site.variant);
  return name;
}

std::string layer_name(const Layer& layer) {
  std::string name = to_string(layer.site);
  if (layer.kind == LayerKind::batch_norm || layer.kind == LayerKind::activation)
    name += "." + std::string(to_string(layer.kind));
  return name;
}

Result<void> validate(const Network& network) {
  if (network.layers.empty() || network.layers.front().kind != LayerKind::input)
    return Error{"network: the first layer must be the input"};
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (l.kind == LayerKind::input && i > 0) return Error{at_layer(i, l) + ": a second input"};
    if (!positive(l.out) || (i > 0 && !positive(l.in)))
      return Error{at_layer(i, l) + ": empty or absurdly large shape " + text(l.in) + " -> " + text(l.out)};
    NAS_CHECK(check_inputs(network, i));
    if (i > 0 && !shape_agrees(l))
      return Error{at_layer(i, l) + ": shapes " + text(l.in) + " -> " + text(l.out) +
                   " do not follow from kernel " + std::to_string(l.kernel) + ", stride " +
                   std::to_string(l.stride) + ", padding " + std::to_string(l.padding)};
    if (l.kind == LayerKind::conv && (l.in.channels % l.groups != 0 || l.out.channels % l.groups != 0))
      return Error{at_layer(i, l) + ": " + std::to_string(l.groups) + " groups do not divide " +
                   std::to_string(l.in.channels) + " -> " + std::to_string(l.out.channels) + " channels"};
  }
  return {};
}

}  // namespace nas
