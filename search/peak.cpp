#include "search/peak.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "search/probe_points.h"

namespace nas::search {
namespace {

using Values = std::map<std::uint32_t, double>;  // by place
using Genes = std::set<std::uint32_t>;

// The parts on the full product of choices: inactive genes are put right before asking.
class Probe {
 public:
  Probe(const SearchSpace& space, const PeakParts& parts) : forest_(space), parts_(parts) {}

  const GeneForest& forest() const { return forest_; }
  Values operator()(Genotype g) const {
    forest_.canonicalise(g);
    Values values;
    for (const PeakPart& part : parts_(g)) values[part.place] = part.value;
    return values;
  }

 private:
  GeneForest forest_;
  const PeakParts& parts_;
};

// A place that a network has not needs nothing there.
double at(const Values& values, std::uint32_t place) {
  const auto found = values.find(place);
  return found == values.end() ? 0 : found->second;
}

void add_differences(const Values& a, const Values& b, std::uint32_t gene,
                     std::map<std::uint32_t, Genes>& genes_of) {
  for (const Values* values : {&a, &b})
    for (const auto& [place, value] : *values) {
      Genes& genes = genes_of[place];
      if (at(a, place) != at(b, place)) genes.insert(gene);
    }
}

// Changes one gene after the other around a random point and notes which places feel it.
std::map<std::uint32_t, Genes> dependences(const Probe& probe, int backgrounds, std::uint64_t seed) {
  const GeneForest& forest = probe.forest();
  std::vector<std::map<std::uint32_t, Genes>> found(static_cast<std::size_t>(backgrounds));
  tbb::parallel_for(std::size_t{0}, found.size(), [&](std::size_t b) {
    Rng rng(seed, "peak: probe", static_cast<std::uint64_t>(b));
    Genotype base = random_point(forest, rng);
    if (b % 2 == 0) open_all(forest, base);
    const Values origin = probe(base);
    for (std::uint32_t gene = 0; gene < forest.size(); ++gene)
      for (std::uint32_t choice = 0; choice < forest.choices(gene); ++choice) {
        Genotype g = base;
        g[gene] = static_cast<std::uint8_t>(choice);
        add_differences(origin, probe(g), gene, found[b]);
      }
  });
  std::map<std::uint32_t, Genes> all;
  for (const auto& some : found)
    for (const auto& [place, genes] : some) all[place].insert(genes.begin(), genes.end());
  return all;
}

// The places' values over their genes, those of equal genes in one go; empty where a table would be too
// large.
std::map<std::uint32_t, Term> tabulate(const Probe& probe, const std::map<std::uint32_t, Genes>& genes_of,
                                       std::size_t max_table) {
  std::map<std::uint32_t, Term> terms;
  std::map<Genes, std::vector<std::uint32_t>> places_of;
  for (const auto& [place, genes] : genes_of) {
    terms[place].genes.assign(genes.begin(), genes.end());
    std::size_t size = 1;
    for (const std::uint32_t gene : genes)
      size = std::min(size, max_table + 1) * probe.forest().choices(gene);
    if (size > max_table) continue;
    terms[place].table.resize(size);
    places_of[genes].push_back(place);
  }
  for (const auto& [genes, places] : places_of) {
    const Term& first = terms.at(places[0]);
    tbb::parallel_for(std::size_t{0}, first.table.size(), [&, p = &places](std::size_t entry) {
      const Values values = probe(point_of(probe.forest(), first.genes, entry));
      for (const std::uint32_t place : *p) terms.at(place).table[entry] = at(values, place);
    });
  }
  return terms;
}

// The peak of every network, where they are few; else an empty table.
Term whole_space(const Probe& probe, std::size_t max_table) {
  Term term;
  std::size_t size = 1;
  for (std::uint32_t gene = 0; gene < probe.forest().size(); ++gene) {
    size = std::min(size, max_table + 1) * probe.forest().choices(gene);
    term.genes.push_back(gene);
  }
  if (size > max_table) return term;
  term.table.resize(size);
  tbb::parallel_for(std::size_t{0}, size, [&](std::size_t entry) {
    for (const auto& [place, value] : probe(point_of(probe.forest(), term.genes, entry)))
      term.table[entry] = std::max(term.table[entry], value);
  });
  return term;
}

double entry_at(const GeneForest& forest, const Term& term, const Genotype& g) {
  std::size_t index = 0;
  for (const std::uint32_t gene : term.genes) index = index * forest.choices(gene) + g[gene];
  return term.table[index];
}

// Places whose table is wrong, or that have none, on fresh random points.
std::set<std::uint32_t> wrong_places(const Probe& probe, const std::map<std::uint32_t, Term>& terms,
                                     const PeakOptions& options) {
  std::vector<std::vector<std::uint32_t>> wrong(static_cast<std::size_t>(options.checks));
  tbb::parallel_for(std::size_t{0}, wrong.size(), [&](std::size_t i) {
    Rng rng(options.seed, "peak: check", 0, i);
    Genotype g = random_point(probe.forest(), rng);
    if (i % 2 == 0) open_all(probe.forest(), g);
    probe.forest().canonicalise(g);
    const Values values = probe(g);
    for (const auto& [place, value] : values)
      if (!terms.contains(place)) wrong[i].push_back(place);
    for (const auto& [place, term] : terms)
      if (term.table.empty() || entry_at(probe.forest(), term, g) != at(values, place))
        wrong[i].push_back(place);
  });
  std::set<std::uint32_t> all;
  for (const auto& some : wrong) all.insert(some.begin(), some.end());
  return all;
}

// Leaves out the terms that another one always reaches.
std::vector<Term> deciding(std::map<std::uint32_t, Term> terms) {
  double floor = 0;
  for (const auto& [place, term] : terms) floor = std::max(floor, std::ranges::min(term.table));
  std::vector<Term> kept;
  bool floor_kept = false;
  for (auto& [place, term] : terms) {
    const bool is_floor = !floor_kept && std::ranges::min(term.table) == floor;
    if (!is_floor && std::ranges::max(term.table) <= floor) continue;
    floor_kept = floor_kept || is_floor;
    kept.push_back(std::move(term));
  }
  return kept;
}

}  // namespace

Result<Peak> Peak::make(const SearchSpace& space, std::vector<Term> terms, bool exact) {
  NAS_TRY(tables, TermTables::make(space, std::move(terms)));
  Peak peak;
  peak.exact_ = exact;
  peak.tables_ = std::move(tables);
  return peak;
}

double Peak::operator()(std::span<const std::uint8_t> genes) const {
  double most = 0;
  tables_.look_up(genes, [&most](double value) { most = std::max(most, value); });
  return most;
}

Peak Peak::scaled(double factor) const {
  Peak other = *this;
  other.tables_.scale(factor);
  return other;
}

Result<Peak> compile_peak(const SearchSpace& space, const PeakParts& parts, const PeakOptions& options) {
  const Probe probe(space, parts);
  if (auto all = whole_space(probe, options.max_table); !all.table.empty())
    return Peak::make(space, {std::move(all)});
  std::map<std::uint32_t, Term> terms;
  std::set<std::uint32_t> wrong;
  // Rare dependences hide from few points: a second round with more of them before giving up.
  for (const int backgrounds : {options.backgrounds, 6 * options.backgrounds}) {
    terms = tabulate(probe, dependences(probe, backgrounds, options.seed), options.max_table);
    wrong = wrong_places(probe, terms, options);
    if (wrong.empty()) break;
  }
  for (const std::uint32_t place : wrong) terms.erase(place);
  return Peak::make(space, deciding(std::move(terms)), wrong.empty());
}

}  // namespace nas::search
