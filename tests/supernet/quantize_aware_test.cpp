#include "supernet/quantize_aware.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <set>

#include "devices/codegen/network.h"
#include "supernet/detail/rounded_network.h"
#include "supernet/detail/step.h"
#include "supernet/detail/ternary_function.h"
#include "supernet/quantize/simulation.h"
#include "supernet/trained_ternary.h"
#include "tests/export/random_network.h"

namespace nas::supernet {
namespace {

using testing_support::random_images;
using testing_support::random_network;
using Values = std::vector<float>;

struct Made {
  FoldedNetwork folded;
  std::vector<Values> images;
  QuantizeReport report;
  QuantizedNetwork quantized;
};

Made made(const char* space_name, int resolution, std::size_t images) {
  at::set_num_threads(1);  // small tensors: threads would only wait for each other
  const SearchSpace space = *load_space(space_name, {.classes = 10, .resolutions = {resolution}});
  Made m;
  m.folded = *fold(random_network(space, space.smallest(), 3));
  m.images = random_images(m.folded.deployment.input, images, 4);
  m.quantized = *quantize(m.folded, m.images, {.calibration = Calibration::mse}, &m.report);
  return m;
}

at::Tensor as_tensor(const std::vector<Values>& images, const Shape& s, at::ScalarType type) {
  at::Tensor x =
      at::empty({static_cast<std::int64_t>(images.size()), s.height, s.width, s.channels}, at::kFloat);
  for (std::size_t n = 0; n < images.size(); ++n)
    std::copy(images[n].begin(), images[n].end(), x.data_ptr<float>() + n * images[n].size());
  return x.to(type);
}

TEST(RoundToSteps, RoundsAndLearnsStepsAsLsqDefinesIt) {
  const at::Tensor x = at::tensor({-9.0, -0.4, 0.2, 0.9, 7.0}, at::kDouble).set_requires_grad(true);
  const at::Tensor step = at::tensor({0.5}, at::kDouble).set_requires_grad(true);
  const at::Tensor y = round_to_steps(x, step, -4, 3);
  const at::Tensor expected = at::tensor({-2.0, -0.5, 0.0, 1.0, 1.5}, at::kDouble);
  EXPECT_TRUE(at::equal(y.detach(), expected));
  const auto g = torch::autograd::grad({y.sum()}, {x, step});
  EXPECT_TRUE(at::equal(g[0], at::tensor({0.0, 1.0, 1.0, 1.0, 0.0}, at::kDouble)));
  // Low end, (-1 + 0.8), (0 - 0.4), (2 - 1.8), high end.
  EXPECT_NEAR(g[1].item<double>(), -4 - 0.2 - 0.4 + 0.2 + 3, 1e-12);
}

TEST(RoundToSteps, GradientsAreThoseOfTheFunctionWithItsRoundingHeldFixed) {
  at::Tensor x = at::randn({6, 40}, at::kDouble) * 3, offsets;
  at::Tensor step = at::rand({6}, at::kDouble) * 0.1 + 0.05;
  const at::Tensor weight = at::randn({6, 40}, at::kDouble);
  (void)round_to_steps(x, step, -50, 60, &offsets);
  const auto value = [&] {
    return (round_to_steps(x, step, -50, 60, &offsets) * weight).sum().item<double>();
  };
  const at::Tensor lx = x.clone().set_requires_grad(true), ls = step.clone().set_requires_grad(true);
  const auto g =
      torch::autograd::grad({(round_to_steps(lx, ls, -50, 60, &offsets) * weight).sum()}, {lx, ls});
  for (const auto& [leaf, gradient] : {std::pair{x, g[0]}, std::pair{step, g[1]}})
    for (std::int64_t i = 0; i < leaf.numel(); i += 5) {
      double& v = leaf.data_ptr<double>()[i];
      const double kept = v, h = 1e-7;
      v = kept + h;
      const double above = value();
      v = kept - h;
      const double below = value();
      v = kept;
      EXPECT_NEAR(gradient.view(-1)[i].item<double>(), (above - below) / (2 * h), 1e-4);
    }
}

// Moves every parameter by up to two of its units.
void shake(RoundedNetwork& network) {
  for (Parameter& p : network.table().parameters()) {
    Rng rng(5, p.name);
    for (std::int64_t i = 0; i < p.value.numel(); ++i)
      p.value.data_ptr<float>()[i] += static_cast<float>(rng.uniform(-2, 2));
  }
}

// A parameter of each tensor: gradient and central difference.
std::vector<std::pair<double, double>> gradients_and_differences(const Made& m) {
  RoundedNetwork network(m.report.folded, m.quantized);
  shake(network);  // at the start the largest weight of every channel lies exactly where its range ends
  // Not the images of calibration, whose largest values lie exactly where ranges end.
  const at::Tensor x =
      as_tensor(random_images(m.folded.deployment.input, 2, 77), m.folded.deployment.input, at::kDouble);
  const std::vector<at::Tensor> leaves = network.leaves(at::kDouble);
  RoundedNetwork::Offsets offsets;
  const at::Tensor logits = network.forward(x, leaves, true, &offsets);
  const at::Tensor weight = at::arange(logits.numel(), at::kDouble).sin().view(logits.sizes());
  const auto value = [&] {
    const c10::NoGradGuard no_grad;
    offsets.next = 0;
    return (network.forward(x, leaves, true, &offsets) * weight).sum().item<double>();
  };
  EXPECT_NEAR(value(), (logits * weight).sum().item<double>(), 1e-9);
  offsets.next = 0;
  const auto g = torch::autograd::grad({(network.forward(x, leaves, true, &offsets) * weight).sum()}, leaves,
                                       {}, false, false, true);
  Rng rng(9, "leaves");
  std::vector<std::pair<double, double>> found;
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    if (!g[l].defined()) continue;
    const auto i = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(leaves[l].numel())));
    double& v = leaves[l].data_ptr<double>()[i];
    const double kept = v, h = 1e-5;
    v = kept + h;
    const double above = value();
    v = kept - h;
    const double below = value();
    v = kept;
    found.emplace_back(g[l].view(-1)[i].item<double>(), (above - below) / (2 * h));
  }
  return found;
}

