#pragma once
#include "space/network.h"

namespace nas {

// Appends layers to a network and works out their output shapes. Functions return the new layer's index.
// The one place where shapes are computed: every family lowers through it.
class NetworkBuilder {
 public:
  explicit NetworkBuilder(Network& network) : layers_(network.layers) {}

  // Bits of the layers that follow; 0 leaves them to the deployment.
  void set_bits(std::uint8_t weight_bits, std::uint8_t activation_bits) {
    weight_bits_ = weight_bits;
    activation_bits_ = activation_bits;
  }

  // Share of their full rank that 1x1 convolutions and linear layers that follow keep (space/low_rank.h); 1:
  // they stay whole.
  void set_rank(double share) { rank_ = share; }

  std::int32_t input(Shape shape);
  // "Same" padding for odd kernels: padding = kernel / 2.
  std::int32_t conv(std::int32_t from, Site site, std::int32_t out_channels, std::int32_t kernel,
                    std::int32_t stride, std::int32_t groups = 1, bool bias = false);
  std::int32_t batch_norm(std::int32_t from);  // takes the site of the layer it follows
  std::int32_t batch_norm(std::int32_t from, Site site);
  std::int32_t activation(std::int32_t from, Activation activation);  // none: returns `from`
  // conv, batch_norm, activation.
  std::int32_t conv_bn_act(std::int32_t from, Site site, std::int32_t out_channels, std::int32_t kernel,
                           std::int32_t stride, std::int32_t groups, Activation activation);
  std::int32_t squeeze_excite(std::int32_t from, Site site, std::int32_t hidden, Activation gate);
  std::int32_t max_pool(std::int32_t from, Site site, std::int32_t kernel, std::int32_t stride,
                        std::int32_t padding);
  std::int32_t avg_pool(std::int32_t from, Site site, std::int32_t kernel, std::int32_t stride,
                        std::int32_t padding, bool ceil_mode = false);
  std::int32_t global_pool(std::int32_t from, Site site);
  std::int32_t linear(std::int32_t from, Site site, std::int32_t out_channels, bool bias);
  std::int32_t add(std::int32_t a, std::int32_t b, Site site);
  std::int32_t concat_tokens(std::int32_t a, std::int32_t b, Site site);
  std::int32_t zero(std::int32_t from, Site site, Shape out);
  std::int32_t patch_embed(std::int32_t from, Site site, std::int32_t channels, std::int32_t patch);
  std::int32_t positional(std::int32_t from, Site site, bool class_token);
  std::int32_t embedding(std::int32_t from, Site site, std::int32_t rows, std::int32_t channels);
  std::int32_t layer_norm(std::int32_t from, Site site);
  std::int32_t attention(std::int32_t from, Site site, std::int32_t hidden, std::int32_t heads,
                         std::int32_t keys_from = -1);

  const Shape& shape(std::int32_t index) const { return layers_[static_cast<std::size_t>(index)].out; }

 private:
  void set_side(Layer& layer, std::int32_t from);
  // The layer just made, in two where the rank says so.
  std::int32_t last_at_rank();
  Layer& append(LayerKind kind, Site site, std::int32_t from);
  std::int32_t last() const { return static_cast<std::int32_t>(layers_.size()) - 1; }

  std::vector<Layer>& layers_;
  std::uint8_t weight_bits_ = 0;
  std::uint8_t activation_bits_ = 0;
  double rank_ = 1;
};

}  // namespace nas
