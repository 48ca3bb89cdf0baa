#pragma once
#include <cstdint>
#include <span>

#include "supernet/recipe.h"

namespace nas::supernet {

// Losses over logits [images, classes] of part of a batch. Losses are sums over images; gradients are of
// sum / `batch`, so that parts of a batch add up to the mean over all of it.
struct LossValue {
  double loss = 0;           // what was minimised, summed over images
  std::int64_t correct = 0;  // images whose label has the largest logit
};

// Cross entropy against class probabilities: those in `targets` (may be empty) or the labels smoothed by
// `smoothing`. Adds weight * gradient to `gradient`.
LossValue hard_loss(std::span<const float> logits, std::size_t classes, std::span<const std::int64_t> labels,
                    std::span<const float> targets, double smoothing, double weight, double batch,
                    std::span<float> gradient);

// The teacher's divergence; the teacher's logits get no gradient. Adds weight * gradient.
double teacher_loss(const Distillation& how, std::span<const float> logits, std::span<const float> teacher,
                    std::size_t classes, double batch, std::span<float> gradient);

// D and the surrogate's gradient of one row for one alpha: p teacher, q student probabilities. The formulas
// are AlphaNet's (Wang et al., ICML 2021), where `clip` bounds (p/q)^alpha; alpha 0 and 1 are the KL limits.
double alpha_divergence(std::span<const double> p, std::span<const double> q, double alpha, double clip,
                        std::span<double> logit_gradient);

}  // namespace nas::supernet
