#pragma once
#include <string>
#include <vector>

#include "search/additive.h"
#include "search/evaluator.h"
#include "search/run.h"
#include "search/strategy.h"
#include "space/search_space.h"

namespace nas::search::test {

inline std::vector<Choice> numbers(int from, int count) {
  std::vector<Choice> choices;
  for (int i = 0; i < count; ++i)
    choices.push_back({std::to_string(from + i), static_cast<double>(from + i)});
  return choices;
}

// A forest like the once-for-all spaces: a resolution, and stages of one to three blocks with a kernel and an
// expansion each. stages = 2, three choices per gene: 3 * (9 + 81 + 729)^2 = 2,012,283 networks; see sizes
// below.
inline SearchSpace block_space(int stages, int depth, int choices, int resolutions) {
  std::vector<Gene> genes{{"resolution", "r", numbers(1, resolutions), -1, 0, 255}};
  for (int s = 1; s <= stages; ++s) {
    const std::string stage = "stage" + std::to_string(s);
    const int parent = static_cast<int>(genes.size());
    genes.push_back({stage + ".depth", "d", numbers(1, depth), -1, 0, 255});
    for (int b = 1; b <= depth; ++b) {
      const std::string block = stage + ".block" + std::to_string(b);
      const auto low = static_cast<std::uint8_t>(b - 1);
      genes.push_back({block + ".kernel", "k", numbers(1, choices), parent, low, 255});
      genes.push_back({block + ".expand", "e", numbers(1, choices), parent, low, 255});
    }
  }
  auto space =
      SearchSpace::make("blocks", "{}", genes, [](const Genotype&, Network& n) { n.layers.clear(); });
  return *std::move(space);
}

// Random separable numbers on a block space: a term per block over (resolution, depth, kernel, expand),
// larger choices cost more. `rise` < 0 makes a loss that falls with size (an error rate).
inline Additive block_cost(const SearchSpace& space, std::uint64_t seed, double rise) {
  std::vector<Term> terms;
  const auto genes = space.genes();
  for (std::uint32_t k = 0; k < genes.size(); ++k) {
    if (!genes[k].name.ends_with(".kernel")) continue;
    const auto d = static_cast<std::uint32_t>(genes[k].parent);
    Term term{{0, d, k, k + 1}, {}};
    Rng rng(seed, "block cost", k);
    for (std::uint32_t r = 0; r < genes[0].choices.size(); ++r)
      for (std::uint32_t depth = 0; depth < genes[d].choices.size(); ++depth)
        for (std::uint32_t a = 0; a < genes[k].choices.size(); ++a)
          for (std::uint32_t b = 0; b < genes[k + 1].choices.size(); ++b) {
            const bool active = depth >= genes[k].parent_low;
            const double size = (1.0 + r) * (1.0 + a) * (1.0 + b);
            term.table.push_back(active ? rise * std::sqrt(size) * rng.uniform(0.7, 1.3) : 0.0);
          }
    terms.push_back(std::move(term));
  }
  return *Additive::make(space, 10.0, std::move(terms));
}

inline std::vector<Genotype> all_of(const SearchSpace& space) {
  std::vector<Genotype> all;
  space.enumerate([&](const Genotype& g) {
    all.push_back(g);
    return true;
  });
  return all;
}

// Gives each additive as a metric of its name.
inline Evaluator additive_evaluator(std::vector<std::string> names, std::vector<Additive> costs) {
  Evaluator evaluator;
  for (std::string& name : names) evaluator.metrics.push_back({std::move(name), "", Source::modelled});
  evaluator.threads = ThreadSafety::concurrent;
  evaluator.score = [costs = std::move(costs)](std::span<const Genotype> batch, double, Scores& scores) {
    for (std::size_t i = 0; i < batch.size(); ++i)
      for (std::size_t m = 0; m < costs.size(); ++m) scores.row(i)[m] = costs[m](batch[i]);
  };
  return evaluator;
}

inline Problem two_objectives() { return {{{"error", Goal::minimise}, {"latency_ms", Goal::minimise}}, {}}; }

inline RunOptions evaluations(std::size_t n) {
  RunOptions options;
  options.budget.evaluations = n;
  return options;
}

}  // namespace nas::search::test
