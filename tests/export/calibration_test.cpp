#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <map>
#include <set>

#include "apps/integer_runner.h"
#include "devices/codegen/network.h"
#include "devices/codegen/reference.h"
#include "supernet/quantize/bias_correction.h"
#include "supernet/quantize/equalise.h"
#include "supernet/quantize/sensitivity.h"
#include "tests/export/random_network.h"

namespace nas {
namespace {

using namespace supernet;
using testing_support::random_images;
using testing_support::random_network;
using Values = std::vector<float>;

Values heavy_tailed(std::size_t n, std::uint64_t seed) {
  Rng rng(seed, "values");
  Values v;
  for (std::size_t i = 0; i < n; ++i) v.push_back(static_cast<float>(rng.normal()));
  for (std::size_t i = 0; i < n / 500; ++i) v[i] *= 12;
  return v;
}

Histogram histogram_of(const Values& values) {
  Histogram h;
  h.add_range(values);
  h.add_counts(values);
  return h;
}

// The definition, on the values themselves.
double squared_error(const Values& values, Range range) {
  const double low = std::min(0.0, range.low), high = std::max(0.0, range.high), step = (high - low) / 255;
  double sum = 0;
  for (const float v : values) {
    const double q = std::round((std::clamp<double>(v, low, high) - low) / step);
    sum += std::pow(v - (low + q * step), 2);
  }
  return sum / static_cast<double>(values.size());
}

// Migacz's method in its own words: the histogram with the outliers added to its ends against the same
// histogram without them, gathered into 256 levels and spread again over the bins that hold something.
double divergence(const Histogram& h, Range range) {
  const double low = std::min(0.0, range.low), high = std::max(0.0, range.high), step = (high - low) / 255;
  std::vector<double> p, raw;
  std::vector<int> level;
  double under = 0, over = 0;
  for (std::size_t b = 0; b < h.counts.size(); ++b) {
    const double x = h.centre(b), n = static_cast<double>(h.counts[b]);
    if (x < low - step / 2) {
      under += n;
    } else if (x > high + step / 2) {
      over += n;
    } else {
      raw.push_back(n);
      level.push_back(std::clamp(static_cast<int>(std::lround((x - low) / step)), 0, 255));
    }
  }
  p = raw;
  p.front() += under;
  p.back() += over;
  std::map<int, std::pair<double, int>> gathered;
  for (std::size_t b = 0; b < raw.size(); ++b)
    if (raw[b] > 0) gathered[level[b]].first += raw[b], gathered[level[b]].second += 1;
  double all_p = 0, all_q = 0, sum = 0;
  for (std::size_t b = 0; b < raw.size(); ++b) all_p += p[b], all_q += raw[b];
  for (std::size_t b = 0; b < raw.size(); ++b) {
    if (p[b] == 0) continue;
    const double q = raw[b] > 0 ? gathered[level[b]].first / gathered[level[b]].second : 0;
    sum += p[b] / all_p * std::log(p[b] / all_p / (std::max(q, 1.0) / all_q));
  }
  return sum;
}

TEST(Calibration, MinMaxAndPercentileCoverWhatTheyPromise) {
  const Values values = heavy_tailed(200'000, 1);
  const Histogram h = histogram_of(values);
  const Range all = choose_range(h, Calibration::min_max);
  EXPECT_EQ(all.low, *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(all.high, *std::max_element(values.begin(), values.end()));
  const Range most = choose_range(h, Calibration::percentile);
  const auto outside =
      std::count_if(values.begin(), values.end(), [&](float v) { return v < most.low || v > most.high; });
  EXPECT_LE(outside, 20);  // 0.01 %
  EXPECT_LT(most.high, all.high);
}

TEST(Calibration, MeanSquaredErrorIsNearTheBestOfAllRanges) {
  const Values values = heavy_tailed(20'000, 2);
  const Range all = choose_range(histogram_of(values), Calibration::min_max);
  double best = squared_error(values, all);
  for (int a = 1; a <= 50; ++a)
    for (int b = 1; b <= 50; ++b)
      best = std::min(best, squared_error(values, {all.low * a / 50, all.high * b / 50}));
  const double chosen = squared_error(values, choose_range(histogram_of(values), Calibration::mse));
  EXPECT_LE(chosen, 1.05 * best);
  EXPECT_LT(chosen, squared_error(values, all));
}

TEST(Calibration, DivergenceIsNearTheBestOfAllRanges) {
  const Histogram h = histogram_of(heavy_tailed(100'000, 3));
  const Range all = choose_range(h, Calibration::min_max);
  double best = divergence(h, all);
  for (int a = 4; a <= 40; ++a)
    for (int b = 4; b <= 40; ++b) best = std::min(best, divergence(h, {all.low * a / 40, all.high * b / 40}));
  const double chosen = divergence(h, choose_range(h, Calibration::kl));
  EXPECT_LE(chosen, best + 0.002);
  EXPECT_LT(chosen, divergence(h, all));
}

TEST(Calibration, EvenlySpreadValuesKeepTheirWholeRange) {
  Values values;
  for (int i = 0; i < 100'000; ++i) values.push_back(static_cast<float>(i % 1000) / 100);
  for (const Calibration how : {Calibration::mse, Calibration::kl})
    EXPECT_FLOAT_EQ(static_cast<float>(choose_range(histogram_of(values), how).high), 9.99F);
}

struct Made {
  FoldedNetwork folded;
  std::vector<Values> images;
};

Made small_network(const char* name = "tiny", int resolution = 16, std::size_t images = 24) {
  const SearchSpace space = *load_space(name, {.classes = 10, .resolutions = {resolution}});
  Made m{*fold(random_network(space, space.smallest(), 3)), {}};
  m.images = random_images(m.folded.deployment.input, images, 4);
  return m;
}

// The integer reference's outputs in real units.
std::vector<Values> integer_outputs(const QuantizedNetwork& q, const std::vector<Values>& images) {
  std::vector<Values> all;
  for (const Values& image : images) {
    std::vector<std::int8_t> in;
    for (const float v : image) in.push_back(to_grid(v, q.tensors[0]));
    Values out;
    const auto result = devices::codegen::run_reference(q, in);
    for (const std::int8_t v : *result) out.push_back(static_cast<float>(from_grid(v, q.tensors.back())));
    all.push_back(std::move(out));
  }
  return all;
}

double input_scale(const QuantizedNetwork& q, std::size_t op) {
  return q.tensors[static_cast<std::size_t>(q.deployment.ops[op].inputs[0])].scale;
}

double integer_error(const Made& m, const QuantizedNetwork& q) {
  return relative_error(outputs(FloatExecutor(m.folded), m.images), integer_outputs(q, m.images));
}

Grids grids_of(const QuantizedNetwork& q) {
  return {{q.tensors.begin(), q.tensors.end()}, {q.before.begin(), q.before.end()}};
}

// Uneven channels: the same function, far worse to quantise.
void unbalance(FoldedNetwork& folded) {
  std::vector<std::vector<float>> reach;
  Rng rng(5, "unbalance");
  for (std::size_t t = 0; t <= folded.deployment.ops.size(); ++t) {
    const Shape s = t == 0 ? folded.deployment.input : folded.deployment.ops[t - 1].out;
    std::vector<float>& r = reach.emplace_back();
    for (int c = 0; c < s.channels; ++c) r.push_back(static_cast<float>(std::exp(rng.uniform(-2.5, 2.5))));
  }
  EXPECT_GT(equalise(folded, reach), 0U);
}

// Every operation on the integer reference's own inputs: a float's error in the middle between two steps is
// all that may tell them apart.
TEST(Simulation, ComputesEveryOperationAsTheIntegerReferenceDoes) {
  using devices::codegen::Int8Params;
  const Made m = small_network("cifar-mbv3", 24, 6);
  QuantizeReport report;
  const auto q = *quantize(m.folded, m.images, {.calibration = Calibration::mse}, &report);
  FloatExecutor rounded(report.folded);
  for (std::size_t i = 0; i < q.weights.size(); ++i)
    if (!q.weights[i].scales.empty())
      rounded.set_weights(i, real_values(q.deployment.ops[i], q.weights[i], input_scale(q, i)));
  const Grids grids = grids_of(q);
  const Simulation simulation(rounded, grids);
  std::size_t apart = 0, all = 0;
  for (const Values& image : m.images) {
    std::vector<std::vector<std::int8_t>> tensors(1);
    for (const float v : image) tensors[0].push_back(to_grid(v, q.tensors[0]));
    const auto real = [&](std::int32_t t) {
      Values values;
      if (t >= 0)
        for (const std::int8_t v : tensors[static_cast<std::size_t>(t)])
          values.push_back(static_cast<float>(from_grid(v, q.tensors[static_cast<std::size_t>(t)])));
      return values;
    };
    for (std::size_t i = 0; i < q.deployment.ops.size(); ++i) {
      const DeployedOp& op = q.deployment.ops[i];
      const auto kernel = *devices::codegen::kernel_of(q, i);
      const std::vector<std::int8_t> second =
          op.inputs[1] >= 0 ? tensors[static_cast<std::size_t>(op.inputs[1])] : std::vector<std::int8_t>{};
      tensors.push_back(devices::codegen::run_reference(kernel.spec, std::get<Int8Params>(kernel.params),
                                                        tensors[static_cast<std::size_t>(op.inputs[0])],
                                                        second, devices::codegen::Rounding::single));
      Values simulated;
      simulation.step(i, real(op.inputs[0]), real(op.inputs[1]), simulated);
      const Values integer = real(static_cast<std::int32_t>(i) + 1);
      for (std::size_t k = 0; k < integer.size(); ++k) {
        const double steps = std::fabs(integer[k] - simulated[k]) / q.tensors[i + 1].scale;
        ASSERT_LT(steps, 1.01) << "operation " << i;
        apart += steps > 0.01 ? 1 : 0;
      }
      all += integer.size();
    }
  }
  EXPECT_LT(static_cast<double>(apart), 1e-4 * static_cast<double>(all)) << apart << " of " << all;
}

TEST(IntegerRunner, GivesTheBytesOfTheIntegerReference) {
  for (const char* space : {"tiny", "cifar-mbv3"}) {
    const Made m = small_network(space, 24, 6);
    const auto q = *quantize(m.folded, m.images, {.calibration = Calibration::min_max});
    const auto runner = apps::IntegerRunner::make(q);
    ASSERT_TRUE(runner) << to_string(runner.error());
    for (const Values& image : m.images) {
      std::vector<std::int8_t> in;
      for (const float v : image) in.push_back(to_grid(v, q.tensors[0]));
      EXPECT_EQ(runner->run(std::span<const std::int8_t>(in)), *devices::codegen::run_reference(q, in))
          << space;
    }
  }
}

TEST(Equalisation, LeavesTheFunctionAndEvensOutTheChannels) {
  Made m = small_network("cifar-mbv3", 24, 6);
  const auto exact = outputs(FloatExecutor(m.folded), m.images);
  unbalance(m.folded);
  EXPECT_LT(relative_error(exact, outputs(FloatExecutor(m.folded), m.images)), 1e-9);
  const auto before = *observe(FloatExecutor(m.folded), m.images);
  EXPECT_GT(equalise(m.folded, before.largest), 0U);
  EXPECT_LT(relative_error(exact, outputs(FloatExecutor(m.folded), m.images)), 1e-9);
  const auto after = *observe(FloatExecutor(m.folded), m.images);
  // In front of a depthwise operation every channel reaches as far as the furthest.
  int found = 0;
  for (std::size_t i = 0; i + 1 < m.folded.deployment.ops.size(); ++i) {
    const DeployedOp &op = m.folded.deployment.ops[i], &next = m.folded.deployment.ops[i + 1];
    if (next.kind != DeployedKind::depthwise || op.activation != Activation::relu) continue;
    const float most = *std::max_element(after.largest[i + 1].begin(), after.largest[i + 1].end());
    for (std::size_t c = 0; c < after.largest[i + 1].size(); ++c) {
      if (before.largest[i + 1][c] <= 0) continue;
      const float first = *std::max_element(before.largest[i + 1].begin(), before.largest[i + 1].end());
      const float expected = std::min(1.0F, 64 * before.largest[i + 1][c] / first);  // 64: the most it does
      EXPECT_NEAR(after.largest[i + 1][c] / most, expected, 1e-4) << i << " " << c;
    }
    ++found;
  }
  EXPECT_GT(found, 0);
}

TEST(Equalisation, RescuesANetworkOfUnevenChannels) {
  Made m = small_network("cifar-mbv3", 24, 12);
  unbalance(m.folded);
  const QuantizeOptions plain{.calibration = Calibration::min_max, .equalise = false, .correct_bias = false};
  QuantizeOptions with = plain;
  with.equalise = true;
  QuantizeReport report;
  const double without = integer_error(m, *quantize(m.folded, m.images, plain));
  const double equalised = integer_error(m, *quantize(m.folded, m.images, with, &report));
  EXPECT_GT(report.equalised, 0U);
  EXPECT_LT(equalised, 0.5 * without);
}

TEST(BiasCorrection, BringsTheMeansOfTheIntegerNetworkBack) {
  const Made m = small_network("tiny", 16, 48);
  const QuantizeOptions plain{.calibration = Calibration::min_max, .equalise = false, .correct_bias = false};
  QuantizeOptions with = plain;
  with.correct_bias = true;
  const auto exact = outputs(FloatExecutor(m.folded), m.images);
  // Mean difference of every logit over the images, by the integer reference.
  const auto shift = [&](const QuantizedNetwork& q) {
    double sum = 0;
    const auto integer = integer_outputs(q, m.images);
    for (std::size_t k = 0; k < exact[0].size(); ++k) {
      double off = 0;
      for (std::size_t n = 0; n < exact.size(); ++n) off += (integer[n][k] - exact[n][k]) / 48.0;
      sum += off * off;
    }
    return std::sqrt(sum);
  };
  QuantizeReport report;
  const auto before = *quantize(m.folded, m.images, plain),
             after = *quantize(m.folded, m.images, with, &report);
  EXPECT_TRUE(report.bias_corrected);
  EXPECT_LT(shift(after), 0.4 * shift(before));
}

TEST(AutomaticCalibration, IsNeverWorseThanOneMethodForAllTensors) {
  const Made m = small_network("cifar-mbv3", 24, 16);
  QuantizeOptions options{.equalise = false, .correct_bias = false, .search_images = 16};
  QuantizeReport report;
  const double chosen = integer_error(m, *quantize(m.folded, m.images, options, &report));
  std::set<Calibration> used(report.methods.tensors.begin(), report.methods.tensors.end());
  EXPECT_GT(used.size(), 1U) << "it should mix methods here";
  for (std::size_t how = 0; how < kRangeMethods; ++how) {
    options.calibration = static_cast<Calibration>(how);
    QuantizeReport single;
    const QuantizedNetwork q = *quantize(m.folded, m.images, options, &single);
    EXPECT_LE(report.error, single.error) << to_string(options.calibration);
    // The simulation that it is chosen by is not the integer arithmetic itself: rounding ties and sums of
    // floats leave a fifth of the error of these few images.
    EXPECT_LT(chosen, 1.3 * integer_error(m, q)) << to_string(options.calibration);
  }
}

TEST(AutomaticCalibration, IsTheSameForAnyNumberOfThreads) {
  const Made m = small_network();
  const auto with = [&](std::size_t threads) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    return *quantize(m.folded, m.images);
  };
  const auto one = with(1), four = with(4);
  for (std::size_t t = 0; t < one.tensors.size(); ++t) {
    EXPECT_EQ(one.tensors[t].scale, four.tensors[t].scale);
    EXPECT_EQ(one.tensors[t].zero, four.tensors[t].zero);
  }
  for (std::size_t i = 0; i < one.weights.size(); ++i) {
    EXPECT_EQ(one.weights[i].values, four.weights[i].values);
    EXPECT_EQ(one.weights[i].bias, four.weights[i].bias);
  }
}

TEST(Sensitivity, NamesTheOperationThatWasSpoilt) {
  Made m = small_network();
  const auto fine = *quantize(m.folded, m.images,
                              {.calibration = Calibration::mse, .equalise = false, .correct_bias = false});
  for (const std::size_t victim : {std::size_t{1}, std::size_t{4}}) {
    // A grid sixteen times too coarse.
    Grids grids = grids_of(fine);
    grids.tensors[victim + 1]->scale *= 16;
    const QuantizedNetwork q = assemble(m.folded, grids);
    const auto found = sensitivity(m.folded, q, m.images);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (i == victim) continue;
      EXPECT_GT(found[victim].alone, found[i].alone) << i;
      EXPECT_LT(found[victim].without, found[i].without) << i;
    }
  }
  // Oracle of `alone`: the float network with these weights and this one tensor rounded by hand.
  const auto found = sensitivity(m.folded, fine, m.images);
  FoldedNetwork only = m.folded;
  const std::size_t last = only.deployment.ops.size() - 1;
  only.weights[last] = real_values(only.deployment.ops[last], fine.weights[last], input_scale(fine, last));
  auto rounded = outputs(FloatExecutor(only), m.images);
  for (Values& out : rounded)
    for (float& v : out)
      v = static_cast<float>(from_grid(to_grid(v, fine.tensors.back()), fine.tensors.back()));
  EXPECT_NEAR(found[last].alone, relative_error(outputs(FloatExecutor(m.folded), m.images), rounded), 1e-7);
}

}  // namespace
}  // namespace nas
