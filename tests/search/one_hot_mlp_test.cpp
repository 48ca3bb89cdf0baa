#include "search/one_hot_mlp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include "tests/search/fixtures.h"

namespace nas::search {
namespace {

std::vector<Dense> random_layers(std::vector<std::size_t> widths) {
  std::vector<Dense> layers;
  for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
    Dense layer{widths[l], widths[l + 1], {}, {}};
    Rng rng(1, "layers", l);
    for (std::size_t i = 0; i < layer.in * layer.out; ++i)
      layer.weight.push_back(static_cast<float>(rng.normal() / std::sqrt(double(layer.in))));
    for (std::size_t i = 0; i < layer.out; ++i) layer.bias.push_back(static_cast<float>(0.1 * rng.normal()));
    layers.push_back(std::move(layer));
  }
  return layers;
}

// The textbook loop in double precision.
double plain(const std::vector<Dense>& layers, std::vector<double> x) {
  for (std::size_t l = 0; l < layers.size(); ++l) {
    std::vector<double> y(layers[l].bias.begin(), layers[l].bias.end());
    for (std::size_t p = 0; p < layers[l].in; ++p)
      for (std::size_t j = 0; j < layers[l].out; ++j)
        y[j] += x[p] * double{layers[l].weight[p * layers[l].out + j]};
    if (l + 1 < layers.size())
      for (double& v : y) v = std::max(v, 0.0);
    x = std::move(y);
  }
  return x[0];
}

struct Case {
  SearchSpace space = test::block_space(3, 3, 3, 5);
  GeneForest forest{space};
  std::vector<int> first;
  std::vector<Dense> layers;
  std::vector<Genotype> batch;
  explicit Case(std::vector<std::size_t> hidden) {
    int at = 0;
    for (std::size_t g = 0; g < forest.size(); ++g) {
      const bool depth = space.genes()[g].family == "d";
      first.push_back(depth ? -1 : at);
      if (!depth) at += static_cast<int>(forest.choices(g));
    }
    std::vector<std::size_t> widths{static_cast<std::size_t>(at)};
    widths.insert(widths.end(), hidden.begin(), hidden.end());
    widths.push_back(1);
    layers = random_layers(widths);
    for (std::uint64_t i = 0; i < 101; ++i) {
      Rng rng(2, "batch", i);
      batch.push_back(space.sample(rng));
    }
  }
  std::vector<double> input(const Genotype& g) const {
    std::vector<double> x(layers[0].in, 0.0);
    for (std::size_t gene = 0; gene < forest.size(); ++gene)
      if (first[gene] >= 0 && space.active(g, gene)) x[static_cast<std::size_t>(first[gene]) + g[gene]] = 1;
    return x;
  }
};

TEST(OneHotMlp, EqualsThePlainLoopForAwkwardWidths) {
  for (const auto& hidden : {std::vector<std::size_t>{400, 400, 400}, {17, 5}, {33}, {16, 48, 7}}) {
    const Case c(hidden);
    const auto mlp = OneHotMlp::make(c.forest, c.first, c.layers, 2.0, 5.0);
    ASSERT_TRUE(mlp) << mlp.error().message;
    std::vector<double> out(c.batch.size());
    mlp->score(c.batch, out);
    for (std::size_t i = 0; i < out.size(); ++i)
      EXPECT_NEAR(out[i], 5 + 2 * plain(c.layers, c.input(c.batch[i])), 2e-5);
  }
}

TEST(OneHotMlp, ResultDoesNotDependOnBatchOrThreads) {
  const Case c({40, 40});
  const auto mlp = OneHotMlp::make(c.forest, c.first, c.layers);
  std::vector<double> together(c.batch.size()), one(1);
  mlp->score(c.batch, together);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
  for (std::size_t i = 0; i < c.batch.size(); ++i) {
    mlp->score({&c.batch[i], 1}, one);
    EXPECT_EQ(one[0], together[i]);
  }
}

TEST(OneHotMlp, GradientAgreesWithFiniteDifferences) {
  const Case c({20, 20});
  const auto mlp = OneHotMlp::make(c.forest, c.first, c.layers, 3.0, 1.0);
  std::vector<double> x(mlp->inputs()), gradient(x.size());
  Rng rng(3, "relaxed");
  for (double& v : x) v = rng.uniform();
  mlp->gradient(x, gradient);
  std::vector<double> ignored(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto up = x, down = x;
    up[i] += 1e-6, down[i] -= 1e-6;
    EXPECT_NEAR((mlp->gradient(up, ignored) - mlp->gradient(down, ignored)) / 2e-6, gradient[i], 1e-5);
  }
}

TEST(OneHotMlp, RefusesLayersThatDoNotFit) {
  Case c({20, 20});
  c.layers[1].bias.pop_back();
  EXPECT_THAT(OneHotMlp::make(c.forest, c.first, c.layers).error().message,
              testing::HasSubstr("layer 1 does not fit"));
}

}  // namespace
}  // namespace nas::search
