#include "latency/mixing.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace nas::latency {
using Values = std::vector<double>;

Values choose_mixture(const std::vector<Values>& predictions, std::span<const double> truth) {
  constexpr int kSteps = 25;
  Values weights(predictions.size());
  Values sum(truth.size());
  for (int step = 1; step <= kSteps; ++step) {
    std::size_t best = 0;
    double best_error = 0;
    for (std::size_t c = 0; c < predictions.size(); ++c) {
      double error = 0;
      for (std::size_t i = 0; i < truth.size(); ++i) {
        error += std::abs((sum[i] + predictions[c][i]) / step - truth[i]) / truth[i];
      }
      if (c == 0 || error < best_error) {
        best_error = error;
        best = c;
      }
    }
    weights[best] += 1.0 / kSteps;
    for (std::size_t i = 0; i < truth.size(); ++i) sum[i] += predictions[best][i];
  }
  return weights;
}

Values mix(const std::vector<Values>& predictions, std::span<const double> weights) {
  Values out(predictions[0].size());
  for (std::size_t c = 0; c < weights.size(); ++c) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += weights[c] * predictions[c][i];
  }
  return out;
}

std::string mixture_name(std::span<const std::string> names, std::span<const double> weights) {
  std::string out;
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (weights[c] < 0.005) continue;
    char text[64];
    std::snprintf(text, sizeof(text), "%s%s %.2f", out.empty() ? "" : " + ", names[c].c_str(), weights[c]);
    out += text;
  }
  return out;
}

std::pair<double, double> conformal_factors(std::span<const double> truth,
                                            std::span<const double> predicted) {
  Values ratio(truth.size());
  for (std::size_t i = 0; i < ratio.size(); ++i) ratio[i] = truth[i] / predicted[i];
  std::sort(ratio.begin(), ratio.end());
  const double n = static_cast<double>(ratio.size());
  const auto rank = static_cast<std::size_t>(std::floor(0.05 * (n + 1)));
  if (rank == 0) return {ratio.front() * 0.5, ratio.back() * 2};
  return {ratio[rank - 1], ratio[ratio.size() - rank]};
}

}  // namespace nas::latency
