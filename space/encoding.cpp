#include "space/encoding.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "space/fusion.h"

namespace nas {
namespace {

// Whether the genes below show which choice this one has: between any two neighbouring choices the set of
// active children changes.
bool given_away(std::span<const Gene> genes, std::size_t gene) {
  for (std::size_t c = 1; c < genes[gene].choices.size(); ++c) {
    const bool seen = std::ranges::any_of(genes, [&](const Gene& child) {
      if (child.parent != static_cast<int>(gene)) return false;
      const auto inside = [&](std::size_t choice) {
        return choice >= child.parent_low && choice <= child.parent_high;
      };
      return inside(c - 1) != inside(c);
    });
    if (!seen) return false;
  }
  return genes[gene].choices.size() > 1;
}

Result<std::vector<std::int32_t>> positions(const Gene& gene, std::span<const double> values) {
  std::vector<std::int32_t> place(gene.choices.size(), -1);
  for (std::size_t v = 0; v < values.size(); ++v) {
    const auto found = std::ranges::find(gene.choices, values[v], &Choice::value);
    if (found == gene.choices.end())
      return usage_error("encoding: resolution " + std::to_string(static_cast<int>(values[v])) +
                         " is not among the space's choices");
    place[static_cast<std::size_t>(found - gene.choices.begin())] = static_cast<std::int32_t>(v);
  }
  return place;
}

// What predictors tell apart: a kind of layer, convolutions by their grouping.
enum Kind : std::size_t { kDense, kPointwise, kGrouped, kDepthwise, kOther };
constexpr std::size_t kKinds = kOther + static_cast<std::size_t>(LayerKind::attention) + 1;
constexpr std::size_t kSums = 4;
constexpr std::size_t kTotals = 6;

std::size_t kind_of(const Layer& l) {
  if (l.kind != LayerKind::conv) return kOther + static_cast<std::size_t>(l.kind);
  if (is_depthwise(l)) return kDepthwise;
  if (l.groups > 1) return kGrouped;
  return l.kernel == 1 ? kPointwise : kDense;
}

std::string kind_name(std::size_t kind) {
  constexpr std::array<const char*, 4> kConv{"dense", "pointwise", "grouped", "depthwise"};
  if (kind < kOther) return kConv[kind];
  return std::string(to_string(static_cast<LayerKind>(kind - kOther)));
}

bool listed(std::size_t kind) {  // `conv` itself is split into four
  return kind < kOther || (kind != kOther + static_cast<std::size_t>(LayerKind::conv) &&
                           kind != kOther + static_cast<std::size_t>(LayerKind::input) &&
                           kind != kOther + static_cast<std::size_t>(LayerKind::zero));
}

float log_size(std::int64_t value) { return static_cast<float>(std::log2(1.0 + static_cast<double>(value))); }

constexpr std::array<const char*, 11> kLayerNumbers{
    "log_macs",   "log_weight_bytes", "log_input_bytes", "log_output_bytes", "log_channels", "log_height",
    "log_kernel", "log_stride",       "log_groups",      "log_hidden",       "log_heads"};

std::vector<std::string> make_network_names() {
  std::vector<std::string> names{"layers", "macs", "params", "weight_bytes", "output_bytes", "input_height"};
  for (std::size_t k = 0; k < kKinds; ++k)
    if (listed(k))
      for (const char* sum : {"count", "macs", "weight_bytes", "output_bytes"})
        names.push_back(kind_name(k) + "." + sum);
  return names;
}

std::vector<std::string> make_layer_names() {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < kKinds; ++k)
    if (listed(k)) names.push_back(kind_name(k));
  names.insert(names.end(), kLayerNumbers.begin(), kLayerNumbers.end());
  return names;
}

}  // namespace

Result<Encoding> Encoding::make(const SearchSpace& space, EncodingForm form,
                                std::span<const double> resolutions) {
  Encoding e;
  e.form_ = form;
  const std::span<const Gene> genes = space.genes();
  const int resolution = space.find("resolution");
  for (const Gene& gene : genes) e.parents_.push_back({gene.parent, gene.parent_low, gene.parent_high});
  for (std::size_t i = 0; i < genes.size(); ++i) {
    const Gene& gene = genes[i];
    if (form == EncodingForm::compact && given_away(genes, i)) continue;
    Slot slot{static_cast<std::int32_t>(i), static_cast<std::int32_t>(e.names_.size()),
              static_cast<std::int32_t>(gene.choices.size())};
    if (form == EncodingForm::ordinal) {
      e.names_.push_back(gene.name);
    } else if (static_cast<int>(i) == resolution && !resolutions.empty()) {
      NAS_TRY(place, positions(gene, resolutions));
      slot.remap = static_cast<std::int32_t>(e.remap_.size());
      e.remap_.insert(e.remap_.end(), place.begin(), place.end());
      for (const double r : resolutions)
        e.names_.push_back(gene.name + "=" + std::to_string(static_cast<int>(r)));
    } else {
      for (const Choice& c : gene.choices) e.names_.push_back(gene.name + "=" + c.label);
    }
    e.slots_.push_back(slot);
  }
  return e;
}

