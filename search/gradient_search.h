#pragma once
#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <memory>
#include <vector>

#include "search/additive.h"
#include "search/one_hot_mlp.h"
#include "search/policy.h"
#include "search/strategy.h"
#include "search/variation.h"

namespace nas::search {

// A number as a smooth function of a relaxed genotype: `p` holds, gene after gene (GeneForest::offset), the
// weights of its choices; writes the derivative with respect to each. Surrogates have this form, and so has a
// supernet whose path gates give dLoss/dgate.
using Relaxed = std::function<double(std::span<const double> p, std::span<double> gradient)>;

// The expected value of a sum of terms when every gene is drawn independently with weights p; exact, with
// inactive genes counted as in canonical genotypes.
Relaxed expected(const SearchSpace& space, const Additive& cost);

// How a cost enters the loss (ProxylessNAS, Cai, Zhu and Han 2019): add: loss + weight * (E - ref) / ref;
// mul: loss * (E / ref)^weight, for losses above 0.
enum class CostForm { add, mul };

struct GradientProblem {
  Relaxed loss;            // to minimise
  Relaxed cost = nullptr;  // null: none
  CostForm form = CostForm::add;
  double weight = 0.3;
  double reference = 1;  // of the cost
};

struct GradientOptions {
  std::size_t batch = 8;       // networks asked per step
  std::size_t updates = 20;    // of the logits per step
  double rate = 0.05;          // of Adam
  double hot = 3, cold = 0.3;  // temperature of the Gumbel-softmax (Jang et al. 2017) at first and at last
  std::size_t cooling = 50;    // steps from hot to cold
};

// Follows the gradient of the relaxed loss in logits per gene, then asks for networks drawn from them.
class GradientSearch {
 public:
  GradientSearch(Setting setting, GradientProblem problem, GradientOptions options);
  // One sample of the relaxed loss at the logits, with its derivative; public for the finite-difference test.
  double relaxed_loss(std::span<const double> logits, std::span<const double> gumbel, double temperature,
                      std::span<double> gradient) const;
  void ask(const History& history, Ask& ask);
  void tell(const History& history, std::span<const Row> rows);
  void save(nlohmann::json& out) const;
  Result<void> load(const nlohmann::json& state);

 private:
  void descend();
  Variation variation_;
  GradientProblem problem_;
  GradientOptions options_;
  FactorisedPolicy policy_;
  Adam adam_;
  std::uint64_t step_ = 0;
};

}  // namespace nas::search
