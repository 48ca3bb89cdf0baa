#include "supernet/data/procedural.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "space/base/rng.h"

namespace nas::data {
namespace {

using Floats = std::vector<float>;

// One convolution with ReLU, stride 2, "same" padding; channels last. Keeps what its gradient needs.
struct Layer {
  int kernel, in, out, side;  // side of the input
  Floats weights, gradient, momentum, input, output;

  Layer(int k, int ci, int co, int s, std::uint64_t seed) : kernel(k), in(ci), out(co), side(s) {
    Rng rng(seed, "layer");
    weights.resize(static_cast<std::size_t>(k * k * ci * co));
    for (float& w : weights) w = static_cast<float>(rng.normal() * std::sqrt(2.0 / (k * k * ci)));
    gradient.assign(weights.size(), 0);
    momentum = gradient;
  }
  // Calls f(input place, output place, weight place), each the first of a run of channels.
  template <class F>
  void each(F f) const {
    for (int y = 0; y < side / 2; ++y)
      for (int x = 0; x < side / 2; ++x)
        for (int ky = 0; ky < kernel; ++ky)
          for (int kx = 0; kx < kernel; ++kx) {
            const int sy = 2 * y + ky - kernel / 2, sx = 2 * x + kx - kernel / 2;
            if (sy >= 0 && sy < side && sx >= 0 && sx < side)
              f((sy * side + sx) * in, (y * side / 2 + x) * out, (ky * kernel + kx) * in * out);
          }
  }
  const Floats& forward(const Floats& x) {
    input = x;
    output.assign(static_cast<std::size_t>(side / 2 * side / 2 * out), 0);
    each([&](int i, int o, int w) {
      for (int a = 0; a < in; ++a) {
        const float v = input[static_cast<std::size_t>(i + a)];
        for (int b = 0; b < out; ++b)
          output[static_cast<std::size_t>(o + b)] += v * weights[static_cast<std::size_t>(w + a * out + b)];
      }
    });
    for (float& v : output) v = std::max(v, 0.0F);
    return output;
  }
  Floats backward(Floats g) {
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = output[i] > 0 ? g[i] : 0;
    Floats back(input.size(), 0);
    each([&](int i, int o, int w) {
      for (int a = 0; a < in; ++a) {
        const float v = input[static_cast<std::size_t>(i + a)];
        float sum = 0;
        for (int b = 0; b < out; ++b) {
          const auto at = static_cast<std::size_t>(w + a * out + b);
          gradient[at] += v * g[static_cast<std::size_t>(o + b)];
          sum += weights[at] * g[static_cast<std::size_t>(o + b)];
        }
        back[static_cast<std::size_t>(i + a)] += sum;
      }
    });
    return back;
  }
  void step(float rate) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      momentum[i] = 0.9F * momentum[i] + gradient[i];
      weights[i] -= rate * momentum[i];
      gradient[i] = 0;
    }
  }
};

constexpr int kSide = 16, kClasses = 5, kWidth = 32;

// Two convolutions, the mean and the largest value over the picture, one linear layer.
class SmallNet {
 public:
  Floats logits(const Floats& x) {
    const Floats& top = second_.forward(first_.forward(x));
    features_.assign(2 * kWidth, 0);
    places_.assign(kWidth, 0);
    for (std::size_t i = 0; i < top.size(); ++i) {
      const std::size_t c = i % kWidth;
      features_[c] += top[i] / 16;
      if (top[i] > features_[kWidth + c]) features_[kWidth + c] = top[i], places_[c] = i;
    }
    Floats out(kClasses, 0);
    for (std::size_t f = 0; f < features_.size(); ++f)
      for (std::size_t k = 0; k < kClasses; ++k) out[k] += features_[f] * linear_[f * kClasses + k];
    return out;
  }
  void learn(const Floats& x, std::size_t label) {
    Floats p = logits(x);
    const float top = *std::max_element(p.begin(), p.end());
    float sum = 0;
    for (float& v : p) sum += v = std::exp(v - top);
    for (float& v : p) v /= sum;
    p[label] -= 1;
    Floats g(second_.output.size(), 0);
    for (std::size_t f = 0; f < features_.size(); ++f) {
      float back = 0;
      for (std::size_t k = 0; k < kClasses; ++k) {
        back += p[k] * linear_[f * kClasses + k];
        linear_gradient_[f * kClasses + k] += p[k] * features_[f];
      }
      if (f < kWidth)
        for (std::size_t i = f; i < g.size(); i += kWidth) g[i] += back / 16;
      else
        g[places_[f - kWidth]] += back;
    }
    first_.backward(second_.backward(std::move(g)));
  }
  void step(float rate) {
    first_.step(rate);
    second_.step(rate);
    for (std::size_t i = 0; i < linear_.size(); ++i) {
      linear_momentum_[i] = 0.9F * linear_momentum_[i] + linear_gradient_[i];
      linear_[i] -= rate * linear_momentum_[i];
      linear_gradient_[i] = 0;
    }
  }

