#include "supernet/data/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "supernet/data/randaugment.h"
#include "tests/supernet/data/encode.h"

namespace nas::data {
namespace {

using testing_tools::gradient;

// mean 0, deviation 1/255: the output is in 0..255.
Augmentation plain() {
  Augmentation a;
  a.mean = {0, 0, 0};
  a.deviation = {1.0 / 255, 1.0 / 255, 1.0 / 255};
  return a;
}

std::vector<float> view_of(const Image& image, const Augmentation& a, int resolution, std::uint64_t index) {
  std::vector<float> out(static_cast<std::size_t>(3 * resolution * resolution));
  Rng rng(1, "augment", 0, index);
  training_view(view(image), a, resolution, rng, out.data());
  return out;
}

std::vector<float> as_floats(const Image& image) { return {image.pixels.begin(), image.pixels.end()}; }

TEST(Views, WithNothingSwitchedOnAreThePictureItself) {
  const Image image = gradient(16, 16);
  EXPECT_THAT(view_of(image, plain(), 16, 0),
              testing::Pointwise(testing::FloatNear(1e-3F), as_floats(image)));
  std::vector<float> out(3 * 16 * 16);
  evaluation_view(view(image), {}, 16, out.data());
  const Augmentation usual;
  for (std::size_t i = 0; i < out.size(); ++i)
    ASSERT_NEAR(out[i], (image.pixels[i] / 255.0 - usual.mean[i % 3]) / usual.deviation[i % 3], 1e-4);
}

TEST(Views, AreMirroredHalfOfTheTime) {
  const Image image = gradient(8, 8);
  Image mirrored = image;
  for (std::size_t p = 0; p < 64; ++p)
    for (std::size_t c = 0; c < 3; ++c)
      mirrored.pixels[3 * p + c] = image.pixels[3 * (p / 8 * 8 + 7 - p % 8) + c];
  Augmentation a = plain();
  a.flip = 0.5;
  int flipped = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto out = view_of(image, a, 8, i);
    const bool turned = std::abs(out[0] - mirrored.pixels[0]) < 0.01F;
    flipped += turned;
    ASSERT_THAT(out, testing::Pointwise(testing::FloatNear(1e-3F), as_floats(turned ? mirrored : image)));
  }
  EXPECT_NEAR(flipped, 1000, 4 * std::sqrt(500.0));
}

TEST(Views, AreShiftedEvenlyWithBlackOutside) {
  // One white pixel in the middle shows the shift.
  Image image{9, 9, std::vector<std::uint8_t>(243, 40)};
  for (std::size_t c = 0; c < 3; ++c) image.pixels[3 * 40 + c] = 250;
  Augmentation a = plain();
  a.pad_crop = 2;
  std::vector<int> seen(25, 0);
  for (std::uint64_t i = 0; i < 5000; ++i) {
    const auto out = view_of(image, a, 9, i);
    for (int y = 2; y < 7; ++y)
      for (int x = 2; x < 7; ++x)
        if (out[static_cast<std::size_t>(3 * (9 * y + x))] > 240) {
          ++seen[static_cast<std::size_t>(5 * (y - 2) + x - 2)];
          const auto black = std::count_if(out.begin(), out.end(), [](float v) { return v < 0.01F; });
          ASSERT_EQ(black, 3 * (81 - (9 - std::abs(y - 4)) * (9 - std::abs(x - 4))));
        }
  }
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 5000);
  for (const int n : seen) EXPECT_NEAR(n, 200, 4.5 * std::sqrt(200.0));
}

