#include <cmath>
#include <memory>

#include "space/family.h"
#include "space/network_builder.h"

namespace nas {
namespace {

// AutoFormer's elastic vision transformer (Chen et al., ICCV 2021): embedding width and depth of the whole
// network, heads (64 channels each) and MLP ratio of every layer. Relative position tables are left out. Its
// MLPs' linear layers may keep a share of their rank (space/low_rank.h).
struct AutoFormer {
  std::int32_t classes = 1000;
  std::int32_t patch = 16;
  std::vector<std::int32_t> resolutions, widths, depths, heads;
  std::vector<double> ratios, ranks;
  int width_gene = -1, depth_gene = -1;
  std::vector<int> head_gene, ratio_gene, rank_gene;  // rank_gene is empty where there is one rank

  void lower(const Genotype& g, Network& network) const;
};

constexpr std::int32_t kHeadWidth = 64;

void AutoFormer::lower(const Genotype& g, Network& network) const {
  const auto choice = [&](int gene) { return g[static_cast<std::size_t>(gene)]; };
  NetworkBuilder b(network);
  const std::int32_t side = resolutions[g[0]];
  const std::int32_t width = widths[choice(width_gene)];
  std::int32_t at = b.input({3, side, side});
  at = b.patch_embed(at, {0, 0, Role::embed}, width, patch);
  at = b.positional(at, {0, 0, Role::position}, true);
  for (std::int32_t k = 0; k < depths[choice(depth_gene)]; ++k) {
    const auto layer = static_cast<std::size_t>(k);
    const auto site = [&](Role role) { return Site{1, static_cast<std::int16_t>(k + 1), role}; };
    const std::int32_t h = heads[choice(head_gene[layer])];
    const auto middle = static_cast<std::int32_t>(width * ratios[choice(ratio_gene[layer])]);
    std::int32_t branch = b.layer_norm(at, site(Role::norm1));
    branch = b.attention(branch, site(Role::attention), h * kHeadWidth, h);
    at = b.add(branch, at, site(Role::join));
    branch = b.layer_norm(at, site(Role::norm2));
    b.set_rank(rank_gene.empty() ? ranks[0] : ranks[choice(rank_gene[layer])]);
    branch = b.activation(b.linear(branch, site(Role::mlp_up), middle, true), Activation::gelu);
    branch = b.linear(branch, site(Role::mlp_down), width, true);
    at = b.add(branch, at, site(Role::join));
  }
  b.set_rank(1);
  at = b.layer_norm(at, {0, 0, Role::norm3});
  at = b.global_pool(at, {0, 1, Role::pool});
  b.linear(at, {0, 0, Role::classifier}, classes, true);
}

}  // namespace

FamilyParts read_autoformer(JsonReader& reader) {
  auto net = std::make_shared<AutoFormer>();
  GeneList genes;
  const auto whole = [&](const char* key, double low, double high) {
    const std::vector<double> v = read_values(reader, key, low, high, true);
    return std::vector<std::int32_t>(v.begin(), v.end());
  };
  const auto add = [&](const std::string& name, const char* family, const auto& values) {
    return genes.add(name, family, number_choices({values.begin(), values.end()}));
  };
  net->classes = static_cast<std::int32_t>(reader.integer("classes", 1, 1'000'000));
  net->patch = static_cast<std::int32_t>(reader.integer("patch", 1, 256, 16));
  net->resolutions = whole("resolution", 1, 4096);
  net->widths = whole("width", 1, 16384);
  net->depths = whole("depth", 1, 64);
  net->heads = whole("heads", 1, 256);
  net->ratios = read_values(reader, "mlp_ratio", 0.1, 16, false);
  net->ranks = read_values(reader, "rank", 0.01, 1, false, std::vector<double>{1});
  if (net->resolutions.front() < net->patch)
    reader.fail("resolution", std::to_string(net->resolutions.front()) + " is smaller than one patch of " +
                                  std::to_string(net->patch));
  add("resolution", "r", net->resolutions);
  net->width_gene = add("width", "w", net->widths);
  net->depth_gene = add("depth", "d", net->depths);
  for (std::int32_t k = 0; k < net->depths.back(); ++k) {
    std::uint8_t low = 0;
    while (net->depths[low] <= k) ++low;
    if (low > 0) genes.depend_on(net->depth_gene, low);
    const std::string prefix = "stage1.block" + std::to_string(k + 1) + ".";
    net->head_gene.push_back(add(prefix + "heads", "h", net->heads));
    net->ratio_gene.push_back(add(prefix + "mlp_ratio", "m", net->ratios));
    if (net->ranks.size() > 1) net->rank_gene.push_back(add(prefix + "rank", "rank", net->ranks));
    genes.depend_on(-1);
  }
  return {genes.take(), [net](const Genotype& g, Network& n) { net->lower(g, n); }};
}

}  // namespace nas
