#include "supernet/low_rank/low_rank.h"

#include <algorithm>
#include <cmath>

#include "supernet/low_rank/svd.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {
namespace {

using Ranks = std::map<std::int32_t, std::int32_t>;

constexpr std::uint8_t kFirstFactor = 128;  // of Site::variant, beyond any operation's

bool is_factorable(const Layer& l) {
  return (l.kind == LayerKind::conv && l.groups == 1 && l.kernel == 1) || l.kind == LayerKind::linear;
}

struct Factors {
  std::vector<float> first, second;  // [rank, in], [out, rank]
};

// W ~ U s (V^T / weights): the singular values go half to each side, which keeps both factors of like size.
Factors factors_of(const NamedTensor& w, std::size_t rank, const std::vector<double>* power) {
  const auto out = static_cast<std::size_t>(w.shape[0]), in = static_cast<std::size_t>(w.shape[1]);
  double most = 0;
  for (std::size_t c = 0; power && c < in; ++c) most = std::max(most, (*power)[c]);
  // A channel that is always zero still gets a little: its weights may matter for other images.
  const auto weight = [&](std::size_t c) {
    return power ? std::sqrt(std::max((*power)[c], 1e-6 * most) + 1e-30) : 1.0;
  };
  std::vector<double> a(w.values.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = w.values[i] * weight(i % in);
  const Svd d = svd(a, out, in);
  const std::size_t k = d.s.size();
  Factors f{std::vector<float>(rank * in), std::vector<float>(out * rank)};
  for (std::size_t r = 0; r < std::min(rank, k); ++r) {
    const double root = std::sqrt(d.s[r]);
    for (std::size_t c = 0; c < in; ++c)
      f.first[r * in + c] = static_cast<float>(root * d.v[c * k + r] / weight(c));
    for (std::size_t o = 0; o < out; ++o) f.second[o * rank + r] = static_cast<float>(root * d.u[o * k + r]);
  }
  return f;
}

Layer first_factor(Layer l, std::int32_t rank) {
  l.site.variant = static_cast<std::uint8_t>(l.site.variant + kFirstFactor);
  l.out.channels = rank;
  l.bias = false;
  return l;
}

Result<void> check_ranks(const Network& network, const Ranks& ranks) {
  for (const auto& [index, rank] : ranks) {
    const Layer& l = network.layers[static_cast<std::size_t>(index)];
    if (!is_factorable(l))
      return usage_error("low rank: layer " + layer_name(l) + " is no 1x1 convolution or linear layer");
    if (rank < 1 || l.site.variant >= kFirstFactor)
      return usage_error("low rank: layer " + layer_name(l) +
                         (rank < 1 ? " must keep a rank of at least 1, found " + std::to_string(rank)
                                   : " is a factor already"));
  }
  return {};
}

}  // namespace

std::vector<std::int32_t> factorable_layers(const Network& network) {
  std::vector<std::int32_t> found;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (is_factorable(l) && l.site.variant < kFirstFactor && largest_useful_rank(l) >= 1)
      found.push_back(static_cast<std::int32_t>(i));
  }
  return found;
}

std::int32_t largest_useful_rank(const Layer& l) {
  const std::int64_t out = l.out.channels, in = l.in.channels;
  return static_cast<std::int32_t>((out * in - 1) / (out + in));
}

Result<Network> factored(const Network& network, const Ranks& ranks) {
  NAS_CHECK(check_ranks(network, ranks));
  Network result;
  std::vector<std::int32_t> moved;  // old index -> new
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    Layer l = network.layers[i];
    for (std::int32_t& from : l.inputs)
      if (from >= 0) from = moved[static_cast<std::size_t>(from)];
    if (const auto rank = ranks.find(static_cast<std::int32_t>(i)); rank != ranks.end()) {
      result.layers.push_back(first_factor(l, rank->second));
      l.inputs[0] = static_cast<std::int32_t>(result.layers.size()) - 1;
      l.in = result.layers.back().out;
      l.stride = 1;
    }
    moved.push_back(static_cast<std::int32_t>(result.layers.size()));
    result.layers.push_back(l);
  }
  NAS_CHECK(validate(result));
  return result;
}