TEST(Views, CropAreasAndShapesCoverTheirRange) {
  // x in red, y in green: the ends of the view give the crop back.
  Image image{100, 100, {}};
  for (int y = 0; y < 100; ++y)
    for (int x = 0; x < 100; ++x)
      image.pixels.insert(image.pixels.end(),
                          {static_cast<std::uint8_t>(2 * x), static_cast<std::uint8_t>(2 * y), 0});
  Augmentation a = plain();
  a.random_resized_crop = true;
  a.smallest_area = 0.1;
  a.largest_area = 0.6;
  double area_sum = 0, ratio_sum = 0, smallest = 1, largest = 0;
  constexpr int n = 4000;
  for (std::uint64_t i = 0; i < n; ++i) {
    const auto out = view_of(image, a, 20, i);
    const double width = (out[3 * 18] - out[3]) / 2 * 20 / 17,
                 height = (out[3 * 20 * 18 + 1] - out[3 * 20 + 1]) / 2 * 20 / 17;
    area_sum += width * height / 1e4;
    ratio_sum += std::log(width / height);
    smallest = std::min(smallest, width * height / 1e4);
    largest = std::max(largest, width * height / 1e4);
  }
  EXPECT_NEAR(area_sum / n, 0.35, 0.012);
  EXPECT_NEAR(ratio_sum / n, 0, 0.015);
  EXPECT_NEAR(smallest, 0.1, 0.02);
  EXPECT_NEAR(largest, 0.6, 0.03);
}

TEST(Views, EraseTheMeanColourWithTheGivenProbability) {
  const Image image{32, 32, std::vector<std::uint8_t>(3072, 255)};
  Augmentation a;
  a.erase = 0.3;
  int erased = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto out = view_of(image, a, 32, i);
    const auto blank = std::count(out.begin(), out.end(), 0.0F);
    if (blank == 0) continue;
    ++erased;
    ASSERT_GE(blank, 3072 / 60);
    ASSERT_LE(blank, 3072 * 36 / 100);
  }
  EXPECT_NEAR(erased, 600, 4 * std::sqrt(420.0));
}

TEST(Colours, AdjustByTheirFormula) {
  std::vector<float> v = {100, 50, 200, 30, 60, 90, 0, 0, 0, 10, 20, 40};
  const Canvas canvas{v.data(), 2};
  adjust_brightness(canvas, 0.5);
  EXPECT_THAT(v, testing::ElementsAre(50, 25, 100, 15, 30, 45, 0, 0, 0, 5, 10, 20));
  const float grey = 0.299F * 50 + 0.587F * 25 + 0.114F * 100;
  adjust_saturation(canvas, 0);
  EXPECT_NEAR(v[0], grey, 1e-4);
  EXPECT_NEAR(v[2], grey, 1e-4);
  adjust_contrast(canvas, 0);
  EXPECT_NEAR(v[0], v[9], 1e-4);
}

std::vector<float> after(std::size_t op, double strength, std::vector<float> v, int side,
                         std::uint64_t index = 0) {
  Rng rng(1, "op", 0, index);
  apply_randaugment({v.data(), side}, op, strength, rng);
  return v;
}

std::size_t op_named(std::string_view name) {
  return static_cast<std::size_t>(std::find(kRandAugmentOps.begin(), kRandAugmentOps.end(), name) -
                                  kRandAugmentOps.begin());
}

TEST(RandAugment, OperationsDoWhatTheirNamesSay) {
  const std::vector<float> v = as_floats(gradient(16, 16));
  // At no strength everything but the two that have none, and posterize and solarize at their ends, is idle.
  for (std::size_t op = 0; op < kRandAugmentOps.size(); ++op)
    if (kRandAugmentOps[op] != "autocontrast" && kRandAugmentOps[op] != "equalize") {
      EXPECT_THAT(after(op, 0, v, 16), testing::Pointwise(testing::FloatNear(0.01F), v))
          << kRandAugmentOps[op];
    }
  const auto solar = after(op_named("solarize"), 5, v, 16);
  const auto poster = after(op_named("posterize"), 10, v, 16);
  for (std::size_t i = 0; i < v.size(); ++i) {
    EXPECT_FLOAT_EQ(solar[i], v[i] >= 127.5F ? 255 - v[i] : v[i]);
    EXPECT_FLOAT_EQ(poster[i], static_cast<float>(static_cast<int>(v[i]) & 0xF0));
  }
  const auto stretched = after(op_named("autocontrast"), 5, v, 16);
  EXPECT_NEAR(*std::min_element(stretched.begin(), stretched.end()), 0, 1e-3);
  EXPECT_NEAR(*std::max_element(stretched.begin(), stretched.end()), 255, 1e-3);
}

