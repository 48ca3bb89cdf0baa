#include "search/exact.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "search/partial_front.h"
#include "search/text.h"

namespace nas::search {
namespace {

using Scope = std::vector<std::uint32_t>;

// Tables over a scope: what is left of the genes eliminated so far. Entry index is row-major over the scope.
struct Message {
  Scope scope;
  std::vector<PartialFront> table;
};

// One cost's term, or (cost -1) a rule: an inactive gene stays 0, a limit on a peak is kept.
struct Factor {
  int cost;
  Scope scope;
  std::vector<double> table;  // of a rule: 0 allowed, 1 forbidden
};

struct Bucket {
  std::uint32_t gene;
  std::vector<Factor> factors;
  std::vector<Message> messages;
  Scope scope;  // without the gene
};

bool has(const Scope& scope, std::uint32_t gene) { return std::ranges::binary_search(scope, gene); }

// Entry of a table over `scope` at the assignment in `choice` (by gene).
std::size_t entry(const GeneForest& forest, const Scope& scope, std::span<const std::uint8_t> choice) {
  std::size_t index = 0;
  for (const std::uint32_t gene : scope) index = index * forest.choices(gene) + choice[gene];
  return index;
}

double entries(const GeneForest& forest, const Scope& scope) {
  double n = 1;
  for (const std::uint32_t gene : scope) n *= forest.choices(gene);
  return n;
}

void decode(const GeneForest& forest, const Scope& scope, std::size_t index, std::span<std::uint8_t> choice) {
  for (std::size_t i = scope.size(); i-- > 0;) {
    choice[scope[i]] = static_cast<std::uint8_t>(index % forest.choices(scope[i]));
    index /= forest.choices(scope[i]);
  }
}

Factor activity_rule(const GeneForest& forest, std::uint32_t gene) {
  Scope scope{gene};
  for (int p = forest.parent(gene); p >= 0; p = forest.parent(static_cast<std::size_t>(p)))
    scope.push_back(static_cast<std::uint32_t>(p));
  std::ranges::sort(scope);
  Factor rule{-1, scope, {}};
  std::vector<std::uint8_t> choice(forest.size(), 0);
  const auto size = static_cast<std::size_t>(entries(forest, scope));
  for (std::size_t index = 0; index < size; ++index) {
    decode(forest, scope, index, choice);
    bool active = true;
    for (auto child = gene; active && forest.parent(child) >= 0;) {
      const auto up = static_cast<std::uint32_t>(forest.parent(child));
      active = forest.allowed(child, choice[up]);
      child = up;
    }
    rule.table.push_back(active || choice[gene] == 0 ? 0.0 : 1.0);
  }
  return rule;
}

std::vector<Factor> peak_rules(std::span<const PeakLimit> limits) {
  std::vector<Factor> rules;
  for (const PeakLimit& limit : limits)
    for (const Term& term : limit.peak.terms()) {
      Factor rule{-1, term.genes, {}};
      for (const double value : term.table) rule.table.push_back(value > limit.max ? 1.0 : 0.0);
      if (std::ranges::max(rule.table) > 0) rules.push_back(std::move(rule));
    }
  return rules;
}

}  // namespace

class Elimination {
 public:
  Elimination(const SearchSpace& space, std::span<const Additive> costs, const ExactOptions& options)
      : forest_(space), costs_(costs.size()), options_(options), left_(forest_.size(), true) {
    constant_.reserve(costs_);
    for (std::size_t c = 0; c < costs_; ++c) {
      constant_.push_back(costs[c].constant());
      for (const Term& term : costs[c].terms())
        factors_.push_back({static_cast<int>(c), term.genes, term.table});
    }
    for (std::uint32_t gene = 0; gene < forest_.size(); ++gene)
      if (forest_.parent(gene) >= 0) factors_.push_back(activity_rule(forest_, gene));
    std::ranges::move(peak_rules(options.peaks), std::back_inserter(factors_));
    bound_ = options.limits;
    bound_.resize(costs_, std::numeric_limits<double>::infinity());
    // Sums are rounded in another order than evaluation rounds them: leave the last bits to the final check.
    for (double& limit : bound_)
      if (std::isfinite(limit)) limit += 1e-9 * std::abs(limit);
  }

  Result<ExactFront> run() {
    for (std::size_t step = 0; step < forest_.size(); ++step) {
      NAS_CHECK(eliminate(take_bucket(cheapest_gene())));
    }
    return finish();
  }

 private:
  using Node = ExactFront::Node;

  // What one task of an elimination makes: a front whose node numbers from `base` on are local.
  struct Part {
    PartialFront front;
    std::vector<Node> nodes;
  };

  Scope joint_scope(std::uint32_t gene) const {
    std::set<std::uint32_t> all;
    for (const Factor& f : factors_)
      if (has(f.scope, gene)) all.insert(f.scope.begin(), f.scope.end());
    for (const Message& m : messages_)
      if (has(m.scope, gene)) all.insert(m.scope.begin(), m.scope.end());
    all.erase(gene);
    return {all.begin(), all.end()};
  }

