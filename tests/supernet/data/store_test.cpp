#include "supernet/data/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <thread>

#include "supernet/data/procedural.h"
#include "supernet/data/splits.h"
#include "tests/supernet/data/encode.h"

namespace nas::data {
namespace {

using namespace testing_tools;
using testing::HasSubstr;
namespace fs = std::filesystem;

// `classes` folders of `count` different pictures each.
void put_classes(const fs::path& root, int classes, int count, int phase = 0) {
  for (int c = 0; c < classes; ++c)
    for (int i = 0; i < count; ++i)
      put(root / ("class" + std::to_string(c)) / (std::to_string(i) + ".png"),
          png_of(gradient(12, 12, phase + 25 * c + i)));
}

std::string failure(const std::string& path, StoreOptions options = {}) {
  const auto store = open_dataset(path, options);
  return store ? "opened: " + (*store)->description() : to_string(store.error());
}

TEST(ImageFolder, IsReadFromPartsOrFlat) {
  const auto root = fresh_folder("tree");
  put_classes(root / "train", 3, 4);
  put_classes(root / "test", 3, 2, 100);
  put(root / "train" / "class1" / ".DS_Store", {1});
  put(root / "train" / "class1" / "deeper" / "x.jpg", encode_jpeg(gradient(20, 30).pixels, 20, 30, 3));
  const auto store = open_dataset(root.string(), {.side = 12});
  ASSERT_TRUE(store) << to_string(store.error());
  EXPECT_EQ((*store)->size(), 19U);
  EXPECT_THAT((*store)->classes(), testing::ElementsAre("class0", "class1", "class2"));
  EXPECT_THAT((*store)->description(), HasSubstr("with train/, test/: 3 classes, 19 files, 1 JPEG, 18 PNG"));
  const Image expected = gradient(12, 12, 25 * 2 + 3);
  for (std::size_t i = 0; i < 19; ++i)
    if ((*store)->name(i) == "train/class2/3.png") {
      EXPECT_EQ((*store)->label(i), 2U);
      EXPECT_TRUE(std::equal(expected.pixels.begin(), expected.pixels.end(), (*store)->picture(i).pixels));
    }
  const auto flat = open_dataset((root / "train").string());
  ASSERT_TRUE(flat);
  EXPECT_EQ((*flat)->part(0), Part::whole);
  EXPECT_EQ((*flat)->side(), 20);  // the largest shorter side met
  fs::remove_all(root);
}

TEST(ImageFolder, SaysWhatIsWrong) {
  const auto root = fresh_folder("wrong");
  EXPECT_THAT(failure((root / "absent").string()), HasSubstr("no such file or folder"));
  EXPECT_THAT(failure(root.string()), HasSubstr("not a data set"));
  put_classes(root / "a", 2, 3);
  fs::create_directories(root / "a" / "hollow");
  EXPECT_THAT(failure((root / "a").string()), HasSubstr("class 'hollow' is empty"));
  put_classes(root / "b" / "train", 2, 3);
  put_classes(root / "b" / "val", 3, 1);
  EXPECT_THAT(failure((root / "b").string()),
              HasSubstr("class 'class2' does not exist in the training folder"));
  if (::geteuid() != 0) {
    put_classes(root / "c", 2, 1);
    fs::permissions(root / "c" / "class1", fs::perms::none);
    EXPECT_THAT(failure((root / "c").string()), HasSubstr("cannot read the folder"));
    fs::permissions(root / "c" / "class1", fs::perms::owner_all);
  }
  EXPECT_THAT(failure((root / "b" / "train" / "class0" / "0.png").string()), HasSubstr("not a data set"));
  fs::remove_all(root);
}

TEST(ImageFolder, ListsBadFilesAndLeavesThemOutOnlyOnRequest) {
  const auto root = fresh_folder("bad");
  put_classes(root, 2, 5);
  put(root / "class0" / "empty.jpg", {});
  put(root / "class1" / "text.png", {'h', 'e', 'l', 'l', 'o'});
  const std::string message = failure(root.string());
  EXPECT_THAT(message, HasSubstr("2 of 12 pictures cannot be decoded"));
  EXPECT_THAT(message, HasSubstr("class0/empty.jpg: an empty file (0 bytes)"));
  const auto cache = fresh_folder("bad-cache");
  for (int again = 0; again < 2; ++again) {
    const auto store = open_dataset(root.string(), {.skip_bad = true, .cache = cache});
    ASSERT_TRUE(store);
    EXPECT_EQ((*store)->size(), 10U);
    ASSERT_EQ((*store)->bad().size(), 2U);
    EXPECT_EQ((*store)->bad()[1].name, "class1/text.png");
  }
  EXPECT_THAT(failure(root.string(), {.cache = cache}), HasSubstr("2 of 12"));
  for (int i = 0; i < 5; ++i) fs::remove(root / "class0" / (std::to_string(i) + ".png"));
  EXPECT_THAT(failure(root.string(), {.skip_bad = true}),
              HasSubstr("class 'class0' has no readable picture"));
  fs::remove_all(root);
  fs::remove_all(cache);
}

TEST(Cifar, IsRecognisedBySizeAndChecked) {
  const auto root = fresh_folder("cifar");
  const auto records = [](std::size_t label_bytes, std::vector<int> labels) {
    Bytes bytes;
    for (const int label : labels) {
      if (label_bytes == 2) bytes.push_back(3);
      bytes.push_back(static_cast<std::uint8_t>(label));
      for (int k = 0; k < 3072; ++k)
        bytes.push_back(static_cast<std::uint8_t>(k / 1024 * 50 + label + k % 32));
    }
    return bytes;
  };
  put(root / "ten" / "data_batch_1.bin", records(1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  put(root / "ten" / "test_batch.bin", records(1, {9}));
  const auto ten = open_dataset((root / "ten").string());
  ASSERT_TRUE(ten) << to_string(ten.error());
  EXPECT_EQ((*ten)->description(), "CIFAR-10 binary: 2 files, 11 pictures");
  EXPECT_EQ((*ten)->part(10), Part::test);
  const auto* pixels = (*ten)->picture(4).pixels;  // planes become channels
  EXPECT_THAT(std::vector(pixels + 3, pixels + 6), testing::ElementsAre(5, 55, 105));
  put(root / "hundred" / "train.bin", records(2, {0, 99}));
  EXPECT_EQ(open_source((root / "hundred").string())->classes.size(), 100U);
  put(root / "range" / "data_batch_1.bin", records(1, {3, 10}));
  EXPECT_THAT(failure((root / "range").string()), HasSubstr("record 1: label must be in 0..9, found 10"));
  put(root / "odd" / "data_batch_1.bin", Bytes(5000));
  EXPECT_THAT(failure((root / "odd").string()), HasSubstr("no CIFAR binary files"));
  fs::remove_all(root);
}

TEST(Idx, IsReadPlainAndGzipped) {
  const auto root = fresh_folder("idx");
  Bytes pictures;
  for (int i = 0; i < 4 * 6 * 5; ++i) pictures.push_back(static_cast<std::uint8_t>(i));
  put(root / "train-images-idx3-ubyte.gz", encode_gzip(idx_file(pictures, {4, 6, 5})));
  put(root / "train-labels-idx1-ubyte", idx_file({1, 3, 1, 3}, {4}));
  const auto source = open_source(root.string());
  ASSERT_TRUE(source) << to_string(source.error());
  EXPECT_THAT(source->classes, testing::ElementsAre("1", "3"));
  EXPECT_EQ(source->items[1].label, 1U);
  const Image second = *source->image(1, 64);
  EXPECT_EQ(second.height, 6);
  EXPECT_EQ(second.width, 5);
  EXPECT_THAT(std::vector(second.pixels.begin(), second.pixels.begin() + 6),
              testing::ElementsAre(30, 30, 30, 31, 31, 31));

  put(root / "train-labels-idx1-ubyte", idx_file({1, 3, 1}, {3}));
  EXPECT_THAT(failure(root.string()), HasSubstr("3 labels for 4 pictures"));
  put(root / "train-labels-idx1-ubyte", idx_file({1, 3, 1}, {4}));
  EXPECT_THAT(failure(root.string()), HasSubstr("holds 11 bytes; its header declares 12"));
  put(root / "train-labels-idx1-ubyte", idx_file({1}, {0xFFFFFFFF}));
  put(root / "train-images-idx3-ubyte.gz", idx_file({1}, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}));
  EXPECT_THAT(failure(root.string()), HasSubstr("absurd IDX header"));
  put(root / "train-images-idx3-ubyte.gz", idx_file({1}, {0xFFFFFFFF, 8192, 8192}));
  EXPECT_THAT(failure(root.string()),
              testing::AnyOf(HasSubstr("absurd IDX header"), HasSubstr("its header declares")));
  fs::remove(root / "train-labels-idx1-ubyte");
  EXPECT_THAT(failure(root.string()), HasSubstr("pictures without labels"));
  fs::remove_all(root);
}

TEST(Cache, HoldsTheSamePixelsAsMemoryAndIsReused) {
  const auto cache = fresh_folder("cache");
  const std::string spec = "procedural:classes=4,count=50,side=20";
  const auto memory = *open_dataset(spec, {.side = 16});
  const auto first = *open_dataset(spec, {.side = 16, .cache = cache});
  ASSERT_EQ(std::distance(fs::directory_iterator(cache), {}), 1);
  const auto file = fs::directory_iterator(cache)->path();
  const auto written = fs::last_write_time(file);
  const auto second = *open_dataset(spec, {.side = 16, .cache = cache});
  EXPECT_EQ(fs::last_write_time(file), written);
  for (const auto& store : {first, second}) {
    ASSERT_EQ(store->size(), memory->size());
    EXPECT_EQ(store->fingerprint(), memory->fingerprint());
    EXPECT_EQ(store->classes(), memory->classes());
    EXPECT_TRUE(std::equal(store->picture(0).pixels, store->picture(50).pixels, memory->picture(0).pixels));
    for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(store->content(i), memory->content(i));
  }
  EXPECT_NE((*open_dataset(spec, {.side = 18}))->fingerprint(), memory->fingerprint());
  put(file, {1, 2, 3});  // damaged: made again
  EXPECT_TRUE(open_dataset(spec, {.side = 16, .cache = cache}));
  EXPECT_GT(fs::file_size(file), 50U * 16 * 16 * 3);
  fs::remove_all(cache);
}

TEST(Cache, MayBeBuiltByManyAtOnce) {
  const auto cache = fresh_folder("many");
  std::vector<std::string> fingerprints(6);
  std::vector<std::thread> builders;
  for (auto& out : fingerprints)
    builders.emplace_back([&out, &cache] {
      const auto store = open_dataset("procedural:classes=4,count=300,side=24", {.cache = cache});
      out = store ? (*store)->fingerprint() +
                        std::to_string(hash_bytes({(*store)->picture(0).pixels, 300U * 24 * 24 * 3}).low)
                  : to_string(store.error());
    });
  for (auto& builder : builders) builder.join();
  EXPECT_EQ(std::set(fingerprints.begin(), fingerprints.end()).size(), 1U) << fingerprints[0];
  EXPECT_EQ(std::distance(fs::directory_iterator(cache), {}), 1);
  fs::remove_all(cache);
}

TEST(Cache, SaysWhyItCannotBeWritten) {
  const auto root = fresh_folder("unwritable");
  put(root / "file", {1});
  EXPECT_THAT(failure("procedural:count=20", {.cache = root / "file" / "below"}),
              HasSubstr("cannot make the cache folder"));
  fs::remove_all(root);
}

TEST(Splits, AreDisjointCompleteStratifiedAndIndependentOfOrder) {
  const auto store = *open_dataset("procedural:classes=5,count=1000,side=8");
  const Splits splits = *split_store(*store, {.seed = 9});
  std::vector<int> met(store->size(), 0);
  for (const Split split : kSplits)
    for (const auto i : splits[split]) ++met[i];
  EXPECT_THAT(met, testing::Each(1));
  const auto per_class = [&](Split split) {
    std::vector<int> count(5, 0);
    for (const auto i : splits[split]) ++count[store->label(i)];
    return count;
  };
  EXPECT_THAT(per_class(Split::test), testing::Each(30));
  EXPECT_THAT(per_class(Split::validation), testing::Each(20));
  EXPECT_THAT(per_class(Split::recalibration), testing::Each(8));
  EXPECT_EQ(split_store(*store, {.seed = 9})->fingerprint, splits.fingerprint);
  EXPECT_NE(split_store(*store, {.seed = 10})->fingerprint, splits.fingerprint);
  EXPECT_TRUE(find_duplicates(*store, splits).empty());
}

TEST(Splits, RespectGivenPartsAndReportDuplicatesAcrossThem) {
  const auto root = fresh_folder("parts");
  put_classes(root / "train", 2, 20);
  put_classes(root / "val", 2, 3, 150);
  put_classes(root / "test", 2, 2, 180);
  put(root / "test" / "class1" / "copy.png", png_of(gradient(12, 12, 5)));  // train/class0/5.png
  const auto store = *open_dataset(root.string());
  const Splits splits = *split_store(*store);
  for (const auto i : splits[Split::test]) EXPECT_EQ(store->part(i), Part::test);
  EXPECT_EQ(splits[Split::test].size(), 5U);
  EXPECT_EQ(splits[Split::validation].size(), 6U);
  const auto duplicates = find_duplicates(*store, splits);
  ASSERT_EQ(duplicates.size(), 1U);
  EXPECT_EQ(store->name(duplicates[0].first), "train/class0/5.png");
  EXPECT_EQ(store->name(duplicates[0].second), "test/class1/copy.png");
  fs::remove_all(root / "test");
  const auto without = *open_dataset(root.string());
  EXPECT_EQ((*split_store(*without))[Split::test].size(), 6U);  // val/ is now what is kept for the end
  fs::remove_all(root);
}

TEST(Splits, KeepEqualPicturesTogether) {
  const auto root = fresh_folder("twins");
  for (int i = 0; i < 30; ++i)
    for (const char* twin : {"a", "b"})
      put(root / "one" / (std::to_string(i) + twin + ".png"), png_of(gradient(12, 12, i)));
  put_classes(root, 1, 20, 100);
  const auto store = *open_dataset(root.string());
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_TRUE(find_duplicates(*store, *split_store(*store, {.seed = seed})).empty());
  fs::remove_all(root);
}

TEST(Splits, RefuseTooFewPictures) {
  const auto root = fresh_folder("few");
  put_classes(root, 1, 1);
  const auto one = *open_dataset(root.string());
  EXPECT_THAT(split_store(*one).error().message,
              HasSubstr("class 'class0' has 1 picture to divide; required: at least 3"));
  EXPECT_THAT(split_store(*one, {.validation = 0.8, .test = 0.5}).error().message,
              HasSubstr("must leave 0.1 for training"));
  fs::remove_all(root);
}

TEST(ChannelStatistics, EqualPlainSums) {
  const auto store = *open_dataset("procedural:classes=3,count=40,side=9");
  const auto found = channel_statistics(*store, {1, 5, 7});
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (const std::size_t i : {1, 5, 7})
      for (std::size_t p = 0; p < 81; ++p) {
        const double v = store->picture(i).pixels[3 * p + c] / 255.0;
        sum += v;
        squares += v * v;
      }
    EXPECT_NEAR(found.mean[c], sum / 243, 1e-12);
    EXPECT_NEAR(found.deviation[c], std::sqrt(squares / 243 - sum * sum / 243 / 243), 1e-9);
  }
}

}  // namespace
}  // namespace nas::data
