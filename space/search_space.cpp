#include "space/search_space.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <set>
#include <unordered_map>

#include "space/big_count.h"

namespace nas {
namespace {

constexpr std::size_t kMaxGenes = 100'000;

struct Family {
  std::string key;
  std::vector<std::size_t> genes;
};

}  // namespace

struct SearchSpace::Impl {
  std::string name;
  std::string json;
  Hash128 fingerprint;
  SpaceTraits traits;
  std::vector<Gene> genes;
  Lower lower;
  std::vector<std::vector<std::size_t>> children;
  std::vector<Family> families;  // in the order of their first gene
  // weight[gene][choice]: number of different settings of the subtree below, as a ratio good to 2^-50.
  std::vector<std::vector<long double>> weight;
  std::vector<BigCount> subtree;  // exact number of settings of a gene and everything below it

  bool opens(const Gene& child, std::uint8_t parent_choice) const {
    return parent_choice >= child.parent_low && parent_choice <= child.parent_high;
  }
  void count_subtrees();
  BigCount total(bool with_resolution) const;
  void draw_canonical(std::size_t gene, Genotype& g, Rng& rng) const;
};

void SearchSpace::Impl::count_subtrees() {
  weight.resize(genes.size());
  subtree.resize(genes.size());
  for (std::size_t i = genes.size(); i-- > 0;) {
    for (std::size_t c = 0; c < genes[i].choices.size(); ++c) {
      BigCount below = 1;
      for (const std::size_t child : children[i])
        if (opens(genes[child], static_cast<std::uint8_t>(c))) below *= subtree[child];
      weight[i].push_back(below.approximately());
      subtree[i] += below;
    }
  }
}

BigCount SearchSpace::Impl::total(bool with_resolution) const {
  BigCount product = 1;
  for (std::size_t i = 0; i < genes.size(); ++i)
    if (genes[i].parent < 0 && (with_resolution || genes[i].name != "resolution")) product *= subtree[i];
  return product;
}

void SearchSpace::Impl::draw_canonical(std::size_t gene, Genotype& g, Rng& rng) const {
  long double sum = 0;
  for (const long double w : weight[gene]) sum += w;
  long double left = static_cast<long double>(rng.uniform()) * sum;
  std::size_t choice = 0;
  while (choice + 1 < weight[gene].size() && left >= weight[gene][choice]) left -= weight[gene][choice++];
  g[gene] = static_cast<std::uint8_t>(choice);
  for (const std::size_t child : children[gene])
    if (opens(genes[child], g[gene])) draw_canonical(child, g, rng);
}

Result<SearchSpace> SearchSpace::make(std::string name, std::string json, std::vector<Gene> genes,
                                      Lower lower, SpaceTraits traits) {
  if (genes.empty()) return usage_error("search space " + name + ": has no genes");
  if (genes.size() > kMaxGenes)
    return usage_error("search space " + name + ": " + std::to_string(genes.size()) + " genes; at most " +
                       std::to_string(kMaxGenes) + " are supported");
  auto impl = std::make_shared<Impl>();
  impl->children.resize(genes.size());
  std::set<std::string> names;
  std::unordered_map<std::string, std::size_t> family_index;
  for (std::size_t i = 0; i < genes.size(); ++i) {
    const Gene& gene = genes[i];
    const std::string what = "search space " + name + ": gene " + gene.name;
    if (!names.insert(gene.name).second) return usage_error(what + ": stands twice");
    if (gene.choices.empty()) return usage_error(what + ": has no choices");
    if (gene.choices.size() > 256)
      return usage_error(what + ": " + std::to_string(gene.choices.size()) +
                         " choices; at most 256 are supported");
    std::set<std::string> labels;
    for (const Choice& c : gene.choices)
      if (!labels.insert(c.label).second)
        return usage_error(what + ": the choice " + c.label + " stands twice");
    if (gene.parent >= static_cast<int>(i)) return usage_error(what + ": its parent must come before it");
    if (gene.parent >= 0) impl->children[static_cast<std::size_t>(gene.parent)].push_back(i);
    const auto [entry, is_new] = family_index.try_emplace(gene.family, impl->families.size());
    if (is_new) impl->families.push_back({gene.family, {}});
    impl->families[entry->second].genes.push_back(i);
  }
  impl->name = std::move(name);
  impl->json = std::move(json);
  impl->fingerprint = hash_text(impl->json);
  impl->genes = std::move(genes);
  impl->lower = std::move(lower);
  impl->traits = traits;
  impl->count_subtrees();
  return SearchSpace(std::move(impl));
}

const std::string& SearchSpace::name() const { return impl_->name; }
const std::string& SearchSpace::json() const { return impl_->json; }
const SpaceTraits& SearchSpace::traits() const { return impl_->traits; }
Hash128 SearchSpace::fingerprint() const { return impl_->fingerprint; }
std::span<const Gene> SearchSpace::genes() const { return impl_->genes; }

int SearchSpace::find(std::string_view gene_name) const {
  for (std::size_t i = 0; i < impl_->genes.size(); ++i)
    if (impl_->genes[i].name == gene_name) return static_cast<int>(i);
  return -1;
}

double SearchSpace::value(const Genotype& g, int gene) const {
  const auto i = static_cast<std::size_t>(gene);
  return impl_->genes[i].choices[g[i]].value;
}

bool SearchSpace::active(const Genotype& g, std::size_t gene) const {
  for (const Gene* at = &impl_->genes[gene]; at->parent >= 0;) {
    const auto parent = static_cast<std::size_t>(at->parent);
    if (!impl_->opens(*at, g[parent])) return false;
    at = &impl_->genes[parent];
  }
  return true;
}

Genotype SearchSpace::canonical(Genotype g) const {
  // Parents come first, and an inactive parent is already 0 when its children ask; its own state decides.
  const auto& genes = impl_->genes;
  thread_local std::vector<std::uint8_t> on;
  on.assign(genes.size(), 1);
  for (std::size_t i = 0; i < genes.size(); ++i) {
    if (genes[i].parent < 0) continue;
    const auto parent = static_cast<std::size_t>(genes[i].parent);
    on[i] = on[parent] != 0 && impl_->opens(genes[i], g[parent]) ? 1 : 0;
    if (on[i] == 0) g[i] = 0;
  }
  return g;
}

Result<void> SearchSpace::check(const Genotype& g) const {
  const auto& genes = impl_->genes;
  if (g.size() != genes.size())
    return usage_error("genotype of " + impl_->name + ": needs " + std::to_string(genes.size()) +
                       " genes, found " + std::to_string(g.size()));
  for (std::size_t i = 0; i < genes.size(); ++i)
    if (g[i] >= genes[i].choices.size())
      return usage_error("genotype of " + impl_->name + ": " + genes[i].name + " has " +
                         std::to_string(genes[i].choices.size()) + " choices, found choice number " +
                         std::to_string(g[i]));
  if (const Genotype c = canonical(g); c != g)
    for (std::size_t i = 0; i < genes.size(); ++i)
      if (c[i] != g[i])
        return usage_error("genotype of " + impl_->name + ": inactive gene " + genes[i].name + " is set");
  return {};
}

Hash128 SearchSpace::hash(const Genotype& g) const {
  return hash_bytes({g.data(), g.size()}, impl_->fingerprint.low);
}

Genotype SearchSpace::smallest() const { return Genotype(impl_->genes.size()); }

Genotype SearchSpace::largest() const {
  Genotype g(impl_->genes.size());
  for (std::size_t i = 0; i < g.size(); ++i)
    g[i] = static_cast<std::uint8_t>(impl_->genes[i].choices.size() - 1);
  return canonical(std::move(g));
}

Genotype SearchSpace::sample(Rng& rng) const {
  Genotype g(impl_->genes.size());
  for (std::size_t i = 0; i < g.size(); ++i)
    g[i] = static_cast<std::uint8_t>(rng.below(impl_->genes[i].choices.size()));
  return canonical(std::move(g));
}

Genotype SearchSpace::sample_canonical(Rng& rng) const {
  Genotype g(impl_->genes.size());
  for (std::size_t i = 0; i < g.size(); ++i)
    if (impl_->genes[i].parent < 0) impl_->draw_canonical(i, g, rng);
  return g;
}

Genotype SearchSpace::mutate(const Genotype& g, Rng& rng, double probability) const {
  Genotype child = g;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const std::size_t n = impl_->genes[i].choices.size();
    // Genes that the mutation wakes up have no old value to differ from: they are drawn afresh.
    const bool was_active = active(g, i);
    if (!was_active)
      child[i] = static_cast<std::uint8_t>(rng.below(n));
    else if (rng.chance(probability) && n > 1)
      child[i] = static_cast<std::uint8_t>((g[i] + 1 + rng.below(n - 1)) % n);
  }
  return canonical(std::move(child));
}

