#include "apps/compress/ratio_search.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "search/run.h"
#include "search/strategies.h"
#include "space/base/hash.h"

namespace nas::apps {
namespace {

using supernet::ChannelGroup;
using Counts = std::vector<std::int32_t>;

// The network's inner widths as a search space; choices ascend, so the last one is the network itself.
Result<SearchSpace> widths(const Network& network, const std::vector<ChannelGroup>& groups,
                           const supernet::PruneSensitivity& sensitivity) {
  std::vector<Gene> genes;
  std::string text = "inner widths of a network:";
  for (std::size_t g = 0; g < groups.size(); ++g) {
    Gene gene{supernet::group_name(network, groups[g]), "w", {}};
    for (auto n = sensitivity.kept[g].rbegin(); n != sensitivity.kept[g].rend(); ++n)
      gene.choices.push_back({std::to_string(*n), static_cast<double>(*n)});
    text += " " + gene.name;
    genes.push_back(std::move(gene));
  }
  const auto lower = [network, groups, genes](const Genotype& g, Network& out) {
    Counts kept;
    for (std::size_t i = 0; i < g.size(); ++i)
      kept.push_back(static_cast<std::int32_t>(genes[i].choices[g[i]].value));
    out = *supernet::narrowed(network, groups, kept);
  };
  return SearchSpace::make("inner-widths", text, genes, lower);
}

Counts counts_of(const SearchSpace& space, const Genotype& g) {
  Counts kept;
  for (std::size_t i = 0; i < g.size(); ++i)
    kept.push_back(static_cast<std::int32_t>(space.value(g, static_cast<int>(i))));
  return kept;
}

search::Evaluator evaluator_of(const SearchSpace& space, const supernet::NetworkCost& cost, double limit,
                               const LossOf& loss) {
  search::Evaluator evaluator{
      {{"loss", "", search::Source::measured}, {"cost", "", search::Source::modelled}},
      search::ThreadSafety::one_at_a_time,
      nullptr};
  evaluator.score = [&space, &cost, limit, &loss](std::span<const Genotype> batch, double,
                                                  search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto c = cost(space.lower(batch[i]));
      if (!c) throw std::runtime_error(c.error().message);
      // What is too expensive is not worth measuring; its cost says how far off it is.
      const auto l = *c <= limit ? loss(counts_of(space, batch[i])) : Result<double>(1e3);
      if (!l) throw std::runtime_error(l.error().message);
      scores.row(i)[0] = *l;
      scores.row(i)[1] = *c;
    }
  };
  return evaluator;
}

}  // namespace

Result<RatioSearch> search_ratios(const Network& network, const std::vector<ChannelGroup>& groups,
                                  const supernet::PruneSensitivity& sensitivity,
                                  const supernet::NetworkCost& cost, double limit,
                                  const std::vector<Counts>& starts, const LossOf& loss,
                                  std::size_t evaluations, std::uint64_t seed) {
  RatioSearch found;
  found.loss = std::numeric_limits<double>::infinity();
  for (const Counts& start : starts) {
    NAS_TRY(l, loss(start));
    found.start_loss.push_back(l);
    if (l < found.loss) {
      found.loss = l;
      found.kept = start;
    }
  }
  NAS_TRY(space, widths(network, groups, sensitivity));
  const search::Evaluator evaluator = evaluator_of(space, cost, limit, loss);
  NAS_TRY(judge, search::Judge::make({{{"loss"}}, {{"cost", {}, limit}}}, evaluator.metrics));
  search::StrategyConfig config;
  config.name = "ageing-evolution";
  NAS_TRY(strategy, search::make_strategy(config, search::make_setting(space, judge, seed)));
  search::RunOptions options;
  options.budget.evaluations = evaluations;
  options.track_hypervolume = false;
  NAS_TRY(run, search::run_search(space, judge, evaluator, strategy, options));
  found.evaluations = run.progress.evaluations + starts.size();
  if (const auto best = run.history.best(); best && run.history.values(*best)[0] < found.loss) {
    found.loss = run.history.values(*best)[0];
    found.kept = counts_of(space, run.history.genotype(*best));
  }
  return found;
}

}  // namespace nas::apps