 private:
  Layer first_{5, 3, 16, kSide, 1}, second_{5, 16, kWidth, kSide / 2, 2};
  Floats linear_ = Floats(2 * kWidth * kClasses, 0), linear_gradient_ = linear_, linear_momentum_ = linear_;
  Floats features_;
  std::vector<std::size_t> places_;
};

Floats input_of(const ProceduralOptions& options, std::size_t index) {
  const Image image = render_procedural(options, index);
  Floats x(image.pixels.begin(), image.pixels.end());
  float mean = 0, squares = 0;
  for (const float v : x) mean += v / static_cast<float>(x.size());
  for (const float v : x) squares += (v - mean) * (v - mean) / static_cast<float>(x.size());
  for (float& v : x) v = (v - mean) / std::sqrt(squares + 1);
  return x;
}

double accuracy_after_training(double difficulty) {
  constexpr std::size_t kTrain = 1000, kTest = 300, kBatch = 10;
  const ProceduralOptions options{
      .classes = kClasses, .count = kTrain + kTest, .side = kSide, .difficulty = difficulty};
  std::vector<Floats> inputs;
  for (std::size_t i = 0; i < kTrain + kTest; ++i) inputs.push_back(input_of(options, i));
  SmallNet net;
  constexpr std::size_t kEpochs = 6;
  for (std::size_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = Rng(1, "order", epoch).sample(kTrain, kTrain);
    const auto rate = static_cast<float>(0.0015 * (1 - static_cast<double>(epoch) / kEpochs));
    for (std::size_t k = 0; k < kTrain; ++k) {
      net.learn(inputs[order[k]], order[k] % kClasses);
      if (k % kBatch == kBatch - 1) net.step(rate);
    }
  }
  std::size_t right = 0;
  for (std::size_t i = kTrain; i < kTrain + kTest; ++i) {
    const Floats out = net.logits(inputs[i]);
    right += static_cast<std::size_t>(std::max_element(out.begin(), out.end()) - out.begin()) == i % kClasses;
  }
  return static_cast<double>(right) / kTest;
}

TEST(Procedural, ASmallConvolutionalNetLearnsTheEasySetAndNotTheHardOne) {
  const double easy = accuracy_after_training(0.05), hard = accuracy_after_training(0.9);
  RecordProperty("easy", std::to_string(easy));
  RecordProperty("hard", std::to_string(hard));
  EXPECT_GE(easy, 0.9);
  EXPECT_LE(hard, easy - 0.25);
}

TEST(Procedural, EverySampleFollowsFromSeedAndIndex) {
  const ProceduralOptions options{.classes = 90, .count = 200, .side = 24, .difficulty = 0.5, .seed = 4};
  std::set<std::vector<std::uint8_t>> seen;
  for (std::size_t i = 0; i < 200; ++i) {
    const Image image = render_procedural(options, i);
    EXPECT_EQ(image.pixels, render_procedural(options, i).pixels);
    EXPECT_EQ(image.pixels.size(), 3U * 24 * 24);
    seen.insert(image.pixels);
  }
  EXPECT_EQ(seen.size(), 200U);
  const auto source = *procedural_source(options);
  EXPECT_EQ(std::set(source.classes.begin(), source.classes.end()).size(), 90U);
}

TEST(Procedural, SaysWhatItCannotRead) {
  EXPECT_EQ(parse_procedural("count=7,difficulty=0.5")->count, 7);
  EXPECT_THAT(parse_procedural("colours=3").error().message, testing::HasSubstr("'colours=3' is none of"));
  EXPECT_THAT(parse_procedural("side=3x").error().message, testing::HasSubstr("'side=3x'"));
  EXPECT_THAT(parse_procedural("classes=1").error().message,
              testing::HasSubstr("classes must be in 2..1000, found 1"));
  EXPECT_FALSE(parse_procedural("difficulty=nan"));
}

}  // namespace
}  // namespace nas::data
