#include "supernet/onnx/onnx_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "devices/codegen/network.h"
#include "devices/codegen/reference.h"
#include "devices/process.h"
#include "space/base/file.h"
#include "supernet/onnx/onnx_outputs.h"
#include "supernet/quantize/float_executor.h"
#include "supernet/quantize/quantize.h"
#include "tests/export/agreement.h"
#include "tests/export/random_network.h"

// Exported ONNX in a runtime that others wrote: ONNX Runtime, from the npm package of package.json.
namespace nas {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::Doubles;
using testing_support::expect_float_agreement;
using testing_support::network_count;
using testing_support::planes_of;
using testing_support::random_images;
using testing_support::random_network;
using testing_support::worst_operation;

constexpr std::size_t kImages = 8;

// Very deep networks of random weights carry one flipped value to logits many steps away, in any two
// runtimes: there only the float form is compared.
struct Case {
  const char* space;
  int resolution;
  bool integer = true;
  bool deep = false;
};
const Case kCases[] = {{"tiny", 16},
                       {"cifar-mbv3", 24},
                       {"mcunet", 48},
                       {"proxylessnas", 32},
                       {"mnasnet-accel", 32},
                       {"ofa-mbv3-w1.0", 32, false},
                       {"ofa-resnet50d", 32, false},
                       {"attentivenas", 32, false, true}};

bool runtime_is_there() { return fs::exists(fs::path(HWNAS_SOURCE_DIR) / "node_modules/onnxruntime-node"); }

// One image's values of an NCHW batch, channels last.
template <class T>
std::vector<T> channels_last(const std::string& batch, const Shape& s, std::size_t image) {
  const auto plane = static_cast<std::size_t>(s.height * s.width),
             channels = static_cast<std::size_t>(s.channels), size = plane * channels;
  std::vector<T> rows(size), planes(size);
  std::memcpy(planes.data(), batch.data() + image * size * sizeof(T), size * sizeof(T));
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t p = 0; p < plane; ++p) rows[p * channels + c] = planes[c * plane + p];
  return rows;
}

class OnnxRuntime : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!runtime_is_there())
      GTEST_SKIP() << "no ONNX Runtime: npm ci --ignore-scripts in the repository brings it";
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<float> run(const std::string& model, const std::vector<std::vector<float>>& images,
                         const Shape& in) {
    std::string pixels;
    for (const auto& image : images) {
      const auto planes = planes_of(image, in);
      pixels.append(reinterpret_cast<const char*>(planes.data()), planes.size() * sizeof(float));
    }
    EXPECT_TRUE(write_file(folder_ / "model.onnx", model));
    EXPECT_TRUE(write_file(folder_ / "images.f32", pixels));
    devices::Command command;
    command.arguments = {"node",
                         std::string(HWNAS_SOURCE_DIR) + "/supernet/onnx/ort_run.mjs",
                         (folder_ / "model.onnx").string(),
                         (folder_ / "images.f32").string(),
                         (folder_ / "logits.f32").string(),
                         std::to_string(in.channels),
                         std::to_string(in.height),
                         std::to_string(in.width)};
    command.working_folder = HWNAS_SOURCE_DIR;
    const auto ran = devices::run_checked(command);
    EXPECT_TRUE(ran) << (ran ? "" : to_string(ran.error()));
    const auto bytes = read_file(folder_ / "logits.f32");
    if (!bytes) return {};
    std::vector<float> logits(bytes->size() / sizeof(float));
    std::memcpy(logits.data(), bytes->data(), bytes->size());
    return logits;
  }

  // Every tensor of the first image, the image first, channels last.
  std::vector<Doubles> float_tensors(const supernet::FoldedNetwork& network, const std::string& model,
                                     const std::vector<std::vector<float>>& images) {
    const auto& ops = network.deployment.ops;
    std::vector<std::string> names;
    for (std::size_t i = 1; i <= ops.size(); ++i) names.push_back("t" + std::to_string(i));
    const auto open = supernet::onnx_with_outputs(model, names, "open");
    EXPECT_TRUE(open);
    (void)run(*open, {images.front()}, network.deployment.input);
    std::vector<Doubles> tensors{{images[0].begin(), images[0].end()}};
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const auto values =
          channels_last<float>(*read_file(folder_ / ("logits.f32." + names[i])), ops[i].out, 0);
      tensors.emplace_back(values.begin(), values.end());
    }
    return tensors;
  }

  fs::path folder_ = fs::temp_directory_path() / ("hwnas-onnx-" + std::to_string(::getpid()));
};

Genotype genotype_of(const SearchSpace& space, std::uint64_t index) {
  Rng rng(21, "onnx", 0, index);
  Genotype g = space.sample(rng);
  if (const int width = space.find("width"); width >= 0) g[static_cast<std::size_t>(width)] = 0;
  return space.canonical(g);
}

