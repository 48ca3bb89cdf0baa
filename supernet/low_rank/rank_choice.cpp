#include <algorithm>

#include "supernet/low_rank/low_rank.h"
#include "supernet/quantize/simulation.h"

namespace nas::supernet {
namespace {

constexpr double kShares[] = {0.75, 0.5, 0.35, 0.25};

}  // namespace

Result<LayerRanks> ranks_within(const TrainedNetwork& trained,
                                const std::map<std::int32_t, std::vector<double>>& power,
                                std::span<const std::vector<float>> images, const NetworkCost& cost,
                                double limit) {
  const std::vector<std::int32_t> layers = factorable_layers(trained.network);
  NAS_TRY(whole, cost(trained.network));
  NAS_TRY(folded, fold(trained));
  const auto exact = outputs(FloatExecutor(folded), images);
  std::vector<std::vector<Option>> items;
  std::vector<std::vector<std::int32_t>> choices;
  double floor = whole;  // what every layer at its cheapest leaves
  for (const std::int32_t layer : layers) {
    items.push_back({{0, 0}});
    choices.push_back({0});
    for (const double share : kShares) {
      const std::int32_t rank = useful_rank(trained.network.layers[static_cast<std::size_t>(layer)], share);
      if (rank == 0) continue;
      NAS_TRY(thin, factor(trained, {{layer, rank}}, power));
      NAS_TRY(now, cost(thin.network));
      NAS_TRY(thin_folded, fold(thin));
      items.back().push_back(
          {now - whole, relative_error(exact, outputs(FloatExecutor(thin_folded), images))});
      choices.back().push_back(rank);
    }
    const double least = std::ranges::min_element(items.back(), {}, &Option::cost)->cost;
    for (Option& option : items.back()) option.cost -= least;
    floor += least;
  }
  const auto chosen = least_error(items, limit - floor);
  if (!chosen)
    return Error{"low rank cannot reach " + std::to_string(limit) +
                     "; at the lowest ranks the network costs " + std::to_string(floor),
                 "", ErrorKind::infeasible};
  LayerRanks ranks;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (choices[i][(*chosen)[i]] > 0) ranks[layers[i]] = choices[i][(*chosen)[i]];
  return ranks;
}

}  // namespace nas::supernet