bool Encoding::active(const Genotype& g, std::int32_t gene) const {
  for (Parent p = parents_[static_cast<std::size_t>(gene)]; p.gene >= 0;
       p = parents_[static_cast<std::size_t>(p.gene)]) {
    const std::uint8_t choice = g[static_cast<std::size_t>(p.gene)];
    if (choice < p.low || choice > p.high) return false;
  }
  return true;
}

Result<void> Encoding::encode(const Genotype& g, std::span<float> out) const {
  assert(out.size() == size() && g.size() == parents_.size());
  std::ranges::fill(out, 0.0f);
  for (const Slot& slot : slots_) {
    if (!active(g, slot.gene)) continue;
    const std::int32_t choice = g[static_cast<std::size_t>(slot.gene)];
    if (form_ == EncodingForm::ordinal) {
      out[static_cast<std::size_t>(slot.first)] =
          static_cast<float>(choice + 1) / static_cast<float>(slot.choices);
      continue;
    }
    std::int32_t place = choice;
    if (slot.remap >= 0)
      place = remap_[static_cast<std::size_t>(slot.remap) + static_cast<std::size_t>(choice)];
    if (place < 0) return usage_error("encoding: the architecture's resolution is none of the encoded ones");
    out[static_cast<std::size_t>(slot.first) + static_cast<std::size_t>(place)] = 1.0f;
  }
  return {};
}

const std::vector<std::string>& network_feature_names() {
  static const std::vector<std::string> names = make_network_names();
  return names;
}

void network_features(const Network& network, Precision precision, std::span<float> out) {
  assert(out.size() == network_feature_names().size());
  std::array<std::array<double, kSums>, kKinds> sums{};
  double params_sum = 0;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    auto& sum = sums[kind_of(l)];
    sum[0] += 1;
    sum[1] += static_cast<double>(macs(l).count());
    sum[2] += static_cast<double>(weight_bytes(network, i, precision).count());
    sum[3] += static_cast<double>(output_bytes(l, precision).count());
    params_sum += static_cast<double>(params(l).count());
  }
  std::array<double, kSums> all{};
  std::size_t at = kTotals;
  for (std::size_t k = 0; k < kKinds; ++k)
    for (std::size_t s = 0; s < kSums; ++s) {
      all[s] += sums[k][s];
      if (listed(k)) out[at++] = static_cast<float>(sums[k][s]);
    }
  const double height = network.layers.empty() ? 0 : network.layers[0].out.height;
  const std::array<double, kTotals> totals{all[0], all[1], params_sum, all[2], all[3], height};
  for (std::size_t t = 0; t < kTotals; ++t) out[t] = static_cast<float>(totals[t]);
}

const std::vector<std::string>& layer_feature_names() {
  static const std::vector<std::string> names = make_layer_names();
  return names;
}

std::vector<float> layer_features(const Network& network, Precision precision) {
  std::vector<std::size_t> column(kKinds, 0);
  std::size_t kinds = 0;
  for (std::size_t k = 0; k < kKinds; ++k)
    if (listed(k)) column[k] = kinds++;
  Fusion fusion;
  fuse(network, {}, fusion);
  std::vector<float> rows;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    const bool idle = l.kind == LayerKind::input || l.kind == LayerKind::zero;
    if (idle || fusion.anchor[i] != static_cast<std::int32_t>(i)) continue;
    const std::size_t start = rows.size();
    rows.resize(start + kinds, 0.0f);
    rows[start + column[kind_of(l)]] = 1.0f;
    const Layer& source = network.layers[static_cast<std::size_t>(l.inputs[0])];
    const std::array<std::int64_t, kLayerNumbers.size()> numbers{macs(l).count(),
                                                                 weight_bytes(network, i, precision).count(),
                                                                 output_bytes(source, precision).count(),
                                                                 output_bytes(l, precision).count(),
                                                                 l.out.channels,
                                                                 l.out.height,
                                                                 l.kernel,
                                                                 l.stride,
                                                                 l.groups,
                                                                 l.hidden,
                                                                 l.heads};
    for (const std::int64_t n : numbers) rows.push_back(log_size(n));
  }
  return rows;
}

}  // namespace nas
