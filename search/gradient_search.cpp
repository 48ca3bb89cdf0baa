#include "search/gradient_search.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "search/rows_json.h"

namespace nas::search {
namespace {

// The term over its genes and their ancestors, right for every combination of choices.
Term closed(const GeneForest& forest, const Term& term) {
  std::set<std::uint32_t> scope(term.genes.begin(), term.genes.end());
  for (const std::uint32_t gene : term.genes)
    for (int p = forest.parent(gene); p >= 0; p = forest.parent(static_cast<std::size_t>(p)))
      scope.insert(static_cast<std::uint32_t>(p));
  Term out{{scope.begin(), scope.end()}, {}};
  std::size_t size = 1;
  for (const std::uint32_t gene : out.genes) size *= forest.choices(gene);
  Genotype g(forest.size());
  for (std::size_t entry = 0; entry < size; ++entry) {
    std::size_t rest = entry;
    for (std::size_t i = out.genes.size(); i-- > 0;) {
      g[out.genes[i]] = static_cast<std::uint8_t>(rest % forest.choices(out.genes[i]));
      rest /= forest.choices(out.genes[i]);
    }
    Genotype canonical = g;
    forest.canonicalise(canonical);
    std::size_t index = 0;
    for (const std::uint32_t gene : term.genes) index = index * forest.choices(gene) + canonical[gene];
    out.table.push_back(term.table[index]);
  }
  return out;
}

// Adds the term's expectation and its derivative: the product of the other genes' weights.
double add_expectation(const GeneForest& forest, const Term& term, std::span<const double> p,
                       std::span<double> gradient) {
  double sum = 0;
  std::vector<std::size_t> at(term.genes.size());
  for (std::size_t entry = 0; entry < term.table.size(); ++entry) {
    std::size_t rest = entry;
    double product = 1;
    for (std::size_t i = term.genes.size(); i-- > 0;) {
      at[i] = forest.offset(term.genes[i]) + rest % forest.choices(term.genes[i]);
      rest /= forest.choices(term.genes[i]);
      product *= p[at[i]];
    }
    sum += product * term.table[entry];
    for (std::size_t i = 0; i < at.size(); ++i) {
      double others = term.table[entry];
      for (std::size_t j = 0; j < at.size(); ++j) others *= j == i ? 1.0 : p[at[j]];
      gradient[at[i]] += others;
    }
  }
  return sum;
}

}  // namespace

Relaxed expected(const SearchSpace& space, const Additive& cost) {
  auto forest = std::make_shared<const GeneForest>(space);
  auto terms = std::make_shared<std::vector<Term>>();
  for (const Term& term : cost.terms()) terms->push_back(closed(*forest, term));
  return [forest, terms, constant = cost.constant()](std::span<const double> p, std::span<double> gradient) {
    std::ranges::fill(gradient, 0.0);
    double sum = constant;
    for (const Term& term : *terms) sum += add_expectation(*forest, term, p, gradient);
    return sum;
  };
}

GradientSearch::GradientSearch(Setting setting, GradientProblem problem, GradientOptions options)
    : variation_(std::move(setting)),
      problem_(std::move(problem)),
      options_(options),
      policy_(*variation_.setting().forest) {
  adam_ = Adam(policy_.parameters().size(), options_.rate);
}

double GradientSearch::relaxed_loss(std::span<const double> logits, std::span<const double> gumbel,
                                    double temperature, std::span<double> gradient) const {
  const GeneForest& forest = *variation_.setting().forest;
  const std::size_t n = forest.offset(forest.size());
  std::vector<double> noisy(n), p(n), d_p(n), d_cost(n);
  for (std::size_t i = 0; i < n; ++i) noisy[i] = (logits[i] + gumbel[i]) / temperature;
  for (std::size_t g = 0; g < forest.size(); ++g)
    softmax(std::span(noisy).subspan(forest.offset(g), forest.choices(g)),
            std::span(p).subspan(forest.offset(g), forest.choices(g)));
  double loss = problem_.loss(p, d_p);
  if (problem_.cost) {
    const double cost = problem_.cost(p, d_cost), ratio = cost / problem_.reference;
    if (problem_.form == CostForm::add) {
      loss += problem_.weight * (ratio - 1);
      for (std::size_t i = 0; i < n; ++i) d_p[i] += problem_.weight * d_cost[i] / problem_.reference;
    } else {
      const double factor = std::pow(ratio, problem_.weight);
      for (std::size_t i = 0; i < n; ++i)
        d_p[i] = d_p[i] * factor + loss * problem_.weight * factor / cost * d_cost[i];
      loss *= factor;
    }
  }
  for (std::size_t g = 0; g < forest.size(); ++g) {
    double mean = 0;
    for (std::size_t i = forest.offset(g); i < forest.offset(g + 1); ++i) mean += p[i] * d_p[i];
    for (std::size_t i = forest.offset(g); i < forest.offset(g + 1); ++i)
      gradient[i] = p[i] * (d_p[i] - mean) / temperature;
  }
  return loss;
}

void GradientSearch::descend() {
  const double progress = std::min(
      1.0, static_cast<double>(step_) / static_cast<double>(std::max<std::size_t>(options_.cooling, 1)));
  const double temperature = options_.hot * std::pow(options_.cold / options_.hot, progress);
  const std::size_t n = policy_.parameters().size();
  std::vector<double> gumbel(n), gradient(n);
  for (std::uint64_t update = 0; update < options_.updates; ++update) {
    Rng rng(variation_.setting().seed, "gradient: gumbel", step_, update);
    for (double& x : gumbel) x = -std::log(-std::log(std::max(rng.uniform(), 1e-300)));
    relaxed_loss(policy_.parameters(), gumbel, temperature, gradient);
    for (double& d : gradient) d = -d;  // Adam ascends
    adam_.ascend(policy_.parameters(), gradient);
  }
}

void GradientSearch::ask(const History&, Ask& ask) {
  for (std::uint64_t i = 0; i < options_.batch; ++i) {
    Rng rng(variation_.setting().seed, "gradient: draw", step_, i);
    Proposal& proposal = ask.add();
    proposal.origin = Origin::policy;
    proposal.genotype = policy_.sample(rng);
    if (i == 0) {
      // The most likely network.
      const GeneForest& forest = *variation_.setting().forest;
      for (std::size_t g = 0; g < forest.size(); ++g) {
        const auto logits = std::span(policy_.parameters()).subspan(forest.offset(g), forest.choices(g));
        proposal.genotype[g] = static_cast<std::uint8_t>(std::ranges::max_element(logits) - logits.begin());
      }
      forest.canonicalise(proposal.genotype);
    }
    if (variation_.setting().listing)
      variation_.setting().listing->snap(proposal.genotype, rng, {});
    else
      variation_.repair(proposal.genotype, rng);
  }
}

void GradientSearch::tell(const History&, std::span<const Row>) {
  descend();
  ++step_;
}

void GradientSearch::save(nlohmann::json& out) const {
  out = {{"step", step_},
         {"logits", policy_.parameters()},
         {"mean", adam_.mean()},
         {"square", adam_.square()},
         {"adam", adam_.steps}};
}

Result<void> GradientSearch::load(const nlohmann::json& state) {
  const std::size_t size = policy_.parameters().size();
  NAS_CHECK(read_state(state, "step", step_));
  NAS_CHECK(read_state(state, "logits", policy_.parameters()));
  NAS_CHECK(read_state(state, "mean", adam_.mean()));
  NAS_CHECK(read_state(state, "square", adam_.square()));
  NAS_CHECK(read_state(state, "adam", adam_.steps));
  if (policy_.parameters().size() != size || adam_.mean().size() != size || adam_.square().size() != size)
    return Error{"saved search state: the logits have another number of parameters"};
  return {};
}

}  // namespace nas::search
