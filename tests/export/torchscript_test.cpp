#include "supernet/torchscript/torchscript.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "supernet/evaluate.h"
#include "supernet/quantize/float_executor.h"
#include "tests/export/agreement.h"
#include "tests/export/random_network.h"

namespace nas {
namespace {

using testing::HasSubstr;
using testing_support::gap;
using testing_support::Gap;
using testing_support::network_count;
using testing_support::planes_of;
using testing_support::random_images;
using testing_support::random_network;

struct Case {
  const char* space;
  int resolution;
};
const Case kCases[] = {{"tiny", 16},          {"cifar-mbv3", 24},      {"mcunet", 48},
                       {"proxylessnas", 32},  {"mnasnet-accel", 32},   {"ofa-mbv3-w1.0", 32},
                       {"ofa-resnet50d", 32}, {"attentivenas", 32},    {"fbnet", 32},
                       {"nasbench201", 32},   {"autoformer-tiny", 224}};

class TorchScriptSpaces : public testing::TestWithParam<Case> {};

TEST_P(TorchScriptSpaces, ComputesWhatLibTorchAndTheFoldedNetworkCompute) {
  const auto space = load_space(GetParam().space, {.classes = 10, .resolutions = {GetParam().resolution}});
  ASSERT_TRUE(space) << to_string(space.error());
  for (std::uint64_t index = 0; index < network_count(1); ++index) {
    Rng rng(41, "torchscript", 0, index);
    const auto trained = random_network(*space, space->canonical(space->sample(rng)), 5 + index);
    const Shape in = trained.network.layers.front().out;
    const auto images = random_images(in, 2, 3 + index);
    const auto bytes = supernet::write_torchscript(trained, {{"cat", "dog"}, {0.5, 0.25, 0.125}, {1, 2, 3}});
    ASSERT_TRUE(bytes) << to_string(bytes.error());
    std::vector<float> pixels, planes;
    for (const auto& image : images) {
      pixels.insert(pixels.end(), image.begin(), image.end());
      const auto p = planes_of(image, in);
      planes.insert(planes.end(), p.begin(), p.end());
    }
    const auto run = supernet::run_torchscript(*bytes, in, planes, "model.ts.pt");
    ASSERT_TRUE(run) << to_string(run.error());
    EXPECT_EQ(run->genotype, trained.provenance.genotype);
    const auto exact = supernet::logits(trained, pixels);
    ASSERT_TRUE(exact) << to_string(exact.error());
    ASSERT_EQ(exact->size(), run->logits.size());
    const Gap g = gap(*exact, run->logits, 10);
    std::printf("%s %d: TorchScript %.2g\n", GetParam().space, static_cast<int>(index), g.relative());
    EXPECT_LE(g.relative(), 1e-5) << GetParam().space << " " << index;
    EXPECT_TRUE(g.same);
    const auto folded = supernet::fold(trained);
    if (!folded) continue;  // the forms for devices do not know the layer
    std::vector<float> ours;
    for (const auto& image : images) {
      const auto logits = supernet::FloatExecutor(*folded).run(image);
      ours.insert(ours.end(), logits.begin(), logits.end());
    }
    const Gap f = gap(*exact, ours, 10);
    std::printf("%s %d: folded %.2g\n", GetParam().space, static_cast<int>(index), f.relative());
    EXPECT_LE(f.relative(), 1e-5) << GetParam().space << " " << index;
    EXPECT_TRUE(f.same);
  }
}

INSTANTIATE_TEST_SUITE_P(Spaces, TorchScriptSpaces, testing::ValuesIn(kCases), [](const auto& one) {
  std::string name = one.param.space;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

TEST(TorchScript, WritesTheSameBytesAndRefusesDamagedOnes) {
  const auto space = load_space("tiny", {.classes = 10, .resolutions = {16}});
  const auto trained = random_network(*space, space->smallest(), 1);
  const auto bytes = supernet::write_torchscript(trained, {});
  ASSERT_TRUE(bytes) << to_string(bytes.error());
  EXPECT_EQ(*bytes, *supernet::write_torchscript(trained, {}));
  const auto broken = supernet::run_torchscript(bytes->substr(0, 1000), {3, 16, 16}, {}, "model.ts.pt");
  ASSERT_FALSE(broken);
  EXPECT_THAT(to_string(broken.error()), HasSubstr("model.ts.pt: error: TorchScript: "));
}

TEST(TorchScript, NamesALayerThatHasNoSuchForm) {
  supernet::TrainedNetwork trained;
  Layer ids, table;
  ids.out = {1, 5, 1};
  table.kind = LayerKind::embedding;
  table.site.role = Role::embed;
  table.inputs = {0, -1};
  table.in = ids.out;
  table.out = {4, 5, 1};
  table.hidden = 7;
  trained.network.layers = {ids, table};
  trained.tensors = {{layer_name(table) + ".table", {7, 4}, std::vector<float>(28)}};
  const auto bytes = supernet::write_torchscript(trained, {});
  ASSERT_FALSE(bytes);
  EXPECT_THAT(bytes.error().message, HasSubstr("embedding layers have no such form; use safetensors"));
}

}  // namespace
}  // namespace nas
