#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/additive.h"
#include "space/base/result.h"
#include "space/search_space.h"

namespace nas::search {

// `count` different networks that cover the space evenly: smallest and largest first, then a Latin hypercube
// (McKay et al. 1979) over the genes: every choice of a gene equally often, made canonical. Fewer where the
// space is smaller.
std::vector<Genotype> designed_sample(const SearchSpace& space, std::size_t count, std::uint64_t seed);

// How well a model orders and predicts held-out networks.
struct SurrogateScore {
  std::string model;    // "macs only", "ridge", "mlp", "trees"
  double rmse = 0;      // in the unit of the accuracy
  double tau = 0;       // Kendall's tau-b over all held-out networks
  double tau_bins = 0;  // mean of tau inside MACs bins of equal count, weighted by their size
};

// A fitted model of accuracy. Cheap to copy, safe from any thread.
class AccuracySurrogate {
 public:
  const std::string& model() const { return model_; }
  std::vector<double> predict(std::span<const Genotype> batch) const { return predict_(batch); }
  // Of every rung of the ladder on the same held-out networks, the baseline "macs only" first.
  const std::vector<SurrogateScore>& scores() const { return scores_; }
  // The ridge rung as a sum of terms: the model itself where model() is "ridge", else a separable stand-in
  // that exact answers and gradients exist for.
  const Additive& separable() const { return separable_; }
  std::size_t trained_on() const { return trained_on_; }
  std::size_t held_out() const { return held_out_; }

 private:
  friend class SurrogateFitter;
  std::string model_;
  std::function<std::vector<double>(std::span<const Genotype>)> predict_;
  std::vector<SurrogateScore> scores_;
  Additive separable_;
  std::size_t trained_on_ = 0, held_out_ = 0;
};

struct SurrogateOptions {
  std::uint64_t seed = 1;
  std::size_t bins = 5;        // of MACs
  int epochs = 200;            // of the mlp
  std::string model = "best";  // or the rung to keep: "ridge", "mlp", "trees"
};

// Fits ridge, network and trees on one-hot genes to measured accuracies (70 % train, 10 % validate, 20 %
// test), keeps the one with the least validation error (or the one asked for), and reports all on the test
// part. `macs`: of each network. Fails (usage) on unequal sizes, fewer than 30 networks, or numbers that are
// not finite.
Result<AccuracySurrogate> fit_accuracy(const SearchSpace& space, std::span<const Genotype> networks,
                                       std::span<const double> accuracy, std::span<const double> macs,
                                       const SurrogateOptions& options = {});

}  // namespace nas::search
