// Seeded mutants of every outside format: reading one may fail in any way but crash, hang or overrun.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "space/base/file.h"
#include "space/base/rng.h"
#include "supernet/data/cache_file.h"
#include "tests/supernet/data/encode.h"

namespace nas::data {
namespace {

using namespace testing_tools;
namespace fs = std::filesystem;

// Changes, cuts or repeats bytes; what comes out may be anything, but reading it must neither crash nor hang.
Bytes mutate(Bytes bytes, Rng& rng) {
  for (std::uint64_t k = 0, n = 1 + rng.below(6); k < n && !bytes.empty(); ++k) {
    const std::size_t at = rng.below(bytes.size());
    switch (rng.below(5)) {
      case 0:
        bytes[at] = static_cast<std::uint8_t>(rng.next());
        break;
      case 1:
        bytes[at] ^= static_cast<std::uint8_t>(1U << rng.below(8));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes[at] = rng.chance(0.5) ? 0xFF : 0;
        break;
      default:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes[at]);
    }
  }
  return bytes;
}

// Makes every chunk's checksum right again, so that mutants get past it.
void repair_png(Bytes& bytes) {
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    std::size_t length = 0;
    for (std::size_t k = 0; k < 4; ++k) length = length << 8 | bytes[at + k];
    if (length > bytes.size() - at - 12) return;
    const auto crc = crc32(0, bytes.data() + at + 4, static_cast<uInt>(length + 4));
    for (std::size_t k = 0; k < 4; ++k)
      bytes[at + 8 + length + k] = static_cast<std::uint8_t>(crc >> (24 - 8 * k));
    at += 12 + length;
  }
}

TEST(Fuzz, ImageDecodersSurviveAnyBytes) {
  const Image image = gradient(24, 24);
  const std::vector<Bytes> seeds = {encode_jpeg(image.pixels, 24, 24, 3),
                                    encode_jpeg(Bytes(576, 90), 24, 24, 1),
                                    encode_jpeg(Bytes(2304, 70), 24, 24, 4), png_of(image),
                                    encode_png(Bytes(24 * 6, 0x1B), 24, 24, 3, 2, Bytes(12, 7))};
  for (const Bytes& seed : seeds) ASSERT_TRUE(decode_image(seed));
  const Bytes expected = decode_image(seeds[0])->pixels;
  int refused = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    Rng rng(1, "fuzz-image", 0, i);
    Bytes bytes = mutate(seeds[i % seeds.size()], rng);
    if (sniff_image(bytes) == ImageFormat::png && rng.chance(0.7)) repair_png(bytes);
    const auto found = decode_image(bytes);
    // Nothing that a broken file holds may leak into the next one.
    ASSERT_EQ(decode_image(seeds[0])->pixels, expected) << i;
    if (found) {
      EXPECT_EQ(found->pixels.size(),
                3 * static_cast<std::size_t>(found->height) * static_cast<std::size_t>(found->width));
    } else {
      ++refused;
      EXPECT_FALSE(found.error().message.empty());
    }
  }
  EXPECT_GT(refused, 1500);
  EXPECT_LT(refused, 5900);
}

TEST(Fuzz, FileReadersSurviveAnyBytes) {
  const auto root = fresh_folder("fuzz");
  Bytes cifar;
  for (int i = 0; i < 10; ++i) {
    cifar.push_back(static_cast<std::uint8_t>(i));
    cifar.resize(cifar.size() + 3072, 5);
  }
  const Bytes images = idx_file(Bytes(60, 4), {3, 5, 4}), labels = idx_file({0, 1, 2}, {3});
  const auto touch_all = [](const Result<Source>& source) {
    for (std::size_t i = 0; source && i < std::min<std::size_t>(source->items.size(), 20); ++i)
      EXPECT_TRUE(source->image(i, 64));
  };
  for (std::uint64_t i = 0; i < 120; ++i) {
    Rng rng(1, "fuzz-file", 0, i);
    Bytes bytes = mutate(cifar, rng);
    if (i % 2 == 0) bytes.resize(cifar.size());
    put(root / "c" / "data_batch_1.bin", bytes);
    touch_all(open_cifar(root / "c"));
    put(root / "i" / "a-images", i % 3 == 0 ? mutate(encode_gzip(images), rng) : mutate(images, rng));
    put(root / "i" / "a-labels", i % 4 == 0 ? mutate(labels, rng) : labels);
    touch_all(open_idx(root / "i"));
  }
  fs::remove_all(root);
}

TEST(Fuzz, CacheFilesSurviveAnyBytes) {
  const auto root = fresh_folder("fuzz-cache");
  ASSERT_TRUE(open_dataset("procedural:classes=3,count=6,side=8", {.cache = root / "built"}));
  const std::string content = *read_file(fs::directory_iterator(root / "built")->path());
  const Bytes whole(content.begin(), content.end());
  const auto file = root / "mutant.cache";
  for (std::uint64_t i = 0; i < 450; ++i) {
    Rng rng(1, "fuzz-cache", 0, i);
    Bytes bytes = whole;
    if (i % 3 == 0) {
      bytes = mutate(bytes, rng);
    } else {  // damage the header, or the index with its checksum made right again
      if (i % 3 == 1) bytes[rng.below(48)] = static_cast<std::uint8_t>(rng.next());
      const std::size_t index = 4096 + 6 * 192;
      if (i % 3 == 2) {
        bytes[index + rng.below(bytes.size() - index)] = static_cast<std::uint8_t>(rng.next());
        const Hash128 hash = hash_bytes(std::span(bytes).subspan(index));
        std::memcpy(bytes.data() + 32, &hash, sizeof hash);
      }
    }
    put(file, bytes);
    const auto store = map_store(file);
    if (!store) continue;
    for (std::size_t k = 0; k < (*store)->size(); ++k) {
      EXPECT_LT((*store)->label(k), (*store)->classes().size());
      EXPECT_NE(hash_bytes({(*store)->picture(k).pixels, 192}).low, 0U);
    }
  }
  fs::remove_all(root);
}

}  // namespace
}  // namespace nas::data
