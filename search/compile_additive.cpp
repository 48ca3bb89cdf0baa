#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "search/additive.h"
#include "search/probe_points.h"
#include "search/text.h"

namespace nas::search {
namespace {

using Clique = std::vector<std::uint32_t>;
using Graph = std::vector<std::vector<bool>>;

// The costs on the full product of choices: inactive genes are put right before asking.
class Probe {
 public:
  Probe(const SearchSpace& space, const Costs& costs, std::size_t count)
      : forest_(space), costs_(costs), count_(count) {}

  const GeneForest& forest() const { return forest_; }
  std::size_t count() const { return count_; }
  void operator()(Genotype g, std::span<double> out) const {
    forest_.canonicalise(g);
    costs_(g, out);
  }

 private:
  GeneForest forest_;
  const Costs& costs_;
  std::size_t count_;
};

// One random point with one other choice per gene, and the costs of all single and pairwise changes.
void probe_pairs(const Probe& probe, Rng& rng, bool open, double tolerance, std::vector<Graph>& graphs) {
  const GeneForest& forest = probe.forest();
  const std::size_t n = forest.size(), m = probe.count();
  Genotype base = random_point(forest, rng);
  if (open) open_all(forest, base);
  Genotype other = base;
  for (std::size_t i = 0; i < n; ++i)
    if (forest.choices(i) > 1)
      other[i] =
          static_cast<std::uint8_t>((base[i] + 1 + rng.below(forest.choices(i) - 1)) % forest.choices(i));
  std::vector<double> pair(n * n * m, 0.0), origin(m);
  probe(base, origin);
  // Entry (i, i) holds the single change.
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t i) {
    for (std::size_t j = i; j < n; ++j) {
      if (forest.choices(i) < 2 || forest.choices(j) < 2) continue;
      Genotype g = base;
      g[i] = other[i];
      g[j] = other[j];
      probe(g, std::span(pair).subspan((i * n + j) * m, m));
    }
  });
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j) {
      if (forest.choices(i) < 2 || forest.choices(j) < 2) continue;
      for (std::size_t c = 0; c < m; ++c) {
        const double together =
            pair[(i * n + j) * m + c] - pair[(i * n + i) * m + c] - pair[(j * n + j) * m + c] + origin[c];
        const double scale = std::abs(origin[c]) + std::abs(pair[(i * n + j) * m + c]);
        // NaN counts as acting together: the check at the end reports it.
        if (!(std::abs(together) <= 0.01 * tolerance * scale)) graphs[c][i][j] = graphs[c][j][i] = true;
      }
    }
}

// Maximal cliques (Bron and Kerbosch 1973, with a pivot).
void grow_cliques(const Graph& graph, Clique& clique, Clique candidates, Clique excluded,
                  std::vector<Clique>& out, std::size_t limit) {
  if (out.size() > limit) return;
  if (candidates.empty()) {
    if (excluded.empty()) {
      out.push_back(clique);
      std::ranges::sort(out.back());
    }
    return;
  }
  const auto degree = [&](std::uint32_t v) {
    return std::ranges::count_if(candidates, [&](std::uint32_t u) { return graph[v][u]; });
  };
  std::uint32_t pivot = candidates[0];
  for (const std::uint32_t v : candidates)
    if (degree(v) > degree(pivot)) pivot = v;
  const Clique open = candidates;
  for (const std::uint32_t v : open) {
    if (graph[pivot][v]) continue;
    const auto near = [&](const Clique& from) {
      Clique kept;
      std::ranges::copy_if(from, std::back_inserter(kept), [&](std::uint32_t u) { return graph[v][u]; });
      return kept;
    };
    clique.push_back(v);
    grow_cliques(graph, clique, near(candidates), near(excluded), out, limit);
    clique.pop_back();
    std::erase(candidates, v);
    excluded.push_back(v);
  }
}

// The cost with the clique's genes free and all others at choice 0.
std::vector<double> tabulate(const Probe& probe, const Clique& clique, std::size_t cost, std::size_t size) {
  std::vector<double> table(size);
  tbb::parallel_for(std::size_t{0}, size, [&](std::size_t entry) {
    std::vector<double> out(probe.count());
    probe(point_of(probe.forest(), clique, entry), out);
    table[entry] = out[cost];
  });
  return table;
}

// Anchored decomposition: f(x) is the sum over all sets of genes that act together of their pure interaction
// (Moebius inversion over the subsets, other genes at choice 0). `taken` are the parts of this clique that
// earlier cliques hold; their interactions are left out here.
std::vector<double> interactions(const GeneForest& forest, const Clique& clique,
                                 const std::vector<double>& table, const std::vector<std::uint32_t>& taken) {
  const std::uint32_t subsets = 1u << clique.size();
  std::vector<bool> own(subsets, true);
  own[0] = false;
  for (std::uint32_t set = 1; set < subsets; ++set)
    for (const std::uint32_t t : taken) own[set] = own[set] && (set & ~t) != 0;
  std::vector<std::size_t> stride(clique.size(), 1);
  for (std::size_t i = clique.size(); i-- > 1;) stride[i - 1] = stride[i] * forest.choices(clique[i]);
  std::vector<double> result(table.size()), value(subsets);
  for (std::size_t entry = 0; entry < table.size(); ++entry) {
    for (std::uint32_t set = 0; set < subsets; ++set) {
      std::size_t index = 0;
      for (std::size_t i = 0; i < clique.size(); ++i)
        if (set >> i & 1) index += entry / stride[i] % forest.choices(clique[i]) * stride[i];
      value[set] = table[index];
    }
    for (std::size_t i = 0; i < clique.size(); ++i)
      for (std::uint32_t set = 0; set < subsets; ++set)
        if (set >> i & 1) value[set] -= value[set ^ (1u << i)];
    for (std::uint32_t set = 1; set < subsets; ++set)
      if (own[set]) result[entry] += value[set];
  }
  return result;
}