  std::uint32_t cheapest_gene() const {
    std::uint32_t best = 0;
    double best_cost = std::numeric_limits<double>::infinity();
    for (std::uint32_t gene = 0; gene < forest_.size(); ++gene) {
      if (!left_[gene]) continue;
      const double cost = entries(forest_, joint_scope(gene)) * forest_.choices(gene);
      if (cost < best_cost) best = gene, best_cost = cost;
    }
    return best;
  }

  Bucket take_bucket(std::uint32_t gene) {
    Bucket bucket{gene, {}, {}, joint_scope(gene)};
    const auto take = [gene](auto& from, auto& to) {
      auto rest =
          std::stable_partition(from.begin(), from.end(), [&](const auto& f) { return !has(f.scope, gene); });
      to.assign(std::make_move_iterator(rest), std::make_move_iterator(from.end()));
      from.erase(rest, from.end());
    };
    take(factors_, bucket.factors);
    take(messages_, bucket.messages);
    left_[gene] = false;
    return bucket;
  }

  Result<void> eliminate(const Bucket& bucket) {
    const std::uint32_t choices = forest_.choices(bucket.gene);
    const double table = entries(forest_, bucket.scope) * choices;
    if (table > static_cast<double>(options_.max_points))
      return Error{"exact front: too many genes act together: a table of " + number(table) +
                   " entries, at most " + std::to_string(options_.max_points) + " fit"};
    const auto size = static_cast<std::size_t>(entries(forest_, bucket.scope));
    const auto base = static_cast<std::int32_t>(nodes_.size());
    const std::vector<double> slack = bound_without(bucket);
    std::vector<Part> parts(size * choices);
    tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t p) {
      parts[p] = choose(bucket, p / choices, static_cast<std::uint8_t>(p % choices), base, slack);
    });
    Message message{bucket.scope, {}};
    message.table.resize(size);
    for (std::size_t i = 0; i < size; ++i)
      NAS_CHECK(merge(std::span(parts).subspan(i * choices, choices), base, message.table[i]));
    messages_.push_back(std::move(message));
    return {};
  }

  // The limits less the least that all factors outside the bucket must cost.
  std::vector<double> bound_without(const Bucket&) const {
    std::vector<double> bound = bound_;
    for (std::size_t c = 0; c < costs_; ++c) bound[c] -= constant_[c];
    for (const Factor& f : factors_)
      if (f.cost >= 0) bound[static_cast<std::size_t>(f.cost)] -= std::ranges::min(f.table);
    for (const Message& m : messages_) {
      std::vector<double> least(costs_, std::numeric_limits<double>::infinity());
      for (const PartialFront& front : m.table)
        for (std::size_t i = 0; i < front.values.size(); ++i)
          least[i % costs_] = std::min(least[i % costs_], front.values[i]);
      for (std::size_t c = 0; c < costs_; ++c)
        if (std::isfinite(least[c])) bound[c] -= least[c];
    }
    return bound;
  }

  // The front of the bucket at one assignment of its scope and one choice of its gene.
  Part choose(const Bucket& bucket, std::size_t index, std::uint8_t choice_of_gene, std::int32_t base,
              std::span<const double> bound) const {
    std::vector<std::uint8_t> choice(forest_.size(), 0);
    decode(forest_, bucket.scope, index, choice);
    choice[bucket.gene] = choice_of_gene;
    Part part{{costs_, {}, {}}, {}};
    std::vector<double> offset(costs_, 0.0);
    for (const Factor& f : bucket.factors) {
      const double value = f.table[entry(forest_, f.scope, choice)];
      if (f.cost >= 0)
        offset[static_cast<std::size_t>(f.cost)] += value;
      else if (value != 0)
        return part;
    }
    part.nodes.push_back({static_cast<std::int32_t>(bucket.gene), choice_of_gene, -1, -1});
    part.front.push(offset, base);
    std::vector<const PartialFront*> fronts;
    for (const Message& m : bucket.messages) fronts.push_back(&m.table[entry(forest_, m.scope, choice)]);
    std::ranges::stable_sort(fronts, {}, [](const PartialFront* f) { return f->size(); });
    for (std::size_t i = 0; i < fronts.size(); ++i) join(part, *fronts[i], base, rest(fronts, i + 1, bound));
    return part;
  }

  std::vector<double> rest(const std::vector<const PartialFront*>& fronts, std::size_t from,
                           std::span<const double> bound) const {
    std::vector<double> left(bound.begin(), bound.end());
    for (std::size_t i = from; i < fronts.size(); ++i)
      for (std::size_t c = 0; c < costs_; ++c) {
        double least = std::numeric_limits<double>::infinity();
        for (std::size_t p = 0; p < fronts[i]->size(); ++p) least = std::min(least, fronts[i]->point(p)[c]);
        if (std::isfinite(least)) left[c] -= least;
      }
    return left;
  }

  void join(Part& part, const PartialFront& front, std::int32_t base, std::span<const double> bound) const {
    std::vector<double> values;
    std::vector<Pair> pairs;
    add_fronts(part.front, front, bound, values, pairs);
    PartialFront joined{costs_, std::move(values), {}};
    joined.nodes.reserve(pairs.size());
    for (const Pair& pair : pairs) {
      joined.nodes.push_back(base + static_cast<std::int32_t>(part.nodes.size()));
      part.nodes.push_back({-1, 0, part.front.nodes[pair.a], front.nodes[pair.b]});
    }
    part.front = std::move(joined);
  }

  // Unites the parts of one assignment and gives their nodes their final numbers.
  Result<void> merge(std::span<Part> parts, std::int32_t base, PartialFront& out) {
    out.dimension = costs_;
    for (Part& part : parts) {
      const auto shift = static_cast<std::int32_t>(nodes_.size()) - base;
      const auto moved = [&](std::int32_t node) { return node >= base ? node + shift : node; };
      for (const Node& node : part.nodes)
        nodes_.push_back({node.gene, node.choice, moved(node.a), moved(node.b)});
      for (std::size_t i = 0; i < part.front.size(); ++i)
        out.push(part.front.point(i), moved(part.front.nodes[i]));
      part = {};
    }
    if (nodes_.size() > options_.max_points)
      return Error{"exact front: more than " + std::to_string(options_.max_points) +
                   " partial networks to keep"};
    prune(out);
    return {};
  }

  // What is left has no genes: one front to join after the other.
  Result<ExactFront> finish() {
    Part part{{costs_, {}, {}}, {}};
    const auto base = static_cast<std::int32_t>(nodes_.size());
    part.front.push(constant_, -1);
    for (const Factor& f : factors_)  // terms over no gene
      if (f.cost < 0 && f.table[0] != 0)
        part.front = {costs_, {}, {}};
      else if (f.cost >= 0 && part.front.size() > 0)
        part.front.values[static_cast<std::size_t>(f.cost)] += f.table[0];
    for (const Message& m : messages_) join(part, m.table[0], base, bound_);
    PartialFront last;
    NAS_CHECK(merge({&part, 1}, base, last));
    ExactFront front;
    front.genes_ = forest_.size();
    front.dimension_ = costs_;
    front.nodes_ = std::move(nodes_);
    front.values_ = std::move(last.values);
    front.node_ = std::move(last.nodes);
    if (front.size() == 0)
      return Error{"exact front: no network is within the limits", "", ErrorKind::infeasible};
    return front;
  }

  GeneForest forest_;
  std::size_t costs_;
  ExactOptions options_;
  std::vector<bool> left_;
  std::vector<double> constant_;
  std::vector<double> bound_;
  std::vector<Factor> factors_;
  std::vector<Message> messages_;
  std::vector<Node> nodes_;
};

