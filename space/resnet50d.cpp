#include <array>
#include <memory>

#include "space/family.h"
#include "space/network_builder.h"
#include "space/rounding.h"

namespace nas {
namespace {

// Once-for-all's elastic ResNet50D (Cai et al. 2020; reference code of ofa_resnets): genes for the residual
// stem, the depth of four stages, a width of six places and an expand ratio of every bottleneck.
struct ResNet50d {
  std::int32_t classes = 1000;
  std::vector<std::int32_t> resolutions;
  std::vector<double> widths{0.65, 0.8, 1.0};
  std::vector<double> expands{0.2, 0.25, 0.35};
  int stem_gene = -1;
  std::array<int, 4> depth_gene{};
  std::array<int, 6> width_gene{};
  std::vector<std::vector<int>> expand_gene;

  void lower(const Genotype& g, Network& network) const;
  std::int32_t bottleneck(NetworkBuilder& b, std::int32_t from, std::int16_t stage, std::int16_t block,
                          std::int32_t out, double expand, std::int32_t stride) const;
  double width(const Genotype& g, std::size_t place) const {
    return widths[g[static_cast<std::size_t>(width_gene[place])]];
  }
};

constexpr std::array<std::int32_t, 4> kBaseDepth{2, 2, 4, 2};
constexpr std::array<std::int32_t, 4> kBaseWidth{256, 512, 1024, 2048};
constexpr std::int32_t kExtraDepth = 2;

std::int32_t ResNet50d::bottleneck(NetworkBuilder& b, std::int32_t from, std::int16_t stage,
                                   std::int16_t block, std::int32_t out, double expand,
                                   std::int32_t stride) const {
  const auto site = [&](Role role) { return Site{stage, block, role}; };
  const std::int32_t middle = expanded_channels(out, expand);
  std::int32_t at = b.conv_bn_act(from, site(Role::conv1), middle, 1, 1, 1, Activation::relu);
  at = b.conv_bn_act(at, site(Role::conv2), middle, 3, stride, 1, Activation::relu);
  at = b.conv_bn_act(at, site(Role::conv3), out, 1, 1, 1, Activation::none);
  std::int32_t identity = from;
  if (block == 1) {
    if (stride > 1) identity = b.avg_pool(identity, site(Role::downsample), stride, stride, 0, true);
    identity = b.conv_bn_act(identity, site(Role::shortcut), out, 1, 1, 1, Activation::none);
  }
  return b.activation(b.add(at, identity, site(Role::join)), Activation::relu);
}

void ResNet50d::lower(const Genotype& g, Network& network) const {
  NetworkBuilder b(network);
  const std::int32_t side = resolutions[g[0]];
  const std::int32_t stem_out = make_divisible(64 * width(g, 1));
  const std::int32_t stem_mid = make_divisible(0.5 * make_divisible(64 * width(g, 0)));
  std::int32_t at = b.input({3, side, side});
  at = b.conv_bn_act(at, {0, 1, Role::stem}, stem_mid, 3, 2, 1, Activation::relu);
  if (g[static_cast<std::size_t>(stem_gene)] == 1) {
    const std::int32_t conv = b.conv_bn_act(at, {0, 2, Role::stem}, stem_mid, 3, 1, 1, Activation::relu);
    at = b.add(conv, at, {0, 2, Role::join});
  }
  at = b.conv_bn_act(at, {0, 3, Role::stem}, stem_out, 3, 1, 1, Activation::relu);
  at = b.max_pool(at, {0, 0, Role::pool}, 3, 2, 1);
  for (std::size_t s = 0; s < 4; ++s) {
    const std::int32_t out = make_divisible(kBaseWidth[s] * width(g, s + 2));
    const std::int32_t depth = kBaseDepth[s] + g[static_cast<std::size_t>(depth_gene[s])];
    for (std::int32_t k = 0; k < depth; ++k) {
      const int gene = expand_gene[s][static_cast<std::size_t>(k)];
      at = bottleneck(b, at, static_cast<std::int16_t>(s + 1), static_cast<std::int16_t>(k + 1), out,
                      expands[g[static_cast<std::size_t>(gene)]], k == 0 && s > 0 ? 2 : 1);
    }
  }
  at = b.global_pool(at, {0, 1, Role::pool});
  b.linear(at, {0, 0, Role::classifier}, classes, true);
}

}  // namespace

FamilyParts read_resnet50d(JsonReader& reader) {
  auto net = std::make_shared<ResNet50d>();
  GeneList genes;
  net->classes = static_cast<std::int32_t>(reader.integer("classes", 1, 1'000'000));
  const std::vector<double> sides = read_values(reader, "resolution", 32, 4096, true);
  net->resolutions.assign(sides.begin(), sides.end());
  genes.add("resolution", "r", number_choices(sides));
  net->stem_gene = genes.add("stem.depth", "d", {{"0", 0}, {"2", 2}});
  for (std::size_t s = 0; s < 4; ++s)
    net->depth_gene[s] =
        genes.add("stage" + std::to_string(s + 1) + ".depth", "d", number_choices({0, 1, 2}));
  const std::array<const char*, 6> places{"stem.middle_width", "stem.width",   "stage1.width",
                                          "stage2.width",      "stage3.width", "stage4.width"};
  for (std::size_t p = 0; p < places.size(); ++p)
    net->width_gene[p] = genes.add(places[p], "w", number_choices(net->widths));
  for (std::size_t s = 0; s < 4; ++s) {
    net->expand_gene.emplace_back();
    for (std::int32_t k = 0; k < kBaseDepth[s] + kExtraDepth; ++k) {
      if (k >= kBaseDepth[s])
        genes.depend_on(net->depth_gene[s], static_cast<std::uint8_t>(k - kBaseDepth[s] + 1));
      net->expand_gene.back().push_back(
          genes.add("stage" + std::to_string(s + 1) + ".block" + std::to_string(k + 1) + ".expand", "e",
                    number_choices(net->expands)));
      genes.depend_on(-1);
    }
  }
  return {genes.take(), [net](const Genotype& g, Network& n) { net->lower(g, n); }};
}

}  // namespace nas
