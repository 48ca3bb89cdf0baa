#include "supernet/data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cmath>

#include "supernet/data/resample.h"
#include "tests/supernet/data/encode.h"

namespace nas::data {
namespace {

using namespace testing_tools;
using testing::HasSubstr;

double mean_difference(const Image& a, const Bytes& b) {
  double sum = 0;
  for (std::size_t i = 0; i < b.size(); ++i) sum += std::abs(double(a.pixels[i]) - double(b[i]));
  return sum / static_cast<double>(b.size());
}

std::string message_of(const Bytes& bytes) {
  const auto image = decode_image(bytes);
  return image ? std::string("decoded") : image.error().message;
}

// Smooth, so that JPEG loses little.
Bytes smooth(int side, int channels) {
  Bytes pixels;
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      for (int c = 0; c < channels; ++c)
        pixels.push_back(static_cast<std::uint8_t>(40 + (c == 1 ? 2 * y : 2 * x) + 10 * c));
  return pixels;
}

TEST(Jpeg, DecodesColourGreyAndCmyk) {
  const Bytes rgb = smooth(40, 3);
  const auto colour = decode_image(encode_jpeg(rgb, 40, 40, 3));
  ASSERT_TRUE(colour);
  EXPECT_EQ(colour->height, 40);
  EXPECT_LT(mean_difference(*colour, rgb), 2);

  const Bytes grey = smooth(40, 1);
  const auto decoded = *decode_image(encode_jpeg(grey, 40, 40, 1));
  Bytes tripled;
  for (const auto v : grey) tripled.insert(tripled.end(), 3, v);
  EXPECT_LT(mean_difference(decoded, tripled), 2);
}

TEST(Jpeg, ReadsCmykInvertedIfAdobeWroteItAndPlainOtherwise) {
  const Bytes stored = smooth(40, 4);
  Bytes inverted;
  for (std::size_t p = 0; p < stored.size() / 4; ++p)
    for (std::size_t c = 0; c < 3; ++c) {
      inverted.push_back(static_cast<std::uint8_t>(stored[4 * p + c] * stored[4 * p + 3] / 255));
    }
  Bytes file = encode_jpeg(stored, 40, 40, 4);  // libjpeg writes YCCK with an Adobe segment
  const auto adobe = decode_image(file);
  ASSERT_TRUE(adobe) << adobe.error().message;
  EXPECT_LT(mean_difference(*adobe, inverted), 2.5);
  // Without the Adobe segment four channels mean plain CMYK.
  for (std::size_t i = 2; i + 16 <= file.size(); ++i)
    if (file[i] == 0xFF && file[i + 1] == 0xEE) {
      const auto begin = file.begin() + static_cast<std::ptrdiff_t>(i);
      file.erase(begin, begin + 16);
      break;
    }
  const auto bare = decode_image(file);
  ASSERT_TRUE(bare) << bare.error().message;
  EXPECT_GT(mean_difference(*bare, inverted), 20);
}

TEST(Jpeg, IsDecodedSmallerOnlyWhileItStaysLargeEnough) {
  const Bytes file = encode_jpeg(smooth(100, 3), 100, 100, 3);
  EXPECT_EQ(decode_image(file, 50)->height, 50);
  EXPECT_EQ(decode_image(file, 51)->height, 100);
  EXPECT_EQ(decode_image(file, 13)->height, 13);
  EXPECT_EQ(decode_image(file)->height, 100);
}

TEST(Png, DecodesEveryColourTypeAndDepth) {
  // 8 x 2 pixels; the expected values follow from the PNG specification's sample scaling.
  for (const int bits : {1, 2, 4, 8, 16}) {
    Bytes row, expected;
    const int top = (1 << bits) - 1;
    for (int x = 0, packed = 0, filled = 0; x < 8; ++x) {
      const int value = bits == 16 ? 257 * 30 * x : (x * 37) & top;
      expected.insert(expected.end(), 3, static_cast<std::uint8_t>(bits == 16 ? 30 * x : value * 255 / top));
      if (bits == 16)
        row.insert(row.end(), {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
      else if (packed = packed << bits | value, filled += bits; filled == 8) {
        row.push_back(static_cast<std::uint8_t>(packed));
        packed = filled = 0;
      }
    }
    Bytes rows = row;
    rows.insert(rows.end(), row.begin(), row.end());
    expected.insert(expected.end(), expected.begin(), expected.begin() + 24);
    const auto image = decode_image(encode_png(rows, 2, 8, PNG_COLOR_TYPE_GRAY, bits));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->pixels, expected) << bits << " bits";
  }
  const Image picture = gradient(5, 7);
  EXPECT_EQ(decode_image(encode_png(picture.pixels, 5, 7, PNG_COLOR_TYPE_RGB, 8))->pixels, picture.pixels);
  const auto palette = decode_image(
      encode_png({0b00011011}, 1, 4, PNG_COLOR_TYPE_PALETTE, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(palette->pixels, (Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
}

TEST(Png, PutsTransparencyOverWhite) {
  const auto image = decode_image(
      encode_png({10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 51}, 1, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8));
  EXPECT_EQ(image->pixels, (Bytes{10, 20, 30, 255, 255, 255, 204, 224, 244}));
  const auto grey = decode_image(encode_png({50, 0, 50, 255}, 1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8));
  EXPECT_EQ(grey->pixels, (Bytes{255, 255, 255, 50, 50, 50}));
}

TEST(Images, BrokenOnesAreRefusedWithTheReason) {
  EXPECT_THAT(message_of({}), HasSubstr("empty file (0 bytes)"));
  EXPECT_THAT(message_of({'G', 'I', 'F', '8'}), HasSubstr("neither JPEG nor PNG"));
  Bytes jpeg = encode_jpeg(smooth(64, 3), 64, 64, 3);
  EXPECT_THAT(message_of(Bytes(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(jpeg.size() / 2))),
              HasSubstr("broken JPEG"));
  EXPECT_THAT(message_of(Bytes(jpeg.begin(), jpeg.begin() + 20)), HasSubstr("broken JPEG"));
  Bytes png = encode_png(gradient(40, 40).pixels, 40, 40, PNG_COLOR_TYPE_RGB, 8);
  EXPECT_THAT(message_of(Bytes(png.begin(), png.begin() + static_cast<std::ptrdiff_t>(png.size() / 2))),
              HasSubstr("the file ends early"));
  png[60] ^= 0x40;
  EXPECT_THAT(message_of(png), HasSubstr("broken PNG"));
}

void put_big_endian(Bytes& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t k = 0; k < 4; ++k) bytes[at + k] = static_cast<std::uint8_t>(value >> (24 - 8 * k));
}

TEST(Images, BombsAreRefusedBeforeTheyAreDecoded) {
  const auto declared = [](std::uint32_t side) {
    Bytes png = encode_png(gradient(4, 4).pixels, 4, 4, PNG_COLOR_TYPE_RGB, 8);
    put_big_endian(png, 16, side);
    put_big_endian(png, 20, side);
    // The header's checksum covers bytes 12..28: without a right one libpng stops there.
    std::uint32_t crc = 0xFFFFFFFFU;
    for (std::size_t i = 12; i < 29; ++i) {
      crc ^= png[i];
      for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1U)));
    }
    put_big_endian(png, 29, ~crc);
    return png;
  };
  EXPECT_THAT(message_of(declared(60000)), HasSubstr("60000 x 60000 pixels; at most 67108864"));
  EXPECT_THAT(message_of(declared(8000)), HasSubstr("bytes cannot hold 8000 x 8000"));
  Bytes jpeg = encode_jpeg(smooth(16, 3), 16, 16, 3);
  for (std::size_t i = 2; i + 9 < jpeg.size(); ++i)
    if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0) {
      for (const std::size_t k : {5, 6, 7, 8}) jpeg[i + k] = 0xFF;
      break;
    }
  EXPECT_THAT(message_of(jpeg), testing::AnyOf(HasSubstr("at most 67108864"), HasSubstr("broken JPEG")));
}

// The definition in double precision, without separating the axes.
double reference_value(const Image& image, Box box, int out_h, int out_w, bool isolate, int oy, int ox,
                       std::size_t c) {
  const double sy = box.height / out_h, sx = box.width / out_w, wy = std::max(sy, 1.0),
               wx = std::max(sx, 1.0);
  const double cy = box.top + (oy + 0.5) * sy, cx = box.left + (ox + 0.5) * sx;
  double total = 0, sum = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      if (isolate && (y < std::floor(box.top) || y >= std::ceil(box.top + box.height) ||
                      x < std::floor(box.left) || x >= std::ceil(box.left + box.width)))
        continue;
      const double w =
          std::max(0.0, 1 - std::abs(y + 0.5 - cy) / wy) * std::max(0.0, 1 - std::abs(x + 0.5 - cx) / wx);
      total += w;
      sum += w * image.pixels[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                                   static_cast<std::size_t>(x)) +
                              c];
    }
  return sum / total;
}

