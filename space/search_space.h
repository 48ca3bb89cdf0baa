#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/hash.h"
#include "space/base/result.h"
#include "space/base/rng.h"
#include "space/genotype.h"
#include "space/network.h"

namespace nas {

// One value a gene can take: what a user writes, and its number where it has one (else its index).
struct Choice {
  std::string label;
  double value = 0;
};

// One categorical choice. A gene with a parent is active only while the parent is active and the parent's
// choice index lies in [parent_low, parent_high]; so genes form a forest, parents before children.
struct Gene {
  std::string name;             // "stage2.block1.kernel"
  std::string family;           // short key in the text form: r d k e w s a se b (weight bits) ab op …
  std::vector<Choice> choices;  // 1 to 256, ascending where they are numbers
  int parent = -1;
  std::uint8_t parent_low = 0;
  std::uint8_t parent_high = 255;
};

// What training and weight sharing need to know of a space besides its genes.
struct SpaceTraits {
  bool kernel_transform = true;  // smaller depthwise kernels by learned 7->5->3 matrices, else centre crop
  double bn_eps = 1e-5;
  double bn_momentum = 0.1;
  double dropout = 0;  // before the classifier
};

// Genes plus lowering. A cheap value (shared, immutable inside), safe to use from any thread.
// Every function that returns a genotype returns a canonical one: inactive genes are 0.
class SearchSpace {
 public:
  // Lowers a canonical genotype into `network` (cleared first; its memory is reused).
  using Lower = std::function<void(const Genotype&, Network& network)>;

  // Fails on no genes, an empty or duplicate choice, more than 256 choices, or a parent out of order.
  static Result<SearchSpace> make(std::string name, std::string json, std::vector<Gene> genes, Lower lower,
                                  SpaceTraits traits = {});

  const std::string& name() const;
  // The definition as JSON text; its hash identifies the space in stores and checkpoints.
  const std::string& json() const;
  const SpaceTraits& traits() const;
  Hash128 fingerprint() const;
  std::span<const Gene> genes() const;
  // Index of the gene, or -1.
  int find(std::string_view gene_name) const;
  // The choice's number: value(g, find("resolution")).
  double value(const Genotype& g, int gene) const;

  bool active(const Genotype& g, std::size_t gene) const;
  Genotype canonical(Genotype g) const;
  // Right length, choices in range, inactive genes 0.
  Result<void> check(const Genotype& g) const;
  Hash128 hash(const Genotype& g) const;

  Genotype smallest() const;                  // every gene at its first choice
  Genotype largest() const;                   // every gene at its last choice
  Genotype sample(Rng& rng) const;            // uniform choice per gene
  Genotype sample_canonical(Rng& rng) const;  // uniform over different canonical genotypes
  // Redraws each active gene with `probability`, to another value than before where there is one.
  Genotype mutate(const Genotype& g, Rng& rng, double probability) const;
  Genotype crossover(const Genotype& a, const Genotype& b, Rng& rng) const;  // uniform per gene
  // All canonical genotypes that differ in one active gene.
  std::vector<Genotype> neighbours(const Genotype& g) const;

  // Product of all choices, inactive genes counted too, decimal.
  std::string count_genotypes() const;
  // Exact number of canonical genotypes, decimal.
  std::string count() const;
  // The same without the input resolution gene, where there is one.
  std::string count_without_resolution() const;
  // Calls `visit` for every canonical genotype in lexicographic order until it returns false.
  void enumerate(const std::function<bool(const Genotype&)>& visit) const;

  // "r=160:d=2,3,4,2,2:k=3,5,…": values by gene family in gene order; inactive genes are written as "-".
  std::string text(const Genotype& g) const;
  Result<Genotype> parse(std::string_view text) const;
  // {"stage1.depth": 2, …}, active genes only.
  std::string to_json(const Genotype& g) const;
  Result<Genotype> from_json(std::string_view json_text, const std::string& where) const;
  // First hexadecimal digits of hash(), the name users give to an architecture.
  std::string short_id(const Genotype& g) const;

  Network lower(const Genotype& g) const;
  void lower(const Genotype& g, Network& network) const;

 private:
  struct Impl;
  explicit SearchSpace(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// What a user may change of a definition without writing a new one. 0 and empty: as defined.
struct SpaceOverrides {
  int classes = 0;
  std::vector<int> resolutions;
};

// The shipped spaces, by name.
std::vector<std::string> builtin_space_names();
// A space from JSON text (docs/spaces.md); every problem is reported as file:line:column.
Result<SearchSpace> parse_space(std::string_view json_text, const std::string& where,
                                const SpaceOverrides& change = {});
// A built-in name or the path of a JSON file; an unknown name's error suggests the nearest.
Result<SearchSpace> load_space(const std::string& name_or_path, const SpaceOverrides& change = {});

}  // namespace nas
