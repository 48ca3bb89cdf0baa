#include "supernet/detail/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "space/base/rng.h"

namespace nas::supernet {
namespace {

using Floats = std::vector<float>;

Floats random(std::size_t n, const char* name, double scale = 1) {
  Rng rng(7, name);
  Floats v(n);
  for (float& x : v) x = static_cast<float>(scale * rng.normal());
  return v;
}

DepthwiseShape shape(int images, int height, int width, int channels, int kernel, int stride) {
  DepthwiseShape s{images, height, width, 0, 0, channels, kernel, stride, kernel / 2};
  s.out_height = (height + 2 * s.padding - kernel) / stride + 1;
  s.out_width = (width + 2 * s.padding - kernel) / stride + 1;
  return s;
}

// Calls f(input, weight, output) with the flat indices of every product of the convolution, by its
// definition.
template <class F>
void each_product(const DepthwiseShape& s, F f) {
  const std::int64_t k = s.kernel;
  for (std::int64_t n = 0; n < s.images; ++n)
    for (std::int64_t oh = 0; oh < s.out_height; ++oh)
      for (std::int64_t ow = 0; ow < s.out_width; ++ow)
        for (std::int64_t t = 0; t < k * k; ++t) {
          const std::int64_t ih = oh * s.stride - s.padding + t / k, iw = ow * s.stride - s.padding + t % k;
          if (ih < 0 || ih >= s.height || iw < 0 || iw >= s.width) continue;
          for (std::int64_t c = 0; c < s.channels; ++c)
            f(static_cast<std::size_t>(((n * s.height + ih) * s.width + iw) * s.channels + c),
              static_cast<std::size_t>(t * s.channels + c),
              static_cast<std::size_t>(((n * s.out_height + oh) * s.out_width + ow) * s.channels + c));
        }
}

void expect_near(const Floats& found, const std::vector<double>& wanted, double tolerance) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(static_cast<double>(found[i]), wanted[i], tolerance * (1 + std::abs(wanted[i])))
        << "at " << i;
}

class KernelTables : public testing::TestWithParam<bool> {
 protected:
  const KernelTable& table = kernels(GetParam());
};
INSTANTIATE_TEST_SUITE_P(All, KernelTables, testing::Values(false, true),
                         [](const auto& param) { return param.param ? "Portable" : "Best"; });

TEST_P(KernelTables, DepthwiseForwardAndBothGradientsEqualTheDefinition) {
  for (const int kernel : {3, 5, 7})
    for (const int stride : {1, 2})
      for (const auto& [height, width, channels] :
           std::vector<std::array<int, 3>>{{1, 1, 8}, {2, 2, 40}, {5, 3, 7}, {9, 10, 19}, {16, 13, 33}}) {
        SCOPED_TRACE(testing::Message()
                     << kernel << " stride " << stride << " map " << height << "x" << width);
        const DepthwiseShape s = shape(3, height, width, channels, kernel, stride);
        const auto in = static_cast<std::size_t>(s.images * s.height * s.width * s.channels);
        const auto out = static_cast<std::size_t>(s.images * s.out_height * s.out_width * s.channels);
        const auto taps = static_cast<std::size_t>(kernel * kernel * channels);
        const Floats x = random(in, "x"), w = random(taps, "w"), gy = random(out, "gy");
        std::vector<double> y(out), gx(in), gw(taps);
        each_product(s, [&](std::size_t i, std::size_t t, std::size_t o) {
          y[o] += static_cast<double>(x[i]) * static_cast<double>(w[t]);
          gx[i] += static_cast<double>(gy[o]) * static_cast<double>(w[t]);
          gw[t] += static_cast<double>(gy[o]) * static_cast<double>(x[i]);
        });
        Floats found_y(out, -1.0F), found_gx(in, -1.0F), found_gw(taps, -1.0F);
        table.depthwise_forward(s, x.data(), w.data(), found_y.data());
        table.depthwise_backward_input(s, gy.data(), w.data(), found_gx.data());
        table.depthwise_backward_weight(s, x.data(), gy.data(), found_gw.data());
        expect_near(found_y, y, 2e-5);
        expect_near(found_gx, gx, 2e-5);
        expect_near(found_gw, gw, 5e-5);
      }
}

TEST_P(KernelTables, MomentsEqualTwoPassDoubleSumsAlsoFarFromZero) {
  constexpr std::size_t kRows = 2500, kChannels = 21;
  for (const double offset : {0.0, 1000.0}) {
    Floats x = random(kRows * kChannels, "moments");
    for (float& v : x) v += static_cast<float>(offset);
    std::vector<double> mean(kChannels), variance(kChannels);
    for (std::size_t c = 0; c < kChannels; ++c) {
      for (std::size_t r = 0; r < kRows; ++r) mean[c] += static_cast<double>(x[r * kChannels + c]) / kRows;
      for (std::size_t r = 0; r < kRows; ++r)
        variance[c] += std::pow(static_cast<double>(x[r * kChannels + c]) - mean[c], 2) / kRows;
    }
    Floats found_mean(kChannels), found_variance(kChannels);
    table.moments(x.data(), kRows, kChannels, found_mean.data(), found_variance.data());
    expect_near(found_mean, mean, 1e-6);
    expect_near(found_variance, variance, 1e-5);
  }
}

double act_value(Activation a, double z) {
  const auto clip = [](double v) { return std::min(6.0, std::max(0.0, v)); };
  switch (a) {
    case Activation::relu:
      return std::max(0.0, z);
    case Activation::relu6:
      return clip(z);
    case Activation::hard_swish:
      return z * clip(z + 3) / 6;
    case Activation::swish:
      return z / (1 + std::exp(-z));
    case Activation::hard_sigmoid:
      return clip(z + 3) / 6;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-z));
    case Activation::gelu:
      return 0.5 * z * (1 + std::erf(z / std::sqrt(2.0)));
    case Activation::none:
      break;
  }
  return z;
}

