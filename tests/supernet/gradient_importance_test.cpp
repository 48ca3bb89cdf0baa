#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "supernet/prune/importance.h"
#include "supernet/quantize/simulation.h"
#include "tests/export/random_network.h"

namespace nas::supernet {
namespace {

using Values = std::vector<float>;

// Logits of one image when the gate of a group's channel, at its consumers, is z: their columns times z.
Values logits_at(const FoldedNetwork& folded, const ChannelGroup& group, std::size_t channel, double z,
                 const Values& image) {
  FoldedNetwork gated = folded;
  for (std::size_t i = 0; i < gated.deployment.ops.size(); ++i) {
    const DeployedOp& op = gated.deployment.ops[i];
    if (op.part != DeployedPart::main ||
        std::ranges::find(group.consumers, op.layer) == group.consumers.end())
      continue;
    const auto channels =
        static_cast<std::size_t>(group.channels);  // innermost in both orders of dense weights
    for (std::size_t k = channel; k < gated.weights[i].values.size(); k += channels)
      gated.weights[i].values[k] = static_cast<float>(gated.weights[i].values[k] * z);
  }
  return FloatExecutor(gated).run(image);
}

// Cross entropy of the logits moved by t along a direction.
double loss_along(const Values& logits, const std::vector<double>& direction, double t, std::int64_t label) {
  std::vector<double> moved;
  for (std::size_t i = 0; i < logits.size(); ++i) moved.push_back(logits[i] + t * direction[i]);
  const double top = *std::ranges::max_element(moved);
  double total = 0;
  for (const double x : moved) total += std::exp(x - top);
  return top + std::log(total) - moved[static_cast<std::size_t>(label)];
}

struct Case {
  TrainedNetwork trained;
  FoldedNetwork folded;
  std::vector<ChannelGroup> groups;
  std::vector<Values> images;
  std::vector<std::int64_t> labels;
};

Case made() {
  at::set_num_threads(1);
  const SearchSpace space = *load_space("tiny", {.classes = 4, .resolutions = {16}});
  Case c{testing_support::random_network(space, space.smallest(), 3), {}, {}, {}, {1, 3}};
  c.folded = *fold(c.trained);
  c.groups = channel_groups(c.trained.network);
  c.images = testing_support::random_images(c.folded.deployment.input, 2, 8);
  return c;
}

TEST(GradientImportance, IsWhatDifferencesOfTheLossSay) {
  const Case c = made();
  const auto scores = gradient_importance(c.trained, c.groups, c.images, c.labels);
  ASSERT_TRUE(scores) << to_string(scores.error());
  // Small enough that hardly any activation crosses a kink between the two sides. Gauss-Newton's second
  // derivative is that of the loss along the logits' own derivative.
  constexpr double kStep = 2e-3, kAlong = 1e-3;
  for (std::size_t g = 0; g < c.groups.size(); g += 2)
    for (std::size_t k = 0; k < static_cast<std::size_t>(c.groups[g].channels); k += 5) {
      double first = 0, second = 0;
      for (std::size_t n = 0; n < 2; ++n) {
        const auto at = [&](double z) { return logits_at(c.folded, c.groups[g], k, z, c.images[n]); };
        const Values up = at(1 + kStep), down = at(1 - kStep), here = at(1);
        std::vector<double> slope;
        for (std::size_t i = 0; i < here.size(); ++i)
          slope.push_back((static_cast<double>(up[i]) - down[i]) / (2 * kStep));
        const auto loss = [&](double t) { return loss_along(here, slope, t, c.labels[n]); };
        first += (loss(kAlong) - loss(-kAlong)) / (2 * kAlong) / 2;
        second += (loss(kAlong) - 2 * loss(0) + loss(-kAlong)) / (kAlong * kAlong) / 2;
      }
      EXPECT_NEAR(scores->taylor[g][k], std::fabs(first), 2e-3 + 0.03 * std::fabs(first)) << g << " " << k;
      EXPECT_NEAR(scores->second[g][k], second / 2, 1e-4 + 0.06 * second) << g << " " << k;
    }
}

TEST(GradientImportance, IsZeroForAChannelThatNobodyReads) {
  Case c = made();
  const auto consumer = static_cast<std::size_t>(c.groups[1].consumers.front());
  auto& w = const_cast<NamedTensor&>(*c.trained.find(consumer, "weight"));
  for (std::size_t i = 2; i < w.values.size(); i += static_cast<std::size_t>(c.groups[1].channels))
    w.values[i] = 0;
  const auto scores = gradient_importance(c.trained, c.groups, c.images, c.labels);
  ASSERT_TRUE(scores);
  EXPECT_EQ(scores->taylor[1][2], 0);
  EXPECT_EQ(scores->second[1][2], 0);
  EXPECT_GT(scores->second[1][1], 0);
}

}  // namespace
}  // namespace nas::supernet
