#include "supernet/supernet.h"

#include <filesystem>

#include "supernet/evaluate.h"
#include "tests/network_count.h"
#include "tests/supernet/test_support.h"

namespace nas::supernet {
namespace {

at::Tensor reference_logits(const TrainedNetwork& trained, const at::Tensor& images, at::ScalarType type) {
  const auto weight = [&](std::size_t l, const char* part) {
    const NamedTensor* t = trained.find(l, part);
    return at::tensor(t->values).view(t->shape).to(type);
  };
  return ReferenceNetwork{trained.network, weight, trained.batch_norm_epsilon, true}.forward(images.to(type));
}

constexpr const char* kTinyRank = HWNAS_SOURCE_DIR "/examples/spaces/tiny-rank.json";

struct Case {
  const char* space;
  int resolution;
  int genotypes;
};
class EveryImageSpace : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Spaces, EveryImageSpace,
                         testing::Values(Case{"tiny", 16, 200}, Case{"cifar-mbv3", 24, 20},
                                         Case{"nasbench201", 16, 10}, Case{"ofa-mbv3-w1.0", 32, 4},
                                         Case{"ofa-proxyless-w1.3", 32, 2}, Case{"ofa-resnet50d", 32, 1},
                                         Case{"mcunet", 48, 6}, Case{"proxylessnas", 32, 3},
                                         Case{"attentivenas", 32, 1}, Case{"fbnet", 32, 3},
                                         Case{"autoformer-tiny", 32, 2}, Case{kTinyRank, 16, 40}),
                         [](const auto& param) {
                           std::string name = std::filesystem::path(param.param.space).stem();
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

// P1 and P3: inherited and recalibrated equals extracted, as a third implementation computes it.
TEST_P(EveryImageSpace, SubNetworkScoresEqualTheExtractedNetworkInAnotherInterpreter) {
  const int side = GetParam().resolution;
  const SearchSpace space = space_of(GetParam().space, {side});
  const Supernet supernet = shaken_supernet(space);
  // Scored on the first of the recalibration images: on others a channel that hardly varied leaves its batch
  // norm with any size, and rounding grows with it.
  const BatchList recalibration = random_list(2, 16, 1), scoring = random_list(1, 6, 1);
  Batch batch;
  scoring.build(side, 0, batch);
  Rng rng(5, "extract");
  std::vector<Network> networks;
  const auto count = testing_support::network_count(static_cast<std::uint64_t>(GetParam().genotypes));
  for (std::uint64_t i = 0; i < count; ++i) networks.push_back(space.lower(space.sample(rng)));
  const auto scores = evaluate(supernet, networks, recalibration, scoring);
  ASSERT_TRUE(scores) << scores.error().message;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    const auto trained = extract(supernet, networks[i], recalibration, {});
    ASSERT_TRUE(trained) << trained.error().message;
    const auto found = logits(*trained, batch.pixels);
    ASSERT_TRUE(found);
    const at::Tensor images = as_nchw(batch.pixels, networks[i]);
    const at::Tensor wanted = reference_logits(*trained, images, at::kDouble);
    const at::Tensor ours = at::tensor(*found).view(wanted.sizes()).to(at::kDouble);
    // Random deep networks on a handful of images magnify rounding: what LibTorch's own float operators lose
    // against double is the yardstick where it is more than 1e-5.
    const double rounding = largest_difference(reference_logits(*trained, images, at::kFloat), wanted);
    EXPECT_LT(largest_difference(ours, wanted), 1e-5 * (1 + wanted.abs().max().item<double>()) + 4 * rounding)
        << i;
    const at::Tensor labels = at::tensor(batch.labels, at::kLong);
    EXPECT_NEAR((*scores)[i].loss, at::cross_entropy_loss(wanted, labels).item<double>(),
                5e-5 * (1 + (*scores)[i].loss) + 4 * rounding);
  }
}

TEST(Evaluation, LeavesTheSupernetByteIdenticalAndDoesNotDependOnOrderOrCompany) {
  const SearchSpace space = space_of("tiny", {16, 24});
  const Supernet supernet = shaken_supernet(space);
  const auto before = supernet.parameters();
  const Network a = space.lower(space.largest()), b = space.lower(space.smallest());
  const BatchList recalibration = random_list(3, 16, 1), scoring = random_list(2, 32, 2);
  const std::vector<Network> three{a, b, a};
  const auto together = evaluate(supernet, three, recalibration, scoring);
  const auto alone = evaluate(supernet, {&b, 1}, recalibration, scoring);
  ASSERT_TRUE(together && alone);
  EXPECT_EQ((*together)[0].loss, (*together)[2].loss);
  EXPECT_EQ((*together)[1].loss, (*alone)[0].loss);
  EXPECT_EQ(supernet.parameters(), before);
}

TEST(Evaluation, RecalibratedStatisticsAreThePooledOnesOfTheWholeSet) {
  const SearchSpace space = space_of("tiny", {16});
  const Supernet supernet = shaken_supernet(space);
  const Network network = space.lower(space.smallest());
  const BatchList list = random_list(3, 8, 4);
  const auto trained = extract(supernet, network, list, {});
  ASSERT_TRUE(trained);
  // The first batch norm sees the stem's output: pool it over all images at once, in double.
  std::size_t conv = 1;
  while (network.layers[conv].kind != LayerKind::conv) ++conv;
  std::vector<at::Tensor> all;
  for (int i = 0; i < 3; ++i) {
    Batch batch;
    list.build(16, i, batch);
    all.push_back(as_nchw(batch.pixels, network));
  }
  const NamedTensor* w = trained->find(conv, "weight");
  const Layer& l = network.layers[conv];
  const at::Tensor y =
      at::conv2d(at::cat(all).to(at::kDouble), at::tensor(w->values).view(w->shape).to(at::kDouble), {},
                 l.stride, l.padding);
  const at::Tensor flat = y.permute({1, 0, 2, 3}).flatten(1);
  EXPECT_LT(largest_difference(at::tensor(trained->find(conv + 1, "mean")->values), flat.mean(1)), 1e-5);
  EXPECT_LT(largest_difference(at::tensor(trained->find(conv + 1, "variance")->values), flat.var(1, false)),
            1e-5);
}

TEST(Evaluation, WilsonIntervalHasItsKnownValues) {
  const auto [low, high] = wilson_interval(8, 10);
  EXPECT_NEAR(low, 0.4901625, 1e-6);
  EXPECT_NEAR(high, 0.9433178, 1e-6);
  EXPECT_DOUBLE_EQ(wilson_interval(0, 10).first, 0);
  EXPECT_DOUBLE_EQ(wilson_interval(10, 10).second, 1);
}

TEST(Supernet, NamesTheLayerThatItDoesNotHold) {
  const auto supernet = Supernet::make(space_of("tiny", {16}));
  ASSERT_TRUE(supernet);
  const SearchSpace other = space_of("cifar-mbv3", {24});
  const auto held = supernet->holds(other.lower(other.largest()));
  ASSERT_FALSE(held);
  EXPECT_NE(held.error().message.find("stem"), std::string::npos) << held.error().message;
}

}  // namespace
}  // namespace nas::supernet
