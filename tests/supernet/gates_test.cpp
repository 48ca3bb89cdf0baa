#include "supernet/path_gradients.h"
#include "supernet/proxies.h"
#include "tests/supernet/test_support.h"

namespace nas::supernet {
namespace {

Batch some_batch(const Network& network, int images) {
  Batch batch;
  batch.resolution = network.layers.front().out.height;
  batch.pixels = random_pixels(static_cast<std::size_t>(images), network);
  for (int i = 0; i < images; ++i) batch.labels.push_back(i % 10);
  return batch;
}

double loss_of(const at::Tensor& logits, const Batch& batch) {
  return at::cross_entropy_loss(logits, at::tensor(batch.labels, at::kLong)).item<double>();
}

// The oracle: mix the outputs of two kernel choices with gates (1 - t, t) in the independent interpreter and
// difference the loss by t. A mixture of kernels of one depthwise convolution is a convolution with the mixed
// kernel, so the mixture is a network whose weight is the mixture.
TEST(PathGradients, AgreeWithFiniteDifferencesOfAMixtureOfChoices) {
  const SearchSpace space = space_of("tiny", {16});
  const Supernet supernet = shaken_supernet(space);
  const Genotype path = space.largest();
  const int gene = space.find("stage2.block1.kernel");
  ASSERT_GE(gene, 0);
  const Network large = space.lower(path);
  Genotype other = path;
  other[static_cast<std::size_t>(gene)] = 0;
  const Network small = space.lower(space.canonical(other));
  const Batch batch = some_batch(large, 8);
  const auto found = path_gradients(supernet, space, path, {&gene, 1}, batch);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->front().of_choice.size(), 2U);

  const ReferenceSupernet reference = reference_of(supernet, false);
  const at::Tensor images = as_nchw(batch.pixels, large).to(at::kDouble);
  const auto loss = [&](double open_small, double open_large) {
    const auto weight = [&](std::size_t l, const char* part) {
      at::Tensor w = reference.cut(large, l, part).to(at::kDouble);
      const Layer& layer = large.layers[l];
      if (is_depthwise(layer) && layer.site.stage == 2 && layer.site.block == 1) {
        const at::Tensor centre = reference.cut(small, l, part).to(at::kDouble);
        w = w * open_large + at::constant_pad_nd(centre, {1, 1, 1, 1}) * open_small;
      }
      return w;
    };
    return loss_of(ReferenceNetwork{large, weight}.forward(images), batch);
  };
  constexpr double kStep = 1e-7;
  EXPECT_NEAR(found->front().of_choice[0], (loss(kStep, 1) - loss(-kStep, 1)) / (2 * kStep), 2e-4);
  EXPECT_NEAR(found->front().of_choice[1], (loss(0, 1 + kStep) - loss(0, 1 - kStep)) / (2 * kStep), 2e-4);
}

TEST(PathGradients, ReachEveryOperationGeneOfProxylessNasAndRefuseResolution) {
  const SearchSpace space = space_of("proxylessnas", {32, 48});
  const Supernet supernet = shaken_supernet(space);
  Rng rng(1, "path");
  Genotype path = space.sample(rng);
  path[static_cast<std::size_t>(space.find("resolution"))] = 0;
  const Network network = space.lower(space.canonical(path));
  std::vector<int> genes;
  for (std::size_t i = 0; i < space.genes().size() && genes.size() < 4; ++i)
    if (space.genes()[i].family == "op") genes.push_back(static_cast<int>(i));
  ASSERT_FALSE(genes.empty());
  const auto found = path_gradients(supernet, space, space.canonical(path), genes, some_batch(network, 4));
  ASSERT_TRUE(found) << found.error().message;
  for (const GateGradients& g : *found) {
    double size = 0;
    for (const double v : g.of_choice) {
      EXPECT_TRUE(std::isfinite(v));
      size += std::abs(v);
    }
    EXPECT_GT(size, 0) << space.genes()[static_cast<std::size_t>(g.gene)].name;
  }
  const int resolution = space.find("resolution");
  EXPECT_FALSE(
      path_gradients(supernet, space, space.canonical(path), {&resolution, 1}, some_batch(network, 4)));
}

TEST(Proxies, AreReproducibleAndPreferTheLargestNetworkToTheSmallest) {
  const SearchSpace space = space_of("tiny", {16});
  const Network large = space.lower(space.largest()), small = space.lower(space.smallest());
  const Batch batch = some_batch(large, 16);
  const auto a = zero_cost_proxies(large, 1e-5, batch, 1), again = zero_cost_proxies(large, 1e-5, batch, 1);
  const auto b = zero_cost_proxies(small, 1e-5, batch, 1);
  ASSERT_TRUE(a && again && b);
  EXPECT_EQ(a->naswot, again->naswot);
  EXPECT_EQ(a->zen, again->zen);
  EXPECT_GT(a->naswot, b->naswot);
  EXPECT_GT(a->log_synflow, b->log_synflow);
  EXPECT_GT(a->zen, b->zen);
}

TEST(Proxies, RefuseABatchOfAnotherSize) {
  const SearchSpace space = space_of("tiny", {16});
  const Network large = space.lower(space.largest());
  Batch batch = some_batch(large, 4);
  batch.resolution = 20;
  EXPECT_FALSE(zero_cost_proxies(large, 1e-5, batch, 1));
}

}  // namespace
}  // namespace nas::supernet