TEST(RoundedNetwork, GradientsOfAWholeNetworkAreFiniteDifferencesOfItsSoftPart) {
  const auto found = gradients_and_differences(made("tiny", 16, 8));
  EXPECT_GT(found.size(), 20U);
  for (const auto& [gradient, difference] : found)
    EXPECT_NEAR(gradient, difference, 1e-7 + 1e-4 * std::fabs(difference));
}

// Behind relu, squeeze-and-excite multiplies values that are exactly zero, where the next range ends: there
// differences from two sides are not those of one, so single parameters may be off.
TEST(RoundedNetwork, GradientsHoldWithHardSwishAndSqueezeExciteUpToKinks) {
  const auto found = gradients_and_differences(made("cifar-mbv3", 24, 8));
  double off = 0, all = 0;
  for (const auto& [gradient, difference] : found) {
    off += std::fabs(gradient - difference);
    all += std::fabs(difference);
  }
  EXPECT_GT(found.size(), 60U);
  EXPECT_LT(off, 0.03 * all);
}

// Share of logits that differ, and by how many steps at most.
std::pair<double, double> compare(const RoundedNetwork& network, const std::vector<Values>& images,
                                  const QuantizedNetwork& q) {
  const c10::NoGradGuard no_grad;
  const at::Tensor logits =
      network.forward(as_tensor(images, q.deployment.input, at::kFloat), network.leaves());
  double differing = 0, most = 0;
  for (std::size_t n = 0; n < images.size(); ++n) {
    std::vector<std::int8_t> in;
    for (const float v : images[n]) in.push_back(to_grid(v, q.tensors[0]));
    const auto out = devices::codegen::run_reference(q, in);
    for (std::size_t k = 0; k < out->size(); ++k) {
      const double real = from_grid((*out)[k], q.tensors.back());
      const double steps =
          std::fabs(logits[static_cast<std::int64_t>(n)][static_cast<std::int64_t>(k)].item<double>() -
                    real) /
          q.tensors.back().scale;
      differing += steps > 0.01 ? 1 : 0;
      most = std::max(most, steps);
    }
  }
  return {differing / static_cast<double>(images.size() * 10), most};
}