TEST(Resample, EqualsTheDefinitionInDoublePrecision) {
  const Image image = gradient(23, 31);
  const Box boxes[] = {{0, 0, 23, 31}, {3, 5, 11, 7}, {2.25, 4.5, 17.3, 20.9}, {0, 0, 5, 5}, {22, 30, 1, 1}};
  for (const Box& box : boxes)
    for (const auto& [h, w] : {std::pair{23, 31}, {8, 8}, {40, 50}, {1, 3}})
      for (const bool mirror : {false, true})
        for (const bool isolate : {false, true}) {
          std::vector<float> out(static_cast<std::size_t>(3 * h * w));
          resample(view(image), box, h, w, {.mirror = mirror, .isolate = isolate}, out.data());
          for (int y = 0; y < h; ++y)
            for (int x = 0; x < w; ++x)
              for (std::size_t c = 0; c < 3; ++c)
                ASSERT_NEAR(out[3 * static_cast<std::size_t>(y * w + x) + c],
                            reference_value(image, box, h, w, isolate, y, mirror ? w - 1 - x : x, c), 2e-3);
        }
}

TEST(Resample, KeepsAPictureOfTheWantedSizeExactly) {
  const Image image = gradient(16, 16);
  Bytes out(image.pixels.size());
  resize_and_crop(view(image), 16, out);
  EXPECT_EQ(out, image.pixels);
}

TEST(Resample, CentreBoxIsResizeThenCrop) {
  // 256 -> 224: resize to 256, crop at 16.
  const Box box = centre_box(256, 256, 224, 0.875);
  EXPECT_DOUBLE_EQ(box.top, 16);
  EXPECT_DOUBLE_EQ(box.height, 224);
  const Box wide = centre_box(100, 300, 50, 1);  // 50 x 150, columns 50..100
  EXPECT_DOUBLE_EQ(wide.left, 100);
  EXPECT_DOUBLE_EQ(wide.width, 100);
  EXPECT_DOUBLE_EQ(wide.height, 100);
}

}  // namespace
}  // namespace nas::data