std::vector<std::uint32_t> shared_with_earlier(const std::vector<Clique>& cliques, std::size_t at) {
  std::vector<std::uint32_t> taken;
  for (std::size_t e = 0; e < at; ++e) {
    std::uint32_t set = 0;
    for (std::size_t i = 0; i < cliques[at].size(); ++i)
      if (std::ranges::binary_search(cliques[e], cliques[at][i])) set |= 1u << i;
    if (set != 0) taken.push_back(set);
  }
  return taken;
}

Result<Additive> assemble(const SearchSpace& space, const Probe& probe, const Graph& graph, std::size_t cost,
                          const std::string& name, const CompileOptions& options) {
  const GeneForest& forest = probe.forest();
  std::vector<Clique> cliques;
  Clique empty, all;
  for (std::uint32_t i = 0; i < forest.size(); ++i)
    if (forest.choices(i) > 1) all.push_back(i);
  constexpr std::size_t kMaxCliques = 4096, kMaxTogether = 12;
  grow_cliques(graph, empty, all, {}, cliques, kMaxCliques);
  std::ranges::sort(cliques);
  std::vector<Term> terms;
  for (std::size_t at = 0; at < cliques.size(); ++at) {
    const Clique& clique = cliques[at];
    double size = 1;
    for (const std::uint32_t gene : clique) size *= forest.choices(gene);
    if (cliques.size() > kMaxCliques || clique.size() > kMaxTogether ||
        size > static_cast<double>(options.max_table))
      return Error{name + " is no sum of small terms: " + std::to_string(clique.size()) +
                   " genes act together (" + number(size) + " combinations, at most " +
                   std::to_string(options.max_table) + " are tabulated)"};
    const auto table = tabulate(probe, clique, cost, static_cast<std::size_t>(size));
    terms.push_back({clique, interactions(forest, clique, table, shared_with_earlier(cliques, at))});
  }
  std::vector<double> origin(probe.count());
  probe(Genotype(forest.size()), origin);
  return Additive::make(space, origin[cost], std::move(terms));
}

// The largest relative error on fresh random points.
double check_error(const Probe& probe, const Additive& additive, std::size_t cost,
                   const CompileOptions& options) {
  double worst = 0;
  for (int i = 0; i < options.checks; ++i) {
    Rng rng(options.seed, "additive: check", 0, static_cast<std::uint64_t>(i));
    Genotype g = random_point(probe.forest(), rng);
    if (i % 2 == 0) open_all(probe.forest(), g);
    probe.forest().canonicalise(g);
    std::vector<double> out(probe.count());
    probe(g, out);
    const double error = std::abs(additive(g) - out[cost]) / std::max(std::abs(out[cost]), 1e-300);
    worst = std::isfinite(error) ? std::max(worst, error) : 1e300;
  }
  return worst;
}

}  // namespace

std::vector<Result<Additive>> compile_additive(const SearchSpace& space, const Costs& costs,
                                               std::span<const std::string> names,
                                               const CompileOptions& options) {
  const Probe probe(space, costs, names.size());
  const std::size_t n = space.genes().size();
  std::vector<Graph> graphs(names.size(), Graph(n, std::vector<bool>(n, false)));
  std::vector<std::unique_ptr<Result<Additive>>> made(names.size());
  // Rare interactions hide from few points: a second round with more of them before giving up.
  std::vector<bool> done(names.size(), false);
  for (int round = 0, first = 0; round < 2; ++round) {
    const int last = options.backgrounds * (round == 0 ? 1 : 4);
    for (; first < last; ++first) {
      Rng rng(options.seed, "additive: probe", static_cast<std::uint64_t>(first));
      probe_pairs(probe, rng, first % 2 == 0, options.tolerance, graphs);
    }
    for (std::size_t c = 0; c < names.size(); ++c) {
      if (done[c]) continue;
      made[c] = std::make_unique<Result<Additive>>(assemble(space, probe, graphs[c], c, names[c], options));
      if (!*made[c]) continue;
      const double error = check_error(probe, **made[c], c, options);
      done[c] = error <= options.tolerance;
      if (!done[c])
        made[c] = std::make_unique<Result<Additive>>(
            Error{names[c] + " is no sum of terms over few genes: off by " + number(100 * error) +
                  " % on fresh networks, at most " + number(100 * options.tolerance) + " % is allowed"});
    }
    if (std::ranges::all_of(done, [](bool d) { return d; })) break;
  }
  std::vector<Result<Additive>> result;
  result.reserve(names.size());
  for (auto& one : made) result.push_back(std::move(*one));
  return result;
}

}  // namespace nas::search
