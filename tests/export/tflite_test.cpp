#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "devices/codegen/network.h"
#include "devices/codegen/tflite_tables.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/quantize.h"
#include "supernet/tflite/tflite_runtime.h"
#include "supernet/tflite/tflite_writer.h"
#include "tests/export/agreement.h"
#include "tests/export/random_network.h"

// Exported TensorFlow Lite models in a runtime that others wrote: the C library of TensorFlow Lite 2.2 in the
// npm package node-tflite. Its int8 kernels round twice, half away from zero (gemmlowp), as TFLite Micro
// does.
namespace nas {
namespace {

namespace fs = std::filesystem;
using devices::codegen::Rounding;
using testing::HasSubstr;
using testing_support::Doubles;
using testing_support::expect_float_agreement;
using testing_support::network_count;
using testing_support::random_images;
using testing_support::random_network;
using testing_support::worst_operation;

Result<supernet::TfliteRuntime> runtime() {
  return supernet::TfliteRuntime::open(fs::path(HWNAS_SOURCE_DIR) /
                                       "node_modules/node-tflite/tflite/linux_x86_64/libtensorflowlite_c.so");
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <class T>
std::vector<T> values_of(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<std::int8_t> on_grid(const std::vector<float>& image, const Quantization& grid) {
  std::vector<std::int8_t> q;
  for (const float v : image) q.push_back(supernet::to_grid(v, grid));
  return q;
}

struct Case {
  const char* space;
  int resolution;
  bool deep = false;
};
const Case kCases[] = {{"tiny", 16},          {"cifar-mbv3", 24},        {"mcunet", 48},
                       {"proxylessnas", 32},  {"mnasnet-accel", 32},     {"ofa-mbv3-w1.0", 32},
                       {"ofa-resnet50d", 32}, {"attentivenas", 32, true}};

std::string title(const testing::TestParamInfo<Case>& one) {
  std::string name = one.param.space;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

Genotype genotype_of(const SearchSpace& space, std::uint64_t index) {
  Rng rng(31, "tflite", 0, index);
  Genotype g = space.sample(rng);
  if (const int width = space.find("width"); width >= 0) g[static_cast<std::size_t>(width)] = 0;
  return space.canonical(g);
}

// Makes every tensor of the deployment an output: "t1", "t2", …
supernet::TfliteModel with_all_outputs(supernet::TfliteModel model, std::size_t ops) {
  std::vector<std::int32_t> all;
  for (std::size_t i = 1; i <= ops; ++i)
    for (std::size_t t = 0; t < model.tensors.size(); ++t)
      if (model.tensors[t].name == "t" + std::to_string(i)) all.push_back(static_cast<std::int32_t>(t));
  model.outputs = all;
  return model;
}

// Every tensor of an image, the image first.
std::vector<Doubles> float_tensors(const supernet::TfliteRuntime& runtime, const supernet::TfliteModel& model,
                                   const supernet::FoldedNetwork& network, const std::vector<float>& image) {
  const std::vector<std::string> one{bytes_of(image)};
  const auto outputs = runtime.run(to_bytes(with_all_outputs(model, network.deployment.ops.size())), one);
  EXPECT_TRUE(outputs);
  std::vector<Doubles> tensors{{image.begin(), image.end()}};
  for (const std::string& bytes : outputs->front()) {
    const auto values = values_of<float>(bytes);
    tensors.emplace_back(values.begin(), values.end());
  }
  EXPECT_EQ(tensors.size(), network.deployment.ops.size() + 1);
  return tensors;
}

class TfliteSpaces : public testing::TestWithParam<Case> {};

TEST_P(TfliteSpaces, ComputesTheFloatNetworkToRoundingAndTheIntegerOneBitForBit) {
  const auto tflite = runtime();
  if (!tflite) GTEST_SKIP() << "npm ci --ignore-scripts brings it: " << to_string(tflite.error());
  const auto space = load_space(GetParam().space, {.classes = 10, .resolutions = {GetParam().resolution}});
  ASSERT_TRUE(space) << to_string(space.error());
  for (std::uint64_t index = 0; index < network_count(2); ++index) {
    const auto folded = supernet::fold(random_network(*space, genotype_of(*space, index), 5 + index));
    ASSERT_TRUE(folded) << to_string(folded.error());
    const auto images = random_images(folded->deployment.input, 3, 3 + index);
    const auto plain = supernet::tflite_model(*folded);
    ASSERT_TRUE(plain) << to_string(plain.error());
    std::vector<std::string> inputs;
    for (const auto& image : images) inputs.push_back(bytes_of(image));
    const auto outputs = tflite->run(to_bytes(*plain), inputs);
    ASSERT_TRUE(outputs) << to_string(outputs.error());
    std::vector<float> ours, theirs;
    for (std::size_t i = 0; i < images.size(); ++i) {
      const auto logits = supernet::FloatExecutor(*folded).run(images[i]),
                 run = values_of<float>((*outputs)[i][0]);
      ours.insert(ours.end(), logits.begin(), logits.end());
      theirs.insert(theirs.end(), run.begin(), run.end());
    }
    const std::string title =
        std::string(GetParam().space) + " " + std::to_string(index) + ": TensorFlow Lite";
    expect_float_agreement(*folded, images, ours, theirs, GetParam().deep, title);
    const double worst = worst_operation(*folded, float_tensors(*tflite, *plain, *folded, images[0]));
    std::printf("%s: every operation within %.2g of double precision\n", title.c_str(), worst);
    EXPECT_LE(worst, 2e-6) << title;

    const auto quantized = supernet::quantize(*folded, images, {.calibration = supernet::Calibration::mse});
    ASSERT_TRUE(quantized) << to_string(quantized.error());
    const auto gated = supernet::fold_gates(*quantized);
    const auto integer = supernet::tflite_model(gated);
    ASSERT_TRUE(integer) << to_string(integer.error());
    const std::size_t ops = gated.deployment.ops.size();
    const auto q = on_grid(images[0], gated.tensors[0]);
    const std::vector<std::string> one{bytes_of(q)};
    const auto layers = tflite->run(to_bytes(with_all_outputs(*integer, ops)), one);
    ASSERT_TRUE(layers) << to_string(layers.error());
    std::size_t first = 0;
    const auto last = devices::codegen::run_reference(
        gated, q, Rounding::twice, [&](std::size_t tensor, std::span<const std::int8_t> values) {
          if (tensor == 0 || first != 0) return;
          if (bytes_of(std::vector<std::int8_t>(values.begin(), values.end())) != (*layers)[0][tensor - 1])
            first = tensor;
        });
    ASSERT_TRUE(last) << to_string(last.error());
    EXPECT_EQ(first, 0U) << GetParam().space << " " << index << ": tensor " << first << " of " << ops
                         << " differs first";
    const auto logits = tflite->run(to_bytes(*integer), one);
    ASSERT_TRUE(logits);
    EXPECT_EQ((*logits)[0][0], bytes_of(*last));
  }
}

INSTANTIATE_TEST_SUITE_P(Spaces, TfliteSpaces, testing::ValuesIn(kCases), title);

supernet::TfliteModel small_model(bool integer) {
  const auto space = load_space("tiny", {.classes = 10, .resolutions = {16}});
  const auto folded = supernet::fold(random_network(*space, space->smallest(), 1));
  if (!integer) return *supernet::tflite_model(*folded);
  const auto images = random_images(folded->deployment.input, 2, 1);
  return *supernet::tflite_model(supernet::fold_gates(
      *supernet::quantize(*folded, images, {.calibration = supernet::Calibration::mse})));
}

TEST(TfliteModel, ReadsWhatItWritesAndWritesTheSameBytes) {
  for (const bool integer : {false, true}) {
    auto model = small_model(integer);
    model.metadata["io.hwnas.genotype"] = "r=16";
    const std::string bytes = to_bytes(model);
    EXPECT_EQ(bytes, to_bytes(model));
    const auto again = supernet::tflite_from_bytes(bytes, "model.tflite");
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(to_bytes(*again), bytes);
    EXPECT_EQ(again->metadata.at("io.hwnas.genotype"), "r=16");
    EXPECT_EQ(again->ops.size(), model.ops.size());
  }
}

TEST(TfliteModel, RefusesTensorsAndOperatorsThatDoNotFit) {
  const auto error_of = [](const supernet::TfliteModel& model) {
    const auto read = supernet::tflite_from_bytes(to_bytes(model), "model.tflite");
    return read ? std::string("accepted") : read.error().message;
  };
  auto model = small_model(true);
  for (auto& t : model.tensors)
    if (t.name == "t1.bias") t.data.pop_back();
  EXPECT_THAT(error_of(model), HasSubstr("tensor \"t1.bias\": its shape says"));
  model = small_model(true);
  for (auto& t : model.tensors)
    if (t.name == "t1.weight") t.scales.pop_back(), t.zeros.pop_back();
  EXPECT_THAT(error_of(model), HasSubstr("scales are not one a channel"));
  model = small_model(true);
  std::swap(model.ops[0], model.ops[1]);
  EXPECT_THAT(error_of(model), HasSubstr("reads a tensor that nobody has computed"));
}

TEST(TfliteModel, RefusesDamagedFilesWithoutCrashing) {
  const std::string models[] = {to_bytes(small_model(false)), to_bytes(small_model(true))};
  std::size_t refused = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Rng rng(9, "tflite damage", i);
    std::string damaged = models[i % 2];
    if (i % 5 == 0) damaged.resize(rng.below(damaged.size()));
    // Half of the changes in the tables, which lie behind the weights.
    for (int n = 0; n < 3 && !damaged.empty(); ++n) {
      const std::size_t range = n == 0 ? damaged.size() : std::min<std::size_t>(damaged.size(), 8000);
      damaged[damaged.size() - 1 - rng.below(range)] = static_cast<char>(rng.below(256));
    }
    refused += !supernet::tflite_from_bytes(damaged, "damaged");
  }
  EXPECT_GT(refused, 1000U);
}

TEST(TfliteWriter, NamesAnActivationWithoutOperatorAndTheFormsThatHaveIt) {
  const auto space = load_space("tiny", {.classes = 10, .resolutions = {16}});
  auto folded = *supernet::fold(random_network(*space, space->smallest(), 1));
  folded.deployment.ops[0].activation = Activation::gelu;
  const auto model = supernet::tflite_model(folded);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message, HasSubstr("activation gelu; use torchscript, onnx"));
}

}  // namespace
}  // namespace nas
