#include "supernet/detail/execution.h"

#include "supernet/detail/sorting.h"
#include "supernet/detail/step.h"
#include "tests/supernet/test_support.h"

namespace nas::supernet {
namespace {

struct Case {
  const char* space;
  int resolution;
  int genotypes;
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.space;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

class EverySpace : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Images, EverySpace,
                         testing::Values(Case{"tiny", 16, 12}, Case{"cifar-mbv3", 24, 4},
                                         Case{"ofa-mbv3-w1.0", 32, 1}, Case{"nasbench201", 16, 4},
                                         Case{"mcunet", 48, 2}, Case{"autoformer-tiny", 32, 1}),
                         case_name);

// P3, P4, P7 and finite differences by proxy: autograd over LibTorch's own operators is the oracle.
TEST_P(EverySpace, LogitsAndAllGradientsEqualAutogradThroughIndependentSlices) {
  const SearchSpace space = space_of(GetParam().space, {GetParam().resolution});
  const Supernet supernet = shaken_supernet(space);
  const WeightTable& weights = supernet.impl().weights;
  Rng rng(11, "genotypes");
  for (int k = 0; k < GetParam().genotypes; ++k) {
    const Network network = space.lower(space.sample(rng));
    ReferenceSupernet reference = reference_of(supernet, true);
    const std::vector<float> pixels = random_pixels(6, network);
    const at::Tensor images = as_nchw(pixels, network);
    const ReferenceNetwork net{
        network, [&](std::size_t l, const char* part) { return reference.cut(network, l, part); },
        weights.batch_norm_epsilon()};
    const at::Tensor wanted = net.forward(images);
    const at::Tensor direction = at::sin(at::arange(wanted.numel(), at::kFloat)).view(wanted.sizes());
    (wanted * direction).sum().backward();

    const TaskGuard guard;
    Execution run(weights, network, {});
    const at::Tensor found = run.forward(images.permute({0, 2, 3, 1}).contiguous());
    EXPECT_LT(largest_difference(found, wanted), 2e-4 * (1 + wanted.abs().max().item<double>()));
    Gradients gradients;
    run.backward(direction, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const Parameter& p = weights.parameters()[i];
      const at::Tensor& leaf = reference.leaves.at(p.name);
      at::Tensor dense = at::zeros_like(p.value);
      if (gradients[i].defined())
        slice(dense, gradients[i].sizes().vec(), crops_centre(p.key)).copy_(gradients[i]);
      const at::Tensor truth = leaf.grad().defined() ? leaf.grad() : at::zeros_like(p.value);
      const double size = truth.norm().item<double>();
      // A relu whose input is within rounding of zero may switch: one in a few thousand, so a percent or so
      // of a deep network's gradient. A wrong gradient is off by its own size.
      EXPECT_LT((dense - truth).norm().item<double>(), 3e-2 * size + 5e-3) << p.name;
    }
  }
}

TEST(KernelTransform, StartsAsTheCentreCropAndMovesOnlyTheSizesBelowIt) {
  const SearchSpace space = space_of("cifar-mbv3", {24});
  auto supernet = Supernet::make(space);
  ASSERT_TRUE(supernet);
  WeightTable& weights = supernet->impl().weights;
  Genotype g = space.largest();
  const auto gene = static_cast<std::size_t>(space.find("stage2.block1.kernel"));
  const auto kernel_of = [&](int choice) {
    g[gene] = static_cast<std::uint8_t>(choice);
    const Network network = space.lower(g);
    const TaskGuard guard;
    for (std::size_t i = 0; i < network.layers.size(); ++i) {
      const Layer& l = network.layers[i];
      if (is_depthwise(l) && l.site.stage == 2 && l.site.block == 1)
        return Execution(weights, network, {}).active_weight(i, Part::weight).clone();
    }
    return at::Tensor();
  };
  const at::Tensor k3 = kernel_of(0), k5 = kernel_of(1), k7 = kernel_of(2);
  ASSERT_EQ(k7.size(2), 7);
  EXPECT_EQ(largest_difference(k5, k7.slice(2, 1, 6).slice(3, 1, 6)), 0);
  EXPECT_EQ(largest_difference(k3, k7.slice(2, 2, 5).slice(3, 2, 5)), 0);
  const auto transform = [&](const char* step) -> at::Tensor& {
    return weights
        .parameters()[static_cast<std::size_t>(weights.find("stage2.block1.depthwise." + std::string(step)))]
        .value;
  };
  transform("transform_second").mul_(2);
  EXPECT_EQ(largest_difference(kernel_of(1), k5), 0);
  EXPECT_EQ(largest_difference(kernel_of(0), k3 * 2), 0);
  transform("transform").mul_(3);
  EXPECT_EQ(largest_difference(kernel_of(2), k7), 0);
  EXPECT_LT(largest_difference(kernel_of(1), k5 * 3), 1e-6);
  EXPECT_LT(largest_difference(kernel_of(0), k3 * 6), 1e-6);
}

// P2. With momentum and groups; both criteria.
TEST(Sorting, PreservesTheLargestNetworkOrdersEveryGroupAndPermutesCompanions) {
  for (const Sorting criterion : {Sorting::l1, Sorting::batch_norm}) {
    SCOPED_TRACE(std::string("cifar-mbv3") + (criterion == Sorting::l1 ? " l1" : " batch norm"));
    const SearchSpace space = space_of("cifar-mbv3", {32});
    Supernet supernet = shaken_supernet(space);
    WeightTable& weights = supernet.impl().weights;
    const Network largest = space.lower(space.largest());
    const std::vector<float> pixels = random_pixels(4, largest);
    const auto before = *supernet.forward(pixels, largest);
    std::vector<at::Tensor> copies;  // a companion equal to the weights must stay equal to them
    for (const Parameter& p : weights.parameters()) copies.push_back(p.value.clone());
    std::vector<std::vector<at::Tensor>*> companions{&copies};
    sort_channels(weights, largest, {}, criterion, companions);
    bool moved = false;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      EXPECT_TRUE(at::equal(copies[i], weights.parameters()[i].value)) << weights.parameters()[i].name;
    }
    const auto after = *supernet.forward(pixels, largest);
    for (std::size_t i = 0; i < before.size(); ++i)
      EXPECT_NEAR(before[i], after[i], 1e-4 * (1 + std::abs(before[i])));
    const WeightTable once = weights.clone();
    sort_channels(weights, largest, {}, criterion, companions);
    for (std::size_t i = 0; i < copies.size(); ++i) {
      EXPECT_TRUE(at::equal(once.parameters()[i].value, weights.parameters()[i].value));
      moved = moved ||
              !at::equal(once.parameters()[i].value,
                         reference_of(shaken_supernet(space), false).leaves.at(weights.parameters()[i].name));
      if (moved && i > 8) break;
    }
    EXPECT_TRUE(moved);
  }
}

TEST(Sorting, KeepsTheChannelsOfEveryTrainedWidthTogether) {
  const SearchSpace space = space_of("cifar-mbv3", {24});
  Supernet supernet = shaken_supernet(space);
  WeightTable& weights = supernet.impl().weights;
  const Network largest = space.lower(space.largest());
  Genotype g = space.largest();
  for (std::size_t i = 0; i < g.size(); ++i)
    if (space.genes()[i].family == "e") g[i] = 1;
  const Network middle = space.lower(g);
  const std::vector<float> pixels = random_pixels(4, largest);
  const auto before = *supernet.forward(pixels, middle);
  std::vector<std::vector<at::Tensor>*> none;
  sort_channels(weights, largest, {middle}, Sorting::l1, none);
  // The middle width's network still computes the same: its prefix holds the same set of channels.
  // Squeeze-excite widths are groups of their own.
  const auto after = *supernet.forward(pixels, middle);
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_NEAR(before[i], after[i], 1e-4 * (1 + std::abs(before[i])));
  const at::Tensor w =
      weights.parameters()[static_cast<std::size_t>(weights.find("stage2.block1.project.weight"))].value;
  const at::Tensor importance = channel_importance(w, {}, Sorting::l1);
  std::int64_t width = 0;
  for (const Layer& l : middle.layers)
    if (l.site.stage == 2 && l.site.block == 1 && l.site.role == Role::project && l.kind == LayerKind::conv)
      width = l.in.channels;
  ASSERT_GT(width, 0);
  for (std::int64_t c = 1; c < importance.numel(); ++c)
    if (c != width) {
      EXPECT_GE(importance[c - 1].item<double>(), importance[c].item<double>()) << c;
    }
}

// P9.
TEST(Step, GradientsOfEqualPathsAddUpAndShardsAverage) {
  const SearchSpace space = space_of("tiny", {16});
  const Supernet supernet = shaken_supernet(space);
  const Network network = space.lower(space.largest());
  Batch batch;
  batch.resolution = 16;
  batch.pixels = random_pixels(8, network);
  for (int i = 0; i < 8; ++i) batch.labels.push_back(i % 10);
  StepPlan plan;
  StepGradients one, three;
  plan.paths = {{network, false, 0}};
  run_step(supernet.impl().weights, plan, batch, one);
  plan.paths.assign(3, {network, false, 0});
  run_step(supernet.impl().weights, plan, batch, three);
  ASSERT_EQ(three.parts.size(), 3U);
  for (std::size_t p = 0; p < one.parts[0].size(); ++p)
    for (const Gradients& g : three.parts)
      if (one.parts[0][p].defined()) {
        EXPECT_TRUE(at::equal(g[p], one.parts[0][p]));
      }
  EXPECT_DOUBLE_EQ(one.paths[0].loss, three.paths[2].loss);
}

TEST(Execution, RecomputedActivationsGiveTheSameBitsFromLessMemory) {
  for (const char* name : {"tiny", "cifar-mbv3", "autoformer-tiny"}) {
    const SearchSpace space = space_of(name, {});
    const Supernet supernet = shaken_supernet(space);
    const WeightTable& weights = supernet.impl().weights;
    const Network network = space.lower(space.largest());
    const Shape in = network.layers.front().out;
    const std::vector<float> pixels = random_pixels(2, network);
    const TaskGuard guard;
    const at::Tensor x = at::empty({2, in.height, in.width, in.channels}, at::kFloat);
    std::copy(pixels.begin(), pixels.end(), x.data_ptr<float>());
    const auto run = [&](bool recompute, Gradients& gradients, double& kept) {
      ExecutionOptions options;
      options.recompute = recompute;
      options.dropout = 0.3;
      options.dropout_key = 5;
      Execution execution(weights, network, options);
      const at::Tensor out = execution.forward(x);
      for (std::size_t l = 1; l < network.layers.size(); ++l)
        if (execution.value(l).defined()) kept += static_cast<double>(execution.value(l).nbytes());
      execution.backward(at::sin(at::arange(out.numel(), at::kFloat)).view(out.sizes()), gradients);
      return out;
    };
    Gradients plain, remade;
    double all = 0, some = 0;
    EXPECT_TRUE(at::equal(run(false, plain, all), run(true, remade, some))) << name;
    EXPECT_LT(some, 0.55 * all) << name;
    ASSERT_EQ(plain.size(), remade.size());
    for (std::size_t p = 0; p < plain.size(); ++p) {
      ASSERT_EQ(plain[p].defined(), remade[p].defined()) << weights.parameters()[p].name;
      if (plain[p].defined()) {
        EXPECT_TRUE(at::equal(plain[p], remade[p])) << weights.parameters()[p].name;
      }
    }
  }
}

}  // namespace
}  // namespace nas::supernet