TEST_P(OnnxRuntime, ComputesTheFloatAndTheIntegerNetworkAsOursDo) {
  const auto space = load_space(GetParam().space, {.classes = 10, .resolutions = {GetParam().resolution}});
  ASSERT_TRUE(space) << to_string(space.error());
  for (std::uint64_t index = 0; index < network_count(1); ++index) {
    const auto folded = supernet::fold(random_network(*space, genotype_of(*space, index), 5 + index));
    ASSERT_TRUE(folded) << to_string(folded.error());
    const Shape in = folded->deployment.input;
    const auto images = random_images(in, kImages, 3 + index);
    const auto model = supernet::write_onnx(*folded, {"float", {}});
    ASSERT_TRUE(model) << to_string(model.error());
    EXPECT_EQ(*supernet::write_onnx(*folded, {"float", {}}), *model);  // the same bytes
    const std::vector<float> theirs = run(*model, images, in);
    ASSERT_EQ(theirs.size(), 10 * kImages);
    const supernet::FloatExecutor executor(*folded);
    std::vector<float> exact;
    for (const auto& image : images) {
      const auto logits = executor.run(image);
      exact.insert(exact.end(), logits.begin(), logits.end());
    }
    const std::string title = std::string(GetParam().space) + " " + std::to_string(index) + ": ONNX Runtime";
    expect_float_agreement(*folded, images, exact, theirs, GetParam().deep, title);
    const double worst = worst_operation(*folded, float_tensors(*folded, *model, images));
    std::printf("%s: every operation within %.2g of double precision\n", title.c_str(), worst);
    EXPECT_LE(worst, 2e-6) << title;

    if (!GetParam().integer) continue;
    const auto quantized = supernet::quantize(*folded, images, {.calibration = supernet::Calibration::mse});
    ASSERT_TRUE(quantized) << to_string(quantized.error());
    const auto integer = supernet::write_onnx(*quantized, {"int8", {}});
    ASSERT_TRUE(integer) << to_string(integer.error());
    const std::vector<float> rounded = run(*integer, images, in);
    ASSERT_EQ(rounded.size(), 10 * kImages);
    const Quantization grid = quantized->tensors.back();
    double steps = 0, farthest = 0;
    for (std::size_t i = 0; i < kImages; ++i) {
      std::vector<std::int8_t> q;
      for (const float v : images[i]) q.push_back(supernet::to_grid(v, quantized->tensors[0]));
      const auto ours = devices::codegen::run_reference(*quantized, q);
      ASSERT_TRUE(ours);
      for (std::size_t k = 0; k < 10; ++k) {
        const double off = std::abs(rounded[10 * i + k] / grid.scale + grid.zero - (*ours)[k]);
        steps += off / static_cast<double>(10 * kImages);
        farthest = std::max(farthest, off);
      }
    }
    // Both round every tensor once; ties (half to even there) and the last bit of float sums flip a value
    // here and there, and random deep networks carry that to the logits.
    std::printf("%s: logits %.3f steps apart on average, %.0f at most\n", GetParam().space, steps, farthest);
    EXPECT_LE(steps, 4) << GetParam().space;
    EXPECT_LE(farthest, 32) << GetParam().space;
  }
}

struct Tally {
  std::size_t values = 0, apart = 0;
  int farthest = 0;
  int step = 1;  // what one step is worth behind the kind's steepest table
};

// Steps of the result that a step before the table can make; 1 where there is none.
int steepest(const devices::codegen::Int8Params& params) {
  int step = 1;
  if (params.table)
    for (std::size_t i = 1; i < params.table->size(); ++i)
      step = std::max(step, std::abs((*params.table)[i] - (*params.table)[i - 1]));
  return step;
}

std::string kind_of(const DeployedOp& op) {
  const char* kinds[] = {"conv", "depthwise", "fully connected", "add", "gate", "mean", "max", "activation"};
  std::string kind = kinds[static_cast<int>(op.kind)];
  if (op.kind == DeployedKind::average_pool)
    kind += std::to_string(op.kernel == 0 ? op.in.height * op.in.width : op.kernel * op.kernel);
  return kind + " " + std::string(to_string(op.activation));
}