Result<std::map<std::int32_t, std::vector<double>>> input_power(const TrainedNetwork& trained,
                                                                std::span<const std::vector<float>> images) {
  NAS_TRY(folded, fold(trained));
  const FloatExecutor executor(folded);
  std::map<std::int32_t, std::vector<double>> power;
  std::vector<std::pair<std::size_t, std::vector<double>*>> places;
  const std::vector<std::int32_t> layers = factorable_layers(trained.network);
  for (const DeployedOp& op : folded.deployment.ops) {
    if (op.part != DeployedPart::main || std::ranges::find(layers, op.layer) == layers.end()) continue;
    auto& sums = power[op.layer];
    sums.resize(static_cast<std::size_t>(op.in.channels));
    places.emplace_back(static_cast<std::size_t>(op.inputs[0]), &sums);
  }
  for (const std::vector<float>& image : images)
    (void)executor.run(image, [&](std::size_t tensor, bool before, std::span<const float> values) {
      for (const auto& [at, sums] : places) {
        const std::size_t positions = values.size() / sums->size();
        const double count = static_cast<double>(positions * images.size());
        for (std::size_t i = 0; !before && at == tensor && i < values.size(); ++i)
          (*sums)[i % sums->size()] += static_cast<double>(values[i]) * values[i] / count;
      }
    });
  return power;
}

Result<TrainedNetwork> factor(const TrainedNetwork& trained, const Ranks& ranks,
                              const std::map<std::int32_t, std::vector<double>>& power) {
  TrainedNetwork t = trained;
  NAS_TRY(network, factored(trained.network, ranks));
  for (const auto& [index, rank] : ranks) {
    const Layer& l = trained.network.layers[static_cast<std::size_t>(index)];
    const auto weighted = power.find(index);
    const std::string name = layer_name(l) + ".weight";
    auto w = std::ranges::find(t.tensors, name, &NamedTensor::name);
    const Factors f =
        factors_of(*w, static_cast<std::size_t>(rank), weighted == power.end() ? nullptr : &weighted->second);
    std::vector<std::int64_t> first{rank, w->shape[1]}, second{w->shape[0], rank};
    for (auto* shape : {&first, &second}) shape->insert(shape->end(), w->shape.begin() + 2, w->shape.end());
    *w = {name, second, f.second};
    t.tensors.push_back({layer_name(first_factor(l, rank)) + ".weight", first, f.first});
  }
  t.network = std::move(network);
  t.provenance.note += ", " + std::to_string(ranks.size()) + " layers of low rank";
  NAS_CHECK(check(t));
  return t;
}

TrainedNetwork projected(TrainedNetwork trained, const Ranks& ranks) {
  for (const auto& [index, rank] : ranks) {
    const std::string name = layer_name(trained.network.layers[static_cast<std::size_t>(index)]) + ".weight";
    auto w = std::ranges::find(trained.tensors, name, &NamedTensor::name);
    const auto out = static_cast<std::size_t>(w->shape[0]), in = static_cast<std::size_t>(w->shape[1]);
    const auto r = static_cast<std::size_t>(rank);
    const Factors f = factors_of(*w, r, nullptr);
    double before = 0, after = 0;
    std::vector<double> product(w->values.size(), 0);
    for (std::size_t o = 0; o < out; ++o)
      for (std::size_t c = 0; c < in; ++c) {
        double& p = product[o * in + c];
        for (std::size_t k = 0; k < r; ++k)
          p += static_cast<double>(f.second[o * r + k]) * f.first[k * in + c];
        after += p * p;
        before += static_cast<double>(w->values[o * in + c]) * w->values[o * in + c];
      }
    const double raise = after > 0 ? std::sqrt(before / after) : 1;
    for (std::size_t i = 0; i < product.size(); ++i) w->values[i] = static_cast<float>(product[i] * raise);
  }
  return trained;
}

}  // namespace nas::supernet
