#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"

namespace nas {

// What a layer computes. Shapes are per image (batch 1), [C, H, W]; token sequences are [D, T, 1].
enum class LayerKind : std::uint8_t {
  input,           // the image (or the embedded tokens)
  conv,            // dense, grouped or depthwise (groups == in.channels) convolution, square kernel
  batch_norm,      // per channel, folded into the convolution before it at deployment
  activation,      // elementwise, see Layer::activation
  squeeze_excite,  // global pool -> 1x1 (bias) -> relu -> 1x1 (bias) -> gate -> multiply; hidden = reduced
                   // width
  max_pool,
  avg_pool,     // kernel == stride and ceil-mode output for the ResNet-D shortcut
  global_pool,  // average over H x W (or over tokens)
  linear,       // over channels, applied to every position; a classifier has H = W = 1
  add,          // elementwise sum of two inputs of equal shape
  concat,       // along H (tokens) for transformers, else along channels
  zero,         // the "none" operation: a tensor of zeros, costs nothing
  patch_embed,  // convolution with kernel == stride that turns an image into tokens [D, T, 1]
  positional,   // adds the class token (when out has one token more) and a learned position table
  layer_norm,
  embedding,  // token table: ids [1, T, 1] -> [D, T, 1]; hidden = rows of the table
  attention,  // multi-head; hidden = width of q (= k = v), heads; inputs[1] >= 0: keys and values from there
};

enum class Activation : std::uint8_t { none, relu, relu6, hard_swish, swish, hard_sigmoid, sigmoid, gelu };

struct Shape {
  std::int32_t channels = 0;
  std::int32_t height = 1;
  std::int32_t width = 1;
  std::int64_t elements() const { return std::int64_t{channels} * height * width; }
  friend bool operator==(const Shape&, const Shape&) = default;
};

// The part a layer plays in its block; together with stage and block it names the layer's weights.
enum class Role : std::uint8_t {
  input,
  stem,
  stem_extra,
  expand,
  depthwise,
  squeeze_excite,
  project,
  shortcut,
  join,
  downsample,
  conv1,
  conv2,
  conv3,
  mix,
  head,
  pool,
  classifier,
  edge,
  reduce,
  embed,
  position,
  norm1,
  attention,
  cross_attention,
  norm2,
  mlp_up,
  mlp_down,
  norm3,
  concat,
};

// Where a layer stands in its search space. Layers with weights of one space share weights exactly when
// their sites are equal; batch norm has the site of its convolution. stage and block count from 1 as in
// gene names; 0 means "outside the stages". `variant` separates alternative operations of one place.
struct Site {
  std::int16_t stage = 0;
  std::int16_t block = 0;
  Role role = Role::input;
  std::uint8_t variant = 0;
  friend auto operator<=>(const Site&, const Site&) = default;
};

struct Layer {
  LayerKind kind = LayerKind::input;
  Activation activation = Activation::none;  // of an activation layer; of a squeeze_excite: its gate
  std::uint8_t weight_bits = 0;      // 0: not chosen by the genotype, the deployment's precision holds
  std::uint8_t activation_bits = 0;  // of the layer's output, likewise
  bool bias = false;
  Site site;
  std::array<std::int32_t, 2> inputs{-1, -1};  // indices of producing layers, always smaller than one's own
  Shape in;                                    // of inputs[0]
  Shape side;                                  // of inputs[1], empty (0 channels) without one
  Shape out;
  std::int32_t kernel = 1;
  std::int32_t stride = 1;
  std::int32_t padding = 0;
  std::int32_t groups = 1;
  std::int32_t hidden = 0;
  std::int32_t heads = 0;
};

// A lowered architecture: static shapes, execution order = index order, layer 0 is the input, the last layer
// is the output. Everything that costs, measures, trains, draws or exports reads this and nothing else.
struct Network {
  std::vector<Layer> layers;
};

bool is_depthwise(const Layer& layer);
bool has_weights(const Layer& layer);

std::string_view to_string(LayerKind kind);
std::string_view to_string(Activation activation);
std::string_view to_string(Role role);
// "stage2.block1.depthwise", "stem", "cell3.edge2.op4" style: stable, unique per set of weights.
std::string to_string(const Site& site);
// Site plus kind for layers that share a site: "stage2.block1.depthwise.batch_norm".
std::string layer_name(const Layer& layer);

// Every input exists and precedes its user, shapes agree with kernel, stride and padding, groups divide
// channels, nothing is empty or overflows. Lowerings call it in debug builds, readers of outside data always.
Result<void> validate(const Network& network);

}  // namespace nas
