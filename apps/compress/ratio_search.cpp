#include "apps/compress/ratio_search.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "search/evolution.h"
#include "search/run.h"

namespace nas::apps {
namespace {

using supernet::ChannelGroup;
using Counts = std::vector<std::int32_t>;

constexpr std::size_t kPopulation = 24;
// Networks that break the limit cost next to nothing; they only must not go on for ever.
constexpr std::size_t kProposalsAnEvaluation = 50;

// The network's inner widths as a search space; choices ascend, so the last one is the network itself.
Result<SearchSpace> widths(const Network& network, const std::vector<ChannelGroup>& groups,
                           const supernet::PruneSensitivity& sensitivity,
                           const std::vector<RatioStart>& starts) {
  std::vector<Gene> genes;
  std::string text = "inner widths of a network:";
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::set<std::int32_t> counts(sensitivity.kept[g].begin(), sensitivity.kept[g].end());
    for (const RatioStart& start : starts) counts.insert(start.kept[g]);
    Gene gene{supernet::group_name(network, groups[g]), "w", {}};
    for (const std::int32_t n : counts) gene.choices.push_back({std::to_string(n), static_cast<double>(n)});
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

Genotype genotype_of(const SearchSpace& space, const Counts& kept) {
  Genotype g(kept.size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    const auto& choices = space.genes()[i].choices;
    const auto at = std::ranges::find(choices, static_cast<double>(kept[i]), &Choice::value);
    g[i] = static_cast<std::uint8_t>(at - choices.begin());
  }
  return g;
}

// Ageing evolution whose first generation is the starts and their mutants.
class FromStarts {
 public:
  FromStarts(search::Setting setting, std::vector<Genotype> starts)
      : evolution_(setting, {kPopulation, 6, 4, 0}),
        variation_(std::move(setting)),
        starts_(std::move(starts)) {}

  void ask(const search::History& history, search::Ask& ask) {
    if (begun_) return evolution_.ask(history, ask);
    for (std::size_t i = 0; i < kPopulation; ++i) {
      search::Proposal& proposal = ask.add();
      proposal.genotype = starts_[i % starts_.size()];
      proposal.origin = search::Origin::initial;
      if (i < starts_.size()) continue;
      Rng rng(variation_.setting().seed, "ratios: first", i);
      variation_.mutate_genes(starts_[i % starts_.size()], proposal.genotype, rng, 0.3);
    }
  }
  void tell(const search::History& history, std::span<const search::Row> rows) {
    begun_ = true;
    evolution_.tell(history, rows);
  }
  void save(nlohmann::json& out) const { evolution_.save(out); }
  Result<void> load(const nlohmann::json& state) {
    begun_ = true;
    return evolution_.load(state);
  }

 private:
  search::AgeingEvolution evolution_;
  search::Variation variation_;
  std::vector<Genotype> starts_;
  bool begun_ = false;
};

search::Evaluator evaluator_of(const SearchSpace& space, const supernet::NetworkCost& cost, double limit,
                               const LossOf& loss, std::size_t& measured) {
  search::Evaluator evaluator{
      {{"loss", "", search::Source::measured}, {"cost", "", search::Source::modelled}},
      search::ThreadSafety::one_at_a_time,
      nullptr};
  evaluator.score = [&space, &cost, limit, &loss, &measured](std::span<const Genotype> batch, double,
                                                             search::Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto c = cost(space.lower(batch[i]));
      if (!c) throw std::runtime_error(c.error().message);
      // What is too expensive is not worth measuring; its cost says how far off it is.
      const bool holds = *c <= limit;
      const auto l = holds ? loss(counts_of(space, batch[i])) : Result<double>(1e3);
      if (!l) throw std::runtime_error(l.error().message);
      measured += holds ? 1 : 0;
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
                                  const std::vector<RatioStart>& starts, const LossOf& loss,
                                  std::size_t evaluations, std::uint64_t seed) {
  NAS_TRY(space, widths(network, groups, sensitivity, starts));
  std::vector<Genotype> first;
  for (const RatioStart& start : starts) first.push_back(genotype_of(space, start.kept));
  std::size_t measured = 0;
  const search::Evaluator evaluator = evaluator_of(space, cost, limit, loss, measured);
  NAS_TRY(judge, search::Judge::make({{{"loss"}}, {{"cost", {}, limit}}}, evaluator.metrics));
  search::Strategy strategy("ageing-evolution", FromStarts(search::make_setting(space, judge, seed), first));
  search::RunOptions options;
  options.budget.evaluations = evaluations * kProposalsAnEvaluation;
  options.stop = [&] { return measured >= evaluations; };
  options.track_hypervolume = false;
  NAS_TRY(run, search::run_search(space, judge, evaluator, strategy, options));
  RatioSearch found;
  found.evaluations = measured;
  const auto best = run.history.best();
  if (!best)
    return Error{"the search for ratios found nothing that holds the limit", "", ErrorKind::infeasible};
  found.loss = run.history.values(*best)[0];
  found.kept = counts_of(space, run.history.genotype(*best));
  for (const Genotype& start : first)
    found.start_loss.push_back(run.history.values(*run.history.find({start.data(), start.size()}))[0]);
  return found;
}

}  // namespace nas::apps
