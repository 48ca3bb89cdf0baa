#include "supernet/low_rank/low_rank.h"

#include <algorithm>
#include <cmath>

#include "supernet/low_rank/svd.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {
namespace {

// W ~ U s (V^T / weights), columns weighted by the root of the power they meet.
Factors factors_of(const NamedTensor& w, std::size_t rank, const std::vector<double>* power) {
  const auto out = static_cast<std::size_t>(w.shape[0]), in = static_cast<std::size_t>(w.shape[1]);
  std::vector<double> weights;
  double most = 0;
  if (power) most = *std::ranges::max_element(*power);
  // A channel that is always zero still gets a little: its weights may matter for other images.
  for (std::size_t c = 0; power && c < in; ++c)
    weights.push_back(std::sqrt(std::max((*power)[c], 1e-6 * most) + 1e-30));
  std::vector<double> a(w.values.begin(), w.values.end());
  for (std::size_t i = 0; power && i < a.size(); ++i) a[i] *= weights[i % in];
  return truncated(svd(a, out, in), rank, weights);
}

}  // namespace

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

Result<TrainedNetwork> factor(const TrainedNetwork& trained, const LayerRanks& ranks,
                              const std::map<std::int32_t, std::vector<double>>& power) {
  TrainedNetwork t = trained;
  NAS_TRY(network, factored(trained.network, ranks));
  std::int32_t before = 0;  // layers in two so far
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
    const Layer& thin = network.layers[static_cast<std::size_t>(index + before++)];
    t.tensors.push_back({layer_name(thin) + ".weight", first, f.first});
  }
  t.network = std::move(network);
  t.provenance.note += ", " + std::to_string(ranks.size()) + " layers of low rank";
  NAS_CHECK(check(t));
  return t;
}

TrainedNetwork projected(TrainedNetwork trained, const LayerRanks& ranks) {
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
