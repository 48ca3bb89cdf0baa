#include "supernet/torch_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "space/base/rng.h"
#include "space/kernel.h"
#include "space/search_space.h"
#include "supernet/quantize/drawn.h"
#include "supernet/quantize/float_executor.h"

// LibTorch's own operators against our plain loops.
namespace nas::supernet {
namespace {

void expect_equal_results(const Network& network, const std::string& name) {
  auto deployment = deploy(network);
  ASSERT_TRUE(deployment) << to_string(deployment.error());
  const FoldedNetwork folded = drawn_network(*deployment, name);
  auto engine = TorchEngine::make(folded, "cpu");
  ASSERT_TRUE(engine) << to_string(engine.error());
  std::vector<float> image;
  Rng rng(3, "engine input");
  for (std::int64_t i = 0; i < deployment->input.elements(); ++i)
    image.push_back(static_cast<float>(rng.uniform(-1, 1)));
  const auto ours = FloatExecutor(folded).run(image), theirs = engine->output_of(image);
  ASSERT_EQ(ours.size(), theirs.size()) << name;
  double largest = 1e-6, farthest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    largest = std::max<double>(largest, std::abs(ours[i]));
    farthest = std::max<double>(farthest, std::abs(ours[i] - theirs[i]));
  }
  EXPECT_LE(farthest, 2e-5 * largest) << name;
}

TEST(TorchEngine, ComputesEveryKindOfKernelAsThePlainLoopsDo) {
  for (const char* text :
       {"conv k3 s2 p1 g1 3x17x17->8x9x9 bn relu6", "conv k1 s1 p0 g1 16x9x9->24x9x9 bn hard_swish",
        "conv k5 s1 p2 g16 16x11x11->16x11x11 bn swish", "linear 40x1x1->10x1x1 bias",
        "add 8x7x7->8x7x7 relu", "global_pool 12x5x5->12x1x1", "max_pool k3 s2 p1 8x9x9->8x5x5",
        "squeeze_excite m8 32x6x6->32x6x6 f:hard_sigmoid", "activation 8x4x4->8x4x4 f:hard_swish"}) {
    const auto kernel = parse_signature(text);
    ASSERT_TRUE(kernel) << text << ": " << to_string(kernel.error());
    const auto network = network_of(*kernel);
    ASSERT_TRUE(network) << text << ": " << to_string(network.error());
    expect_equal_results(*network, text);
  }
}

TEST(TorchEngine, ComputesWholeNetworksAsThePlainLoopsDo) {
  for (const char* name : {"tiny", "cifar-mbv3", "mcunet"}) {
    const auto space = load_space(name, {.classes = 10, .resolutions = {32}});
    ASSERT_TRUE(space) << to_string(space.error());
    Rng rng(5, "engine networks");
    const Genotype genotype = space->sample(rng);
    expect_equal_results(space->lower(genotype), std::string(name) + " " + space->text(genotype));
  }
}

TEST(TorchEngine, WithoutCudaItSaysSo) {
  const auto network = network_of(*parse_signature("linear 4x1x1->2x1x1 bias"));
  const auto engine = TorchEngine::make(drawn_network(*deploy(*network), "n"), "cuda");
  if (engine) GTEST_SKIP() << "this machine has CUDA";
  EXPECT_THAT(engine.error().message, testing::HasSubstr("CUDA"));
}

}  // namespace
}  // namespace nas::supernet
