#include "supernet/detail/losses.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace nas::supernet {
namespace {

// Probabilities and log-probabilities of one row, in double.
void softmax(std::span<const float> logits, std::vector<double>& p, std::vector<double>& log_p) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (std::size_t c = 0; c < logits.size(); ++c) sum += std::exp(static_cast<double>(logits[c]) - top);
  const double log_sum = std::log(sum) + top;
  for (std::size_t c = 0; c < logits.size(); ++c) {
    log_p[c] = static_cast<double>(logits[c]) - log_sum;
    p[c] = std::exp(log_p[c]);
  }
}

constexpr double kTiny = 1e-30;  // keeps log and ratios of vanished probabilities finite

}  // namespace

LossValue hard_loss(std::span<const float> logits, std::size_t classes, std::span<const std::int64_t> labels,
                    std::span<const float> targets, double smoothing, double weight, double batch,
                    std::span<float> gradient) {
  LossValue value;
  std::vector<double> p(classes), log_p(classes);
  const double rest = smoothing / static_cast<double>(classes);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const auto row = logits.subspan(n * classes, classes);
    softmax(row, p, log_p);
    const auto label = static_cast<std::size_t>(labels[n]);
    for (std::size_t c = 0; c < classes; ++c) {
      const double t = targets.empty() ? (c == label ? 1 - smoothing + rest : rest)
                                       : static_cast<double>(targets[n * classes + c]);
      value.loss -= t * log_p[c];
      if (!gradient.empty()) gradient[n * classes + c] += static_cast<float>(weight * (p[c] - t) / batch);
    }
    value.correct +=
        static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin()) == label;
  }
  return value;
}

double alpha_divergence(std::span<const double> p, std::span<const double> q, double alpha, double clip,
                        std::span<double> logit_gradient) {
  double divergence = 0, mass = 0;
  std::vector<double> pull(q.size());  // q * rho
  for (std::size_t c = 0; c < q.size(); ++c) {
    const double qc = std::max(q[c], kTiny), r = std::max(p[c], kTiny) / qc;
    double f = 0, rho = 0;
    if (alpha == 1) {
      f = r * std::log(r);
      rho = r;
    } else if (alpha == 0) {
      f = -std::log(r);
      rho = std::log(r) - 1;
    } else {
      const double power = std::min(std::pow(r, alpha), clip), k = 1 / (alpha * (alpha - 1));
      f = (power - 1) * k;
      rho = power / alpha + k;
    }
    divergence += qc * f;
    pull[c] = qc * rho;
    mass += pull[c];
  }
  // The surrogate is -sum(pull * log q) with pull held fixed; through the softmax that is q * mass - pull.
  for (std::size_t c = 0; c < q.size(); ++c) logit_gradient[c] = q[c] * mass - pull[c];
  return divergence;
}

double teacher_loss(const Distillation& how, std::span<const float> logits, std::span<const float> teacher,
                    std::size_t classes, double batch, std::span<float> gradient) {
  std::vector<double> p(classes), log_p(classes), q(classes), log_q(classes), low(classes), high(classes);
  double loss = 0;
  for (std::size_t from = 0; from < logits.size(); from += classes) {
    const auto student = logits.subspan(from, classes), guide = teacher.subspan(from, classes);
    const auto add = [&](std::size_t c, double g) {
      gradient[from + c] += static_cast<float>(how.weight * g / batch);
    };
    if (how.divergence == Divergence::mean_squared) {
      for (std::size_t c = 0; c < classes; ++c) {
        const double d = static_cast<double>(student[c]) - static_cast<double>(guide[c]);
        loss += d * d / static_cast<double>(classes);
        add(c, 2 * d / static_cast<double>(classes));
      }
      continue;
    }
    softmax(guide, p, log_p);
    softmax(student, q, log_q);
    if (how.divergence == Divergence::soft_cross_entropy) {
      for (std::size_t c = 0; c < classes; ++c) {
        loss -= p[c] * log_q[c];
        add(c, q[c] - p[c]);
      }
      continue;
    }
    const double at_min = alpha_divergence(p, q, how.alpha_min, how.alpha_clip, low);
    const double at_max = alpha_divergence(p, q, how.alpha_max, how.alpha_clip, high);
    const bool use_min = at_min > at_max;
    loss += use_min ? at_min : at_max;
    for (std::size_t c = 0; c < classes; ++c) add(c, use_min ? low[c] : high[c]);
  }
  return loss;
}

}  // namespace nas::supernet