TEST_P(KernelTables, ActivationsAndTheirSlopesAgreeWithFiniteDifferences) {
  constexpr std::size_t kRows = 37, kChannels = 19;
  const Floats x = random(kRows * kChannels, "act", 3), gy = random(kRows * kChannels, "act gy");
  const Floats scale = random(kChannels, "scale"), shift = random(kChannels, "shift"),
               mean = random(kChannels, "mean");
  for (int a = 0; a <= static_cast<int>(Activation::gelu); ++a) {
    const auto act = static_cast<Activation>(a);
    SCOPED_TRACE(std::string(a == 0 ? "none" : "activation ") + std::to_string(a));
    std::vector<double> y(x.size()), gz(x.size()), sum(kChannels), sum_x(kChannels);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t c = i % kChannels;
      const double z =
          static_cast<double>(x[i]) * static_cast<double>(scale[c]) + static_cast<double>(shift[c]);
      constexpr double kStep = 1e-5;
      y[i] = act_value(act, z);
      gz[i] =
          static_cast<double>(gy[i]) * (act_value(act, z + kStep) - act_value(act, z - kStep)) / (2 * kStep);
      sum[c] += gz[i];
      sum_x[c] += gz[i] * (static_cast<double>(x[i]) - static_cast<double>(mean[c]));
    }
    Floats found(x.size()), found_gz(x.size()), found_sum(kChannels), found_sum_x(kChannels);
    table.affine_act(x.data(), kRows, kChannels, scale.data(), shift.data(), act, found.data());
    table.affine_act_backward(x.data(), gy.data(), kRows, kChannels, scale.data(), shift.data(), mean.data(),
                              act, found_gz.data(), found_sum.data(), found_sum_x.data());
    expect_near(found, y, 3e-6);
    expect_near(found_gz, gz, 2e-5);
    expect_near(found_sum, sum, 2e-4);
    expect_near(found_sum_x, sum_x, 3e-4);
  }
}

TEST_P(KernelTables, PerImageReductionAndBroadcastAreEachOthersTranspose) {
  constexpr std::int64_t kImages = 3, kPositions = 11, kChannels = 21;
  const auto size = static_cast<std::size_t>(kImages * kPositions * kChannels);
  const auto rows = static_cast<std::size_t>(kImages * kChannels);
  const Floats x = random(size, "p"), t = random(rows, "t");
  Floats sums(rows), spread(size);
  table.reduce_positions(x.data(), nullptr, kImages, kPositions, kChannels, 1, sums.data());
  table.broadcast_positions(nullptr, nullptr, t.data(), kImages, kPositions, kChannels, spread.data());
  double left = 0, right = 0;  // <reduce(x), t> = <x, broadcast(t)>
  for (std::size_t i = 0; i < rows; ++i) left += static_cast<double>(sums[i]) * static_cast<double>(t[i]);
  for (std::size_t i = 0; i < size; ++i) right += static_cast<double>(x[i]) * static_cast<double>(spread[i]);
  EXPECT_NEAR(left, right, 1e-4);
  Floats scaled(size), weighted(rows);
  table.broadcast_positions(x.data(), t.data(), t.data(), kImages, kPositions, kChannels, scaled.data());
  table.reduce_positions(x.data(), x.data(), kImages, kPositions, kChannels, 0.5F, weighted.data());
  const std::size_t i = 2 * kPositions * kChannels + 4 * kChannels + 20;  // image 2, position 4, channel 20
  EXPECT_FLOAT_EQ(scaled[i], x[i] * t[2 * kChannels + 20] + t[2 * kChannels + 20]);
  double square = 0;
  for (std::size_t p = 0; p < kPositions; ++p) {
    const auto v = static_cast<double>(x[2 * kPositions * kChannels + p * kChannels + 20]);
    square += 0.5 * v * v;
  }
  EXPECT_NEAR(static_cast<double>(weighted[2 * kChannels + 20]), square, 1e-5);
}

}  // namespace
}  // namespace nas::supernet