// Operation by operation, each from the inputs that ONNX Runtime itself had: no flipped value travels.
TEST_P(OnnxRuntime, RoundsEveryOperationOfTheIntegerNetworkAsOursDoes) {
  const auto space = load_space(GetParam().space, {.classes = 10, .resolutions = {GetParam().resolution}});
  ASSERT_TRUE(space) << to_string(space.error());
  std::map<std::string, Tally> tallies;
  for (std::uint64_t index = 0; index < network_count(1); ++index) {
    const auto folded = *supernet::fold(random_network(*space, genotype_of(*space, index), 5 + index));
    const Shape in = folded.deployment.input;
    const auto images = random_images(in, kImages, 3 + index);
    const auto quantized = *supernet::quantize(
        folded, images,
        {.calibration = supernet::Calibration::mse, .equalise = false, .correct_bias = false});
    const auto& ops = quantized.deployment.ops;
    std::vector<std::string> names;
    for (std::size_t i = 0; i <= ops.size(); ++i) names.push_back("t" + std::to_string(i) + ".q");
    const auto open =
        supernet::onnx_with_outputs(*supernet::write_onnx(quantized, {"int8", {}}), names, "open");
    ASSERT_TRUE(open);
    (void)run(*open, images, in);
    std::vector<std::string> theirs;
    for (const std::string& name : names) theirs.push_back(*read_file(folder_ / ("logits.f32." + name)));
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const auto kernel = *devices::codegen::kernel_of(quantized, i);
      const auto shape_of = [&](std::int32_t t) {
        return t == 0 ? in : ops[static_cast<std::size_t>(t) - 1].out;
      };
      for (std::size_t image = 0; image < kImages; ++image) {
        const auto input = [&](int k) {
          const std::int32_t t = ops[i].inputs[static_cast<std::size_t>(k)];
          return t < 0 ? std::vector<std::int8_t>()
                       : channels_last<std::int8_t>(theirs[static_cast<std::size_t>(t)], shape_of(t), image);
        };
        const auto ours = devices::codegen::run_reference(
            kernel.spec, std::get<devices::codegen::Int8Params>(kernel.params), input(0), input(1),
            devices::codegen::Rounding::single);
        const auto found = channels_last<std::int8_t>(theirs[i + 1], ops[i].out, image);
        Tally& tally = tallies[kind_of(ops[i])];
        tally.values += ours.size();
        tally.step = std::max(tally.step, steepest(std::get<devices::codegen::Int8Params>(kernel.params)));
        for (std::size_t k = 0; k < ours.size(); ++k) {
          tally.apart += ours[k] != found[k];
          tally.farthest = std::max(tally.farthest, std::abs(ours[k] - found[k]));
        }
      }
    }
  }
  Tally all;
  for (const auto& [kind, tally] : tallies) {
    std::printf("%s: %s: %zu of %zu values a step apart\n", GetParam().space, kind.c_str(), tally.apart,
                tally.values);
    EXPECT_LE(tally.farthest, tally.step) << kind;
    if (kind.starts_with("mean")) {
      // ONNX Runtime's means go through floating point, where a tie may fall either way: 0.5 % of those of
      // four values (ofa-resnet50d).
      EXPECT_LE(static_cast<double>(tally.apart), std::max(4.0, 0.01 * static_cast<double>(tally.values)))
          << kind;
      continue;
    }
    all.apart += tally.apart;
    all.values += tally.values;
  }
  EXPECT_LE(static_cast<double>(all.apart), std::max(4.0, 1e-5 * static_cast<double>(all.values)));
}

INSTANTIATE_TEST_SUITE_P(Spaces, OnnxRuntime, testing::ValuesIn(kCases), [](const auto& one) {
  std::string name = one.param.space;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

TEST(OnnxWriter, SeesWhatTheCheckerDoesNot) {
  const auto space = load_space("tiny", {.classes = 10, .resolutions = {16}});
  const auto folded = supernet::fold(random_network(*space, space->smallest(), 1));
  ASSERT_TRUE(folded);
  // A bias with a value too few: ONNX's own checker passes it.
  auto broken = *folded;
  broken.weights[0].bias.pop_back();
  const auto model = supernet::write_onnx(broken, {"broken", {}});
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message, HasSubstr("t1.bias"));
}

TEST(OnnxWriter, RefusesDamagedModelsWithoutCrashing) {
  const auto space = load_space("tiny", {.classes = 10, .resolutions = {16}});
  const auto folded = supernet::fold(random_network(*space, space->smallest(), 1));
  const auto images = random_images(folded->deployment.input, 4, 1);
  const std::string models[] = {
      *supernet::write_onnx(*folded, {"fuzz", {}}),
      *supernet::write_onnx(*supernet::quantize(*folded, images, {.calibration = supernet::Calibration::mse}),
                            {"fuzz", {}})};
  for (const std::string& model : models) EXPECT_TRUE(supernet::check_onnx(model, "whole"));
  std::size_t refused = 0;
  for (std::uint64_t i = 0; i < 800; ++i) {
    Rng rng(9, "onnx damage", i);
    std::string damaged = models[i % 8 / 4];
    if (i % 4 == 0)  // of both models
      damaged.resize(rng.below(damaged.size()));
    else
      for (int n = 0; n < 3; ++n) damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
    refused += !supernet::check_onnx(damaged, "damaged");
  }
  EXPECT_GT(refused, 50U);
}

}  // namespace
}  // namespace nas
