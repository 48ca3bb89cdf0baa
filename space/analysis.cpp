#include "space/analysis.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

#include "space/cost.h"

namespace nas {
namespace {

std::vector<SubSpace> sub_spaces(const SearchSpace& space) {
  std::vector<SubSpace> result{{}};
  for (const char* name : {"width", "resolution"}) {
    const int gene = space.find(name);
    if (gene < 0) continue;
    std::vector<SubSpace> longer;
    const auto& choices = space.genes()[static_cast<std::size_t>(gene)].choices;
    for (const SubSpace& start : result)
      for (std::size_t c = 0; c < choices.size(); ++c) {
        SubSpace next = start;
        next.name += (next.name.empty() ? "" : " ") + std::string(name) + "=" + choices[c].label;
        next.genes.push_back(gene);
        next.choices.push_back(static_cast<std::uint8_t>(c));
        longer.push_back(std::move(next));
      }
    result = std::move(longer);
  }
  return result;
}

Macs quantile(const std::vector<std::int64_t>& sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return Macs(sorted[std::min(sorted.size() - 1, rank == 0 ? 0 : rank - 1)]);
}

void summarise(std::vector<std::int64_t>& macs_of_fitting, std::uint64_t samples, SubSpace& sub) {
  sub.share = static_cast<double>(macs_of_fitting.size()) / static_cast<double>(samples);
  if (macs_of_fitting.empty()) return;
  std::ranges::sort(macs_of_fitting);
  double sum = 0;
  for (const std::int64_t m : macs_of_fitting) sum += static_cast<double>(m);
  sub.mean_macs = sum / static_cast<double>(macs_of_fitting.size());
  sub.p10 = quantile(macs_of_fitting, 0.1);
  sub.p50 = quantile(macs_of_fitting, 0.5);
  sub.p80 = quantile(macs_of_fitting, 0.8);
  sub.p90 = quantile(macs_of_fitting, 0.9);
}

void examine(const SearchSpace& space, const AnalysisOptions& options, std::size_t index, SubSpace& sub) {
  Network network;
  MemoryWorkspace workspace;
  std::vector<std::int64_t> fitting;
  for (std::uint64_t i = 0; i < options.samples; ++i) {
    Rng rng(options.seed, "analyse", index, i);
    Genotype g = space.sample(rng);
    for (std::size_t k = 0; k < sub.genes.size(); ++k)
      g[static_cast<std::size_t>(sub.genes[k])] = sub.choices[k];
    space.lower(space.canonical(std::move(g)), network);
    const Cost c = cost(network, options.memory.precision);
    if (c.weight_bytes > options.max_flash) continue;
    if (peak_memory(network, options.memory, workspace).bytes > options.max_ram) continue;
    fitting.push_back(c.macs.count());
  }
  summarise(fitting, options.samples, sub);
}

}  // namespace

Result<std::vector<SubSpace>> analyse(const SearchSpace& space, const AnalysisOptions& options) {
  if (options.samples == 0) return usage_error("analyse: needs at least 1 sample");
  std::vector<SubSpace> result = sub_spaces(space);
  if (result.front().genes.empty())
    return usage_error("analyse: space " + space.name() +
                       " has no gene \"width\" or \"resolution\" to divide it by");
  tbb::parallel_for(std::size_t{0}, result.size(),
                    [&](std::size_t i) { examine(space, options, i, result[i]); });
  std::ranges::stable_sort(result, [&](const SubSpace& a, const SubSpace& b) {
    const bool a_counts = a.share >= options.min_share, b_counts = b.share >= options.min_share;
    return a_counts != b_counts ? a_counts : a.mean_macs > b.mean_macs;
  });
  return result;
}

}  // namespace nas