Genotype SearchSpace::crossover(const Genotype& a, const Genotype& b, Rng& rng) const {
  Genotype child = a;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool from_b = rng.chance(0.5);
    // A gene that only one parent carries comes from that parent.
    const bool in_a = active(a, i), in_b = active(b, i);
    if (in_a == in_b ? from_b : in_b) child[i] = b[i];
  }
  return canonical(std::move(child));
}

std::vector<Genotype> SearchSpace::neighbours(const Genotype& g) const {
  std::set<Genotype> found;
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (!active(g, i)) continue;
    for (std::size_t c = 0; c < impl_->genes[i].choices.size(); ++c) {
      Genotype other = g;
      other[i] = static_cast<std::uint8_t>(c);
      other = canonical(std::move(other));
      if (other != g) found.insert(std::move(other));
    }
  }
  return {found.begin(), found.end()};
}

std::string SearchSpace::count_genotypes() const {
  BigCount product = 1;
  for (const Gene& gene : impl_->genes) product *= BigCount(gene.choices.size());
  return product.to_string();
}

std::string SearchSpace::count() const { return impl_->total(true).to_string(); }
std::string SearchSpace::count_without_resolution() const { return impl_->total(false).to_string(); }

void SearchSpace::enumerate(const std::function<bool(const Genotype&)>& visit) const {
  // An odometer over the active genes: raise the last one that can be raised, reset what follows.
  Genotype g = smallest();
  while (true) {
    if (!visit(g)) return;
    std::size_t i = g.size();
    while (i > 0 && (!active(g, i - 1) || g[i - 1] + 1u == impl_->genes[i - 1].choices.size())) --i;
    if (i == 0) return;
    ++g[i - 1];
    for (; i < g.size(); ++i) g[i] = 0;
  }
}