// Batches of the images with the float network's own answers.
BatchStream stream_of(const Made& m, std::size_t size) {
  const auto answers = outputs(FloatExecutor(m.folded), m.images);
  return {
      4, [&m, answers, size](std::int64_t step, Batch& out) {
        out = Batch{};
        out.resolution = m.folded.deployment.input.height;
        for (std::size_t i = 0; i < size; ++i) {
          const std::size_t n = (static_cast<std::size_t>(step) * size + i) % m.images.size();
          out.pixels.insert(out.pixels.end(), m.images[n].begin(), m.images[n].end());
          out.labels.push_back(std::max_element(answers[n].begin(), answers[n].end()) - answers[n].begin());
        }
      }};
}

TEST(QuantizeAware, TheIntegerNetworkComputesTheForwardPassThatWasTrained) {
  Made m = made("tiny", 16, 32);
  RoundedNetwork network(m.report.folded, m.quantized);
  const auto before = compare(network, m.images, network.integer());
  EXPECT_LT(before.first, 0.02);
  EXPECT_LT(before.second, 1.5);
  shake(network);  // any parameters, not only those of the start
  const auto after = compare(network, m.images, network.integer());
  EXPECT_LT(after.first, 0.02);
  EXPECT_LT(after.second, 1.5);
}

std::vector<double> probabilities(const Values& logits) {
  std::vector<double> p;
  double sum = 0;
  for (const float v : logits) sum += p.emplace_back(std::exp(static_cast<double>(v) - logits[0]));
  for (double& v : p) v /= sum;
  return p;
}

// Mean divergence of the integer network's answers from the float network's.
double divergence(const Made& m, const QuantizedNetwork& q) {
  double sum = 0;
  const auto exact = outputs(FloatExecutor(m.folded), m.images);
  for (std::size_t n = 0; n < m.images.size(); ++n) {
    std::vector<std::int8_t> in;
    for (const float v : m.images[n]) in.push_back(to_grid(v, q.tensors[0]));
    Values real;
    const auto result = devices::codegen::run_reference(q, in);
    for (const std::int8_t v : *result) real.push_back(static_cast<float>(from_grid(v, q.tensors.back())));
    const auto a = probabilities(exact[n]), b = probabilities(real);
    for (std::size_t k = 0; k < a.size(); ++k) sum += a[k] * std::log(a[k] / b[k]);
  }
  return sum / static_cast<double>(m.images.size());
}

TEST(QuantizeAware, RecoversWhatCoarseGridsLose) {
  Made m = made("tiny", 16, 64);
  Grids grids{{m.quantized.tensors.begin(), m.quantized.tensors.end()},
              {m.quantized.before.begin(), m.quantized.before.end()}};
  for (std::size_t t = 1; t + 1 < grids.tensors.size(); ++t)
    if (tensor_has_choice(m.quantized.deployment, t)) grids.tensors[t]->scale *= 40;  // six steps are left
  const QuantizedNetwork coarse = assemble(m.report.folded, grids);
  std::vector<double> losses;
  QuantizeAwareOptions options;
  options.steps = 100;
  options.learning_rate = 0.5;
  options.label_weight = 0;
  options.on_step = [&](std::int64_t, std::int64_t, double loss) { return losses.push_back(loss), true; };
  const auto tuned = train_quantized(m.report.folded, coarse, stream_of(m, 32), options);
  ASSERT_TRUE(tuned) << to_string(tuned.error());
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_LT(divergence(m, *tuned), 0.5 * divergence(m, coarse));
}

TEST(QuantizeAware, GivesTheSameBytesForAnyNumberOfThreads) {
  const Made m = made("tiny", 16, 32);
  QuantizeAwareOptions options;
  options.steps = 5;
  const auto with = [&](std::size_t threads) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    return *train_quantized(m.report.folded, m.quantized, stream_of(m, 16), options);
  };
  const auto one = with(1), four = with(4);
  for (std::size_t t = 0; t < one.tensors.size(); ++t) EXPECT_EQ(one.tensors[t].scale, four.tensors[t].scale);
  for (std::size_t i = 0; i < one.weights.size(); ++i) {
    EXPECT_EQ(one.weights[i].values, four.weights[i].values);
    EXPECT_EQ(one.weights[i].scales, four.weights[i].scales);
    EXPECT_EQ(one.weights[i].bias, four.weights[i].bias);
  }
}

