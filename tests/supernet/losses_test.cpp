#include "supernet/detail/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

namespace nas::supernet {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Doubles softmax(const Doubles& z) {
  Doubles p(z.size());
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) sum += p[i] = std::exp(z[i]);
  for (double& v : p) v /= sum;
  return p;
}

const Floats kLogits = {0.3F, -1.2F, 2.0F, 0.1F, 1.5F, -0.4F, 0.2F, -2.0F};
const Floats kTeacher = {1.3F, 0.2F, -0.7F, 0.4F, -0.5F, 2.4F, 0.0F, 1.0F};
const std::vector<std::int64_t> kLabels = {2, 1};

// Central differences of a loss of the logits; float logits, so steps of 1e-2 and matching tolerance.
void expect_gradient(const std::function<double(const Floats&)>& loss, const Floats& gradient,
                     double factor) {
  for (std::size_t i = 0; i < kLogits.size(); ++i) {
    Floats up = kLogits, down = kLogits;
    up[i] += 0.01F;
    down[i] -= 0.01F;
    const double step = static_cast<double>(up[i]) - static_cast<double>(down[i]);
    EXPECT_NEAR(static_cast<double>(gradient[i]), factor * (loss(up) - loss(down)) / step, 2e-4) << i;
  }
}

TEST(HardLoss, GradientAgreesWithFiniteDifferencesAndPartsAddUp) {
  Floats gradient(8);
  const LossValue v = hard_loss(kLogits, 4, kLabels, {}, 0.1, 0.7, 2, gradient);
  EXPECT_EQ(v.correct, 1);
  expect_gradient([](const Floats& z) { return hard_loss(z, 4, kLabels, {}, 0.1, 1, 2, {}).loss; }, gradient,
                  0.35);
  const Floats first(kLogits.begin(), kLogits.begin() + 4);
  const Floats second(kLogits.begin() + 4, kLogits.end());
  const std::vector<std::int64_t> a = {2}, b = {1};
  EXPECT_NEAR(
      hard_loss(first, 4, a, {}, 0.1, 1, 2, {}).loss + hard_loss(second, 4, b, {}, 0.1, 1, 2, {}).loss,
      v.loss, 1e-12);
}

TEST(HardLoss, SoftTargetsReplaceLabels) {
  const Floats targets = {0.5F, 0.5F, 0, 0, 0, 0, 0.25F, 0.75F};
  Floats gradient(8);
  hard_loss(kLogits, 4, kLabels, targets, 0.3, 1, 2, gradient);
  expect_gradient([&](const Floats& z) { return hard_loss(z, 4, kLabels, targets, 0, 1, 2, {}).loss; },
                  gradient, 0.5);
}

double teacher_value(const Distillation& how, const Floats& z) {
  Floats ignored(8);
  return teacher_loss(how, z, kTeacher, 4, 2, ignored);
}

TEST(TeacherLoss, SoftCrossEntropyAndMeanSquaredAgreeWithFiniteDifferences) {
  for (const Divergence d : {Divergence::soft_cross_entropy, Divergence::mean_squared}) {
    Distillation how;
    how.divergence = d;
    how.weight = 3;
    Floats gradient(8);
    teacher_loss(how, kLogits, kTeacher, 4, 2, gradient);
    expect_gradient([&](const Floats& z) { return teacher_value(how, z); }, gradient, 1.5);
  }
}

TEST(TeacherLoss, AStudentEqualToTheTeacherHasTheTeachersEntropyAndNoGradient) {
  Distillation how;
  Floats gradient(8);
  const double loss = teacher_loss(how, kTeacher, kTeacher, 4, 2, gradient);
  double entropy = 0;
  for (std::size_t row = 0; row < 2; ++row)
    for (const double p : softmax(Doubles(kTeacher.begin() + 4 * static_cast<std::ptrdiff_t>(row),
                                          kTeacher.begin() + 4 * static_cast<std::ptrdiff_t>(row) + 4)))
      entropy -= p * std::log(p);
  EXPECT_NEAR(loss, entropy, 1e-6);
  for (const float g : gradient) EXPECT_NEAR(g, 0, 1e-7);
}

const Doubles kP = softmax({1.0, -0.5, 0.3}), kZ = {0.2, 0.4, -0.6};

TEST(AlphaDivergence, LimitsAreTheTwoKullbackLeiblerDivergences) {
  const Doubles q = softmax(kZ);
  double forward = 0, reverse = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    forward += kP[i] * std::log(kP[i] / q[i]);
    reverse += q[i] * std::log(q[i] / kP[i]);
  }
  Doubles g(3), near(3);
  EXPECT_NEAR(alpha_divergence(kP, q, 1, 1e9, g), forward, 1e-12);
  EXPECT_NEAR(alpha_divergence(kP, q, 1 - 1e-6, 1e9, near), forward, 1e-5);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(g[i], q[i] - kP[i], 1e-12);  // ordinary distillation
    EXPECT_NEAR(g[i], near[i], 1e-5);
  }
  EXPECT_NEAR(alpha_divergence(kP, q, 0, 1e9, g), reverse, 1e-12);
  EXPECT_NEAR(alpha_divergence(kP, q, 1e-6, 1e9, near), reverse, 1e-5);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(g[i], near[i], 1e-5);
}

TEST(AlphaDivergence, SurrogateGradientIsTheTrueOneWhileNothingIsClipped) {
  for (const double alpha : {-1.0, -0.5, 0.0, 0.5, 1.0, 2.0}) {
    Doubles g(3), ignored(3);
    alpha_divergence(kP, softmax(kZ), alpha, 1e9, g);
    for (std::size_t i = 0; i < 3; ++i) {
      Doubles up = kZ, down = kZ;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      const double slope = (alpha_divergence(kP, softmax(up), alpha, 1e9, ignored) -
                            alpha_divergence(kP, softmax(down), alpha, 1e9, ignored)) /
                           2e-5;
      EXPECT_NEAR(g[i], slope, 1e-7) << "alpha " << alpha;
    }
  }
}

TEST(AlphaDivergence, StaysFiniteOnOpposedLogitsOfFifty) {
  Distillation how;
  how.divergence = Divergence::alpha;
  const Floats student = {50, -50, 0, -50}, teacher = {-50, 50, -50, 0};
  Floats gradient(4);
  EXPECT_TRUE(std::isfinite(teacher_loss(how, student, teacher, 4, 1, gradient)));
  for (const float g : gradient) {
    EXPECT_TRUE(std::isfinite(g));
    EXPECT_LT(std::abs(g), 100);
  }
}

}  // namespace
}  // namespace nas::supernet
