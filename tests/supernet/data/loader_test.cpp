#include "supernet/data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "supernet/data/procedural.h"

namespace nas::data {
namespace {

std::shared_ptr<const Store> small_store(int count = 60, int classes = 3) {
  return *open_store(*procedural_source({.classes = classes, .count = count, .side = 16, .difficulty = 0.2}));
}

std::vector<std::uint32_t> all_of(const Store& store) {
  std::vector<std::uint32_t> indices(store.size());
  std::iota(indices.begin(), indices.end(), 0U);
  return indices;
}

// Everything switched on.
Augmentation everything() {
  Augmentation a;
  a.random_resized_crop = true;
  a.pad_crop = 2;
  a.flip = 0.5;
  a.brightness = a.contrast = a.saturation = 0.4;
  a.hue = 0.1;
  a.randaugment_count = 2;
  a.erase = 0.5;
  a.mixup = 0.3;
  a.cutmix = 1;
  a.label_smoothing = 0.1;
  return a;
}

bool same(const Batch& a, const Batch& b) {
  return a.at == b.at && a.resolution == b.resolution && a.pixels == b.pixels && a.labels == b.labels &&
         a.targets == b.targets && a.samples == b.samples;
}

std::vector<Batch> run_of(const LoaderOptions& options, int steps, Cursor from = {}) {
  static const auto store = small_store();
  const auto loader = *Loader::make(store, all_of(*store), everything(), options);
  loader->seek(from);
  std::vector<Batch> batches;
  for (int i = 0; i < steps; ++i) batches.push_back(loader->next());
  return batches;
}

const LoaderOptions kOptions{.seed = 5, .batch = 7, .resolutions = {12, 16, 20}, .prefetch = 3};

TEST(Loader, GivesTheSameBatchesForAnyThreadsAndPrefetch) {
  const auto expected = run_of(kOptions, 25);
  for (const int threads : {1, 4})
    for (const int prefetch : {0, 1, 2, 9}) {
      const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                      static_cast<std::size_t>(threads));
      LoaderOptions options = kOptions;
      options.prefetch = prefetch;
      options.threads = threads;
      const auto found = run_of(options, 25);
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_TRUE(same(expected[i], found[i]))
            << "step " << i << ", threads " << threads << ", prefetch " << prefetch;
    }
}

TEST(Loader, ResumedAnywhereContinuesBitEqual) {
  const auto expected = run_of(kOptions, 20);
  for (const std::size_t cut : {1, 7, 8, 13}) {
    const auto rest = run_of(kOptions, static_cast<int>(20 - cut), expected[cut].at);
    for (std::size_t i = cut; i < 20; ++i) ASSERT_TRUE(same(expected[i], rest[i - cut])) << cut << " " << i;
  }
}

TEST(Loader, SeeksBackAndForthWhileBatchesAreBeingMade) {
  const auto expected = run_of(kOptions, 20);
  const auto store = small_store();
  const auto loader = *Loader::make(store, all_of(*store), everything(), kOptions);
  for (const std::size_t target : {3, 0, 19, 7, 7, 1}) {
    loader->seek(expected[target].at);
    EXPECT_EQ(loader->cursor(), expected[target].at);
    EXPECT_TRUE(same(loader->next(), expected[target]));
  }
}

TEST(Loader, BuildsAnyBatchOnRequest) {
  const auto expected = run_of(kOptions, 20);
  const auto store = small_store();
  const auto loader = *Loader::make(store, all_of(*store), everything(), kOptions);
  Batch batch;
  for (const std::size_t i : {17, 2, 9}) {
    loader->build(expected[i].at, batch);
    EXPECT_TRUE(same(batch, expected[i]));
  }
}

TEST(Loader, CoversEveryPictureExactlyOnceAnEpochOverAllRanks) {
  const auto store = small_store(61);
  for (const int world : {1, 2, 3})
    for (const int batch : {1, 4, 7, 100}) {
      std::vector<std::uint32_t> seen;
      std::int64_t steps = 0;
      for (int rank = 0; rank < world; ++rank) {
        const auto loader = *Loader::make(
            store, all_of(*store), {},
            {.batch = batch, .rank = rank, .world = world, .training = false, .resolutions = {8}});
        steps = loader->steps_per_epoch();
        for (std::int64_t s = 0; s < steps; ++s) {
          const Batch& b = loader->next();
          EXPECT_LE(b.size(), static_cast<std::size_t>(batch));
          seen.insert(seen.end(), b.samples.begin(), b.samples.end());
        }
        EXPECT_EQ(loader->cursor(), (Cursor{1, 0}));
      }
      EXPECT_EQ(steps, (61 + batch * world - 1) / (batch * world));
      std::sort(seen.begin(), seen.end());
      EXPECT_EQ(seen, all_of(*store)) << "world " << world << ", batch " << batch;
    }
}

TEST(Loader, TrainsOnDifferentPicturesEachStepAndAnotherOrderEachEpoch) {
  const auto store = small_store(60);
  const auto loader = *Loader::make(store, all_of(*store), {}, {.batch = 8, .resolutions = {8}});
  ASSERT_EQ(loader->steps_per_epoch(), 7);
  std::vector<std::vector<std::uint32_t>> epochs(3);
  for (auto& epoch : epochs)
    for (int s = 0; s < 7; ++s) {
      const Batch& b = loader->next();
      ASSERT_EQ(b.size(), 8U);
      for (std::size_t i = 0; i < b.size(); ++i) EXPECT_EQ(b.labels[i], store->label(b.samples[i]));
      epoch.insert(epoch.end(), b.samples.begin(), b.samples.end());
    }
  for (const auto& epoch : epochs) EXPECT_EQ(std::set(epoch.begin(), epoch.end()).size(), 56U);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Loader, DrawsOneResolutionAStepForAllRanks) {
  const auto store = small_store();
  std::set<int> met;
  const auto make = [&](int rank) {
    return *Loader::make(store, all_of(*store), {},
                         {.batch = 4, .rank = rank, .world = 2, .resolutions = {8, 12, 16}});
  };
  const auto first = make(0), second = make(1);
  for (int i = 0; i < 30; ++i) {
    const int announced = first->resolution_at(first->cursor());
    const Batch& a = first->next();
    const Batch& b = second->next();
    EXPECT_EQ(a.resolution, b.resolution);
    EXPECT_EQ(a.resolution, announced);
    EXPECT_EQ(a.pixels.size(), a.size() * static_cast<std::size_t>(3 * a.resolution * a.resolution));
    for (const auto sample : a.samples) EXPECT_THAT(b.samples, testing::Not(testing::Contains(sample)));
    met.insert(a.resolution);
  }
  EXPECT_EQ(met.size(), 3U);
}

TEST(Loader, MixesWithAPartnerAndKeepsTargetsThatSumToOne) {
  const auto store = small_store();
  Augmentation a;
  a.mixup = 1;
  a.label_smoothing = 0.1;
  const LoaderOptions options{.seed = 3, .batch = 9, .resolutions = {16}};
  const auto mixed = *Loader::make(store, all_of(*store), a, options);
  const auto plain = *Loader::make(store, all_of(*store), {}, options);
  const Batch& m = mixed->next();
  const Batch& p = plain->next();
  EXPECT_TRUE(p.targets.empty());
  const std::size_t floats = 3 * 16 * 16;
  for (std::size_t i = 0; i < 9; ++i) {
    const std::size_t j = 8 - i;
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += m.targets[3 * i + c];
    EXPECT_NEAR(sum, 1, 1e-6);
    Rng rng(3, "mix", 0, m.samples[i]);
    const auto own = static_cast<float>(i == j ? 1 : draw_mix(a, 16, rng).own);
    for (std::size_t k = 0; k < floats; ++k)
      ASSERT_NEAR(m.pixels[i * floats + k],
                  own * p.pixels[i * floats + k] + (1 - own) * p.pixels[j * floats + k], 1e-5);
    std::vector<float> expected(3, 0.1F / 3);
    expected[static_cast<std::size_t>(p.labels[i])] += 0.9F * own;
    expected[static_cast<std::size_t>(p.labels[j])] += 0.9F * (1 - own);
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(m.targets[3 * i + c], expected[c], 1e-6);
  }
}

TEST(Loader, SaysWhatIsWrongWithItsOptions) {
  const auto store = small_store();
  const auto message = [&](LoaderOptions options, std::vector<std::uint32_t> indices, Augmentation a = {}) {
    const auto made = Loader::make(store, std::move(indices), a, options);
    return made ? std::string() : made.error().message;
  };
  EXPECT_THAT(message({.batch = 0}, {1}), testing::HasSubstr("batch must be in 1..65536, found 0"));
  EXPECT_THAT(message({.rank = 2, .world = 2}, {1, 2}), testing::HasSubstr("rank must be in 0..1, found 2"));
  EXPECT_THAT(message({}, {}), testing::HasSubstr("0 pictures for 1 ranks"));
  EXPECT_THAT(message({.resolutions = {}}, {1}), testing::HasSubstr("at least one resolution"));
  EXPECT_THAT(message({}, {60}), testing::HasSubstr("picture 60 of 60"));
  EXPECT_THAT(message({}, {1}, {.hue = 0.7}), testing::HasSubstr("hue must be in"));
  EXPECT_EQ(message({}, {1}), "");
}

}  // namespace
}  // namespace nas::data