TEST(QuantizeAware, RefusesOtherResolutionsAndStopsWhenToldTo) {
  const Made m = made("tiny", 16, 32);
  BatchStream wrong = stream_of(m, 4);
  wrong.read = [](std::int64_t, Batch& out) { out.resolution = 8; };
  EXPECT_THAT(train_quantized(m.report.folded, m.quantized, wrong).error().message,
              testing::HasSubstr("resolution 8, the network takes 16"));
  QuantizeAwareOptions options;
  options.on_step = [](std::int64_t, std::int64_t, double) { return false; };
  EXPECT_THAT(train_quantized(m.report.folded, m.quantized, stream_of(m, 4), options).error().message,
              testing::HasSubstr("stopped at step 1"));
}

// Values and gradients of equations 7 and 8 written out.
TEST(TernaryWeights, ScalesAndWeightsHaveTheGradientsOfTrainedTernaryQuantisation) {
  const at::Tensor x = at::tensor({0.9, -0.02, 0.03, -0.7, 2.0, 0.11, -3.0, -0.1}, at::kDouble)
                           .view({2, 4, 1, 1})
                           .set_requires_grad(true);
  const at::Tensor m = at::tensor({1.0, 4.0}, at::kDouble).view({2, 1, 1, 1});
  const at::Tensor p = at::tensor({0.8}, at::kDouble).set_requires_grad(true);
  const at::Tensor n = at::tensor({0.5}, at::kDouble).set_requires_grad(true);
  const at::Tensor y = ternary_apply(x, m, p, n);
  const std::vector<double> expected{0.8, 0, 0, -0.5, 3.2, 0, -2.0, 0};
  const at::Tensor g = at::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}, at::kDouble).view({2, 4, 1, 1});
  const auto found = torch::autograd::grad({y}, {x, p, n}, {g});
  const std::vector<double> gx{0.8, 2, 3, 2.0, 4.0, 6, 3.5, 8};
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_DOUBLE_EQ(y.contiguous().data_ptr<double>()[i], expected[i]) << i;
    EXPECT_DOUBLE_EQ(found[0].contiguous().data_ptr<double>()[i], gx[i]) << i;
  }
  EXPECT_DOUBLE_EQ(found[1].item<double>(), 1 + 5 * 4);
  EXPECT_DOUBLE_EQ(found[2].item<double>(), -(4 + 7 * 4));
}

double distance(const Made& m, const FoldedNetwork& other) {
  return relative_error(outputs(FloatExecutor(m.folded), m.images), outputs(FloatExecutor(other), m.images));
}

TEST(TernaryWeights, TrainedScalesBringTheAnswersNearerAndLeaveThreeValuesAChannel) {
  const Made m = made("tiny", 16, 16);
  QuantizeAwareOptions options;
  options.steps = 30;
  options.learning_rate = 0.3;
  const auto trained = train_ternary(m.report.folded, m.quantized, stream_of(m, 8), options);
  ASSERT_TRUE(trained) << to_string(trained.error());
  const CodedNetwork plain = code_weights(m.report.folded, Coding::ternary);
  EXPECT_LT(distance(m, trained->folded), 0.8 * distance(m, plain.folded));
  EXPECT_EQ(trained->size.fixed, plain.size.fixed);
  bool different_sides = false;
  for (std::size_t i = 0; i < trained->folded.weights.size(); ++i) {
    const FoldedWeights& w = trained->folded.weights[i];
    const std::size_t channels = w.bias.size();
    const bool last = m.folded.deployment.ops[i].kind == DeployedKind::depthwise;
    for (std::size_t c = 0; c < channels; ++c) {
      std::set<float> values;
      const std::size_t per = w.values.size() / channels;
      for (std::size_t k = 0; k < per; ++k) values.insert(w.values[last ? k * channels + c : c * per + k]);
      values.insert(0);
      ASSERT_LE(values.size(), 3U) << "operation " << i << " channel " << c;
      different_sides |= values.size() == 3 && *values.begin() != -*values.rbegin();
    }
  }
  EXPECT_TRUE(different_sides);
  for (const int threads : {1, 3}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(threads));
    options.steps = 3;
    const auto a = train_ternary(m.report.folded, m.quantized, stream_of(m, 8), options);
    static std::vector<float> first;
    const auto& values = a->folded.weights.front().values;
    if (first.empty()) first = values;
    EXPECT_EQ(values, first);
  }
}

}  // namespace
}  // namespace nas::supernet
