#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "search/evaluator.h"
#include "search/feasibility.h"
#include "search/gradient_search.h"
#include "search/listing.h"
#include "space/json/document.h"

namespace nas::apps {

// The "problem" of a search's configuration, ready to be asked (docs/search.md).
struct SearchProblem {
  SearchSpace space;
  search::Evaluator evaluator;
  search::Evaluator probe = {};               // as cheap as can be, for the reference; empty: the evaluator
  std::vector<search::KnownCost> known = {};  // metrics with exact answers
  std::vector<search::KnownPeak> peaks = {};  // peak memory
  std::vector<search::BoundedCost> bounds = {};   // of metrics that are neither
  std::vector<search::KnownCost> stand_ins = {};  // separable models of metrics that are no sums
  search::Relaxed relaxed_loss = nullptr;         // of the first metric, from a supernet's path gates
  std::shared_ptr<const search::Listing> listing = nullptr;
  std::vector<std::string> notes = {};  // what the models are worth, one line each
};

// {"kind": "networks", "accuracy": FILE | "space": NAME, "integers": FILE of quantised networks in a space
// with bit genes, "accuracy_model": "best", "proxy": SEED, "precision": "int8", "devices": [...]}: networks
// scored by models. Relative files are taken from `base`; `project`: where the user's own device profiles
// are.
Result<SearchProblem> network_problem(JsonReader& reader, const std::filesystem::path& base,
                                      const std::filesystem::path& project);
// {"kind": "supernet", "run": FOLDER, "space": NAME, "accuracies": FILE, "images": N, "precision",
// "devices"}: candidates are evaluated on a trained supernet. Only in hwnas-torch.
Result<SearchProblem> supernet_problem(JsonReader& reader, const std::filesystem::path& base,
                                       const std::filesystem::path& project);
// {"kind": "closed-form", "space": NAME, "seed": 1}
Result<SearchProblem> closed_form_problem(JsonReader& reader);
// {"kind": "csv", "file": FILE, "genes": [...], "metrics": [...]}
Result<SearchProblem> table_problem(JsonReader& reader, const std::filesystem::path& base);

// A made-up accuracy that grows with every active choice by seeded, saturating steps. For trying strategies:
// modelled, and no network was ever trained for it.
Result<search::Additive> proxy_of(const SearchSpace& space, std::uint64_t seed);

}  // namespace nas::apps
