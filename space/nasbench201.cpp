#include <array>
#include <memory>

#include "space/family.h"
#include "space/network_builder.h"

namespace nas {
namespace {

// NAS-Bench-201 (Dong and Yang, ICLR 2020): one cell of four nodes and six edges, stacked 5 + 5 + 5 with two
// residual reductions between, 16-32-64 channels.
struct NasBench201 {
  std::int32_t classes = 10;
  std::vector<std::int32_t> resolutions;
  void lower(const Genotype& g, Network& network) const;
};

enum Operation : std::uint8_t { kNone, kSkip, kConv1, kConv3, kPool };
constexpr std::array<const char*, 5> kNames{"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3",
                                            "avg_pool_3x3"};
constexpr std::size_t kFirstEdge = 1;  // gene 0 is the resolution

std::int32_t relu_conv_bn(NetworkBuilder& b, std::int32_t from, Site site, std::int32_t channels,
                          std::int32_t kernel, std::int32_t stride) {
  return b.batch_norm(b.conv(b.activation(from, Activation::relu), site, channels, kernel, stride));
}

// Index of the edge's output, or -1 for "none".
std::int32_t edge(NetworkBuilder& b, std::int32_t from, Site site, std::uint8_t operation) {
  site.variant = operation;
  const std::int32_t channels = b.shape(from).channels;
  switch (operation) {
    case kSkip:
      return from;
    case kConv1:
      return relu_conv_bn(b, from, site, channels, 1, 1);
    case kConv3:
      return relu_conv_bn(b, from, site, channels, 3, 1);
    case kPool:
      return b.avg_pool(from, site, 3, 1, 1);
    default:
      return -1;
  }
}

std::int32_t cell(NetworkBuilder& b, std::int32_t from, const Genotype& g, std::int16_t number) {
  std::array<std::int32_t, 4> node{from, -1, -1, -1};
  std::size_t gene = kFirstEdge;
  for (std::size_t to = 1; to < 4; ++to) {
    for (std::size_t source = 0; source < to; ++source, ++gene) {
      const auto number_of_edge = static_cast<std::int16_t>(gene - kFirstEdge + 1);
      const std::int32_t value = edge(b, node[source], {number, number_of_edge, Role::edge}, g[gene]);
      if (value < 0) continue;
      node[to] = node[to] < 0 ? value : b.add(node[to], value, {number, number_of_edge, Role::join});
    }
    if (node[to] < 0)
      node[to] = b.zero(from, {number, static_cast<std::int16_t>(to), Role::concat}, b.shape(from));
  }
  return node[3];
}

std::int32_t reduction(NetworkBuilder& b, std::int32_t from, std::int16_t number) {
  const std::int32_t channels = b.shape(from).channels * 2;
  std::int32_t main = relu_conv_bn(b, from, {number, 0, Role::conv1}, channels, 3, 2);
  main = relu_conv_bn(b, main, {number, 0, Role::conv2}, channels, 3, 1);
  std::int32_t side = b.avg_pool(from, {number, 0, Role::downsample}, 2, 2, 0);
  side = b.conv(side, {number, 0, Role::shortcut}, channels, 1, 1);
  return b.add(main, side, {number, 0, Role::join});
}

void NasBench201::lower(const Genotype& g, Network& network) const {
  NetworkBuilder b(network);
  const std::int32_t side = resolutions[g[0]];
  std::int32_t at = b.input({3, side, side});
  at = b.batch_norm(b.conv(at, {0, 0, Role::stem}, 16, 3, 1));
  std::int16_t number = 1;
  for (int stage = 0; stage < 3; ++stage) {
    if (stage > 0) at = reduction(b, at, number++);
    for (int k = 0; k < 5; ++k) at = cell(b, at, g, number++);
  }
  at = b.activation(b.batch_norm(at, {0, 0, Role::head}), Activation::relu);
  at = b.global_pool(at, {0, 1, Role::pool});
  b.linear(at, {0, 0, Role::classifier}, classes, true);
}

}  // namespace

FamilyParts read_nasbench201(JsonReader& reader) {
  auto net = std::make_shared<NasBench201>();
  GeneList genes;
  net->classes = static_cast<std::int32_t>(reader.integer("classes", 1, 1'000'000));
  const std::vector<double> sides = read_values(reader, "resolution", 4, 4096, true);
  net->resolutions.assign(sides.begin(), sides.end());
  genes.add("resolution", "r", number_choices(sides));
  std::vector<Choice> operations;
  for (std::size_t i = 0; i < kNames.size(); ++i) operations.push_back({kNames[i], static_cast<double>(i)});
  for (int to = 1; to < 4; ++to)
    for (int from = 0; from < to; ++from)
      genes.add("node" + std::to_string(to) + ".from" + std::to_string(from), "op", operations);
  return {genes.take(), [net](const Genotype& g, Network& n) { net->lower(g, n); }};
}

}  // namespace nas