Genotype ExactFront::genotype(std::size_t i) const {
  Genotype g(genes_);
  std::vector<std::int32_t> open{node_[i]};
  while (!open.empty()) {
    const std::int32_t at = open.back();
    open.pop_back();
    if (at < 0) continue;
    const Node& node = nodes_[static_cast<std::size_t>(at)];
    if (node.gene >= 0) g[static_cast<std::size_t>(node.gene)] = static_cast<std::uint8_t>(node.choice);
    open.insert(open.end(), {node.a, node.b});
  }
  return g;
}

Result<ExactFront> exact_front(const SearchSpace& space, std::span<const Additive> costs,
                               const ExactOptions& options) {
  if (costs.empty()) return usage_error("exact front: needs at least one cost");
  return Elimination(space, costs, options).run();
}

Result<Genotype> lowest_peak(const SearchSpace& space, const Peak& peak, std::vector<PeakLimit> peaks) {
  std::vector<double> values{0};
  for (const Term& term : peak.terms()) values.insert(values.end(), term.table.begin(), term.table.end());
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  peaks.push_back({peak, values.back()});
  NAS_TRY(nothing, Additive::make(space, 0, {}));
  ExactOptions options{{}, std::move(peaks)};
  NAS_TRY(any, exact_front(space, {&nothing, 1}, options));
  Genotype best = any.genotype(0);
  // The limit that can just be kept, by halving.
  for (std::size_t low = 0, high = values.size() - 1; low < high;) {
    const std::size_t middle = (low + high) / 2;
    options.peaks.back().max = values[middle];
    const auto front = exact_front(space, {&nothing, 1}, options);
    if (!front && front.error().kind != ErrorKind::infeasible) return front.error();
    if (front) best = front->genotype(0);
    (front ? high : low) = front ? middle : middle + 1;
  }
  return best;
}

}  // namespace nas::search