std::string SearchSpace::text(const Genotype& g) const {
  std::string out;
  for (const Family& family : impl_->families) {
    if (!out.empty()) out += ':';
    out += family.key + '=';
    for (std::size_t k = 0; k < family.genes.size(); ++k) {
      const std::size_t gene = family.genes[k];
      if (k > 0) out += ',';
      out += active(g, gene) ? impl_->genes[gene].choices[g[gene]].label : "-";
    }
  }
  return out;
}

namespace {

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(by);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Result<std::uint8_t> choice_of(const Gene& gene, std::string_view label) {
  std::string all;
  for (std::size_t c = 0; c < gene.choices.size(); ++c) {
    if (gene.choices[c].label == label) return static_cast<std::uint8_t>(c);
    if (c < 30) all += (c > 0 ? ", " : "") + gene.choices[c].label;
    if (c == 30) all += ", …";
  }
  return usage_error(gene.name + " must be one of " + all + "; found \"" + std::string(label.substr(0, 40)) +
                     "\"");
}

}  // namespace

Result<Genotype> SearchSpace::parse(std::string_view text) const {
  const std::string what = "architecture text for " + impl_->name + ": ";
  Genotype g(impl_->genes.size());
  std::set<std::string> seen;
  std::vector<std::size_t> dashes;
  for (const std::string_view part : split(text, ':')) {
    const std::size_t equals = part.find('=');
    const std::string key(part.substr(0, equals));
    const auto family = std::find_if(impl_->families.begin(), impl_->families.end(),
                                     [&](const Family& f) { return f.key == key; });
    if (equals == std::string_view::npos || family == impl_->families.end()) {
      std::string keys;
      for (const Family& f : impl_->families) keys += (keys.empty() ? "" : ", ") + f.key;
      return usage_error(what + "needs parts key=value,… with the keys " + keys + "; found \"" +
                         std::string(part.substr(0, 40)) + "\"");
    }
    if (!seen.insert(key).second) return usage_error(what + "the part " + key + "= stands twice");
    const auto labels = split(part.substr(equals + 1), ',');
    if (labels.size() != family->genes.size())
      return usage_error(what + key + "= needs " + std::to_string(family->genes.size()) + " values, found " +
                         std::to_string(labels.size()));
    for (std::size_t k = 0; k < labels.size(); ++k) {
      const std::size_t gene = family->genes[k];
      if (labels[k] == "-") {
        dashes.push_back(gene);
        continue;
      }
      auto choice = choice_of(impl_->genes[gene], labels[k]);
      if (!choice) return usage_error(what + choice.error().message);
      g[gene] = *choice;
    }
  }
  for (const Family& f : impl_->families)
    if (!seen.contains(f.key)) return usage_error(what + "the part " + f.key + "= is missing");
  g = canonical(std::move(g));
  for (const std::size_t gene : dashes)
    if (active(g, gene))
      return usage_error(what + impl_->genes[gene].name + " is active and needs a value, found \"-\"");
  return g;
}

std::string SearchSpace::short_id(const Genotype& g) const { return nas::to_string(hash(g)).substr(0, 10); }

Network SearchSpace::lower(const Genotype& g) const {
  Network network;
  lower(g, network);
  return network;
}

void SearchSpace::lower(const Genotype& g, Network& network) const {
  network.layers.clear();
  impl_->lower(g, network);
#ifndef NDEBUG
  const auto valid = validate(network);
  assert(valid && "a lowering made an invalid network");
#endif
}

}  // namespace nas
