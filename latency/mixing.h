#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nas::latency {

// Weights of a mixture of models, by greedy selection with replacement (Caruana et al., ICML 2004): each step
// takes the model that lowers the mean relative error on rows none of them was fitted on.
std::vector<double> choose_mixture(const std::vector<std::vector<double>>& predictions,
                                   std::span<const double> truth);
std::vector<double> mix(const std::vector<std::vector<double>>& predictions, std::span<const double> weights);

// "table 0.6 + trees 0.4".
std::string mixture_name(std::span<const std::string> names, std::span<const double> weights);

// Factors [low, high] on a prediction that hold 90 % of new truths (split conformal, Vovk et al. 2005).
std::pair<double, double> conformal_factors(std::span<const double> truth, std::span<const double> predicted);

}  // namespace nas::latency