TEST(RandAugment, MovesPixelsToWhereGeometrySays) {
  std::vector<float> v(3 * 31 * 31, 128);
  const auto mark = [&](int y, int x) { return static_cast<std::size_t>(3 * (31 * y + x)); };
  v[mark(15, 15)] = 255;
  v[mark(15, 25)] = 0;  // 10 right of the centre
  bool left = false, right = false;
  for (std::uint64_t i = 0; i < 12; ++i) {
    const auto turned = after(op_named("rotate"), 10, v, 31, i);  // by 30 degrees either way
    EXPECT_NEAR(turned[mark(15, 15)], 255, 1);
    left |= turned[mark(20, 24)] < 110;  // (8.66, 5)
    right |= turned[mark(10, 24)] < 110;
    const auto moved = after(op_named("translate_x"), 10, v, 31, i);  // by 14.05 pixels
    EXPECT_GT(std::max(moved[mark(15, 29)], moved[mark(15, 1)]), 240);
  }
  EXPECT_TRUE(left);
  EXPECT_TRUE(right);
}

TEST(RandAugment, StaysInRangeWhateverIsDrawn) {
  for (std::uint64_t i = 0; i < 300; ++i) {
    std::vector<float> v = as_floats(gradient(13, 13, static_cast<int>(i)));
    Rng rng(2, "op", 0, i);
    randaugment({v.data(), 13}, 3, 10, rng);
    for (const float x : v) ASSERT_TRUE(x >= 0 && x <= 255) << x;
  }
}

TEST(Mixing, SharesFollowTheBetaDistribution) {
  for (const double alpha : {0.2, 1.0, 3.0}) {
    Augmentation a;
    a.mixup = alpha;
    double sum = 0, squares = 0;
    constexpr int n = 20000;
    for (std::uint64_t i = 0; i < n; ++i) {
      Rng rng(1, "mix", 0, i);
      const double own = draw_mix(a, 8, rng).own;
      ASSERT_TRUE(own >= 0 && own <= 1);
      sum += own;
      squares += own * own;
    }
    const double mean = sum / n, variance = squares / n - mean * mean;
    EXPECT_NEAR(mean, 0.5, 0.012) << alpha;
    EXPECT_NEAR(variance, 1 / (4 * (2 * alpha + 1)), 0.004) << alpha;
  }
}

TEST(Mixing, CutTakesTheRectangleAndItsShareOfTheLabel) {
  Augmentation a;
  a.cutmix = 1;
  a.label_smoothing = 0.2;
  const std::vector<float> self(3 * 256, 1), partner(3 * 256, 2);
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(1, "mix", 0, i);
    const Mix mix = draw_mix(a, 16, rng);
    std::vector<float> out(self.size()), target(4);
    apply_mix(mix, 16, self.data(), partner.data(), out.data());
    EXPECT_NEAR(static_cast<double>(std::count(out.begin(), out.end(), 1.0F)) / 768, mix.own, 1e-9);
    soft_target(a, mix, 1, 3, target);
    EXPECT_NEAR(target[0], 0.05, 1e-6);
    EXPECT_NEAR(target[1], 0.05 + 0.8 * mix.own, 1e-6);
    EXPECT_NEAR(target[3], 0.05 + 0.8 * (1 - mix.own), 1e-6);
  }
}

TEST(Augmentation, TheStandardOneIsValidForEverySide) {
  for (const int side : {4, 28, 32, 64, 65, 256, 4096}) EXPECT_TRUE(check(standard_augmentation(side)));
}

}  // namespace
}  // namespace nas::data
