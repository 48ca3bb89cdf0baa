#include "supernet/prune/sensitivity.h"

#include <algorithm>
#include <string>

#include "supernet/quantize/simulation.h"

namespace nas::supernet {
namespace {

constexpr int kHalvings = 14;

KeptChannels all_channels(const std::vector<ChannelGroup>& groups) {
  KeptChannels kept;
  for (const ChannelGroup& group : groups)
    kept.push_back(
        best_channels(std::vector<double>(static_cast<std::size_t>(group.channels)), group.channels));
  return kept;
}

Result<double> cost_with(const Network& network, const std::vector<ChannelGroup>& groups,
                         const std::vector<std::int32_t>& kept, const NetworkCost& cost) {
  NAS_TRY(narrow, narrowed(network, groups, kept));
  return cost(narrow);
}

}  // namespace

Result<PruneSensitivity> prune_sensitivity(const TrainedNetwork& trained,
                                           const std::vector<ChannelGroup>& groups,
                                           const std::vector<std::vector<double>>& scores,
                                           const std::vector<ChannelStatistics>& statistics,
                                           std::span<const std::vector<float>> images,
                                           std::int32_t multiple) {
  NAS_TRY(whole, fold(trained));
  const auto exact = outputs(FloatExecutor(whole), images);
  PruneSensitivity found;
  KeptChannels kept = all_channels(groups);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    found.kept.emplace_back();
    found.error.emplace_back();
    const std::vector<std::int32_t> all = kept[g];
    for (const double ratio : kPruneRatios) {
      const std::int32_t n =
          ratio == 0 ? groups[g].channels : std::max(1, kept_at(groups[g].channels, ratio, multiple));
      if (!found.kept.back().empty() && n == found.kept.back().back()) continue;
      kept[g] = best_channels(scores[g], n);
      NAS_TRY(pruned, prune_channels(trained, groups, kept, statistics));
      NAS_TRY(folded, fold(pruned));
      found.kept.back().push_back(n);
      found.error.back().push_back(relative_error(exact, outputs(FloatExecutor(folded), images)));
    }
    kept[g] = all;
  }
  return found;
}

Result<std::vector<std::int32_t>> kept_within(const Network& network, const std::vector<ChannelGroup>& groups,
                                              const PruneSensitivity& sensitivity, const NetworkCost& cost,
                                              double limit) {
  std::vector<std::int32_t> kept, least;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    kept.push_back(groups[g].channels);
    least.push_back(sensitivity.kept[g].back());
  }
  NAS_TRY(whole, cost(network));
  if (whole <= limit) return kept;
  NAS_TRY(narrowest, cost_with(network, groups, least, cost));
  const Error none{"pruning inside blocks cannot reach " + std::to_string(limit) +
                       "; with the fewest channels the network costs " + std::to_string(narrowest),
                   "", ErrorKind::infeasible};
  if (narrowest > limit) return none;
  // Costs count from what each group takes when it alone is as narrow as can be.
  std::vector<std::vector<Option>> items;
  double least_sum = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    items.emplace_back();
    for (std::size_t r = 0; r < sensitivity.kept[g].size(); ++r) {
      std::vector<std::int32_t> one = kept;
      one[g] = sensitivity.kept[g][r];
      NAS_TRY(c, cost_with(network, groups, one, cost));
      items.back().push_back({c, sensitivity.error[g][r]});
    }
    const double floor = items.back().back().cost;
    for (Option& o : items.back()) o.cost -= floor;
    least_sum += whole - floor;
  }
  // Savings of neighbouring groups overlap: the room for options is found by halving.
  std::vector<std::int32_t> best = least;
  double low = 0, high = std::max(limit - (whole - least_sum), 0.0);
  for (int i = 0; i < kHalvings; ++i) {
    const double room = i == 0 ? high : (low + high) / 2;
    const auto chosen = least_error(items, room);
    for (std::size_t g = 0; chosen && g < groups.size(); ++g) kept[g] = sensitivity.kept[g][(*chosen)[g]];
    NAS_TRY(now, cost_with(network, groups, kept, cost));
    const bool fits = chosen && now <= limit;
    if (fits) best = kept;
    if (fits && i == 0) break;
    (fits ? low : high) = room;
  }
  return best;
}

}  // namespace nas::supernet
