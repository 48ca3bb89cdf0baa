#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <concepts>
#include <filesystem>
#include <map>
#include <set>

#include "space/base/file.h"
#include "space/base/folder.h"
#include "space/base/hash.h"
#include "space/base/result.h"
#include "space/base/rng.h"
#include "space/base/units.h"

namespace nas {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Comparable = requires(A a, B b) {
  a < b;
};

TEST(Units, OfDifferentKindsNeitherAddNorCompare) {
  static_assert(Addable<Macs, Macs>);
  static_assert(!Addable<Macs, Bytes>);
  static_assert(!Addable<Macs, Millis>);
  static_assert(!Addable<Bytes, std::int64_t>);
  static_assert(!Comparable<Params, Bytes>);
  static_assert(!std::convertible_to<std::int64_t, Macs>);
  EXPECT_EQ(Macs(2) + Macs(3), Macs(5));
  EXPECT_DOUBLE_EQ(Bytes(3) / Bytes(2), 1.5);
}

TEST(Units, PrintWithTheirUnit) {
  EXPECT_EQ(to_string(Macs(12)), "12 MACs");
  EXPECT_EQ(to_string(Bytes(327680)), "320 KiB");
  EXPECT_EQ(to_string(Millis(1.25)), "1.25 ms");
}

TEST(Philox, MatchesThePublishedKnownAnswers) {
  // Random123 1.09, kat_vectors, philox4x32 with 10 rounds.
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}),
              testing::ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  const std::uint32_t ones = 0xffffffffu;
  EXPECT_THAT(philox4x32({ones, ones, ones, ones}, {ones, ones}),
              testing::ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
              testing::ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(Rng, GivesTheSameNumbersForTheSameNameAndOthersForAnyOtherName) {
  const auto first = [](std::uint64_t seed, const char* purpose, std::uint64_t step, std::uint64_t index) {
    return Rng(seed, purpose, step, index).next();
  };
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    for (const char* purpose : {"sample", "mutate"})
      for (std::uint64_t step = 0; step < 4; ++step)
        for (std::uint64_t index = 0; index < 4; ++index) {
          EXPECT_EQ(first(seed, purpose, step, index), first(seed, purpose, step, index));
          seen.insert(first(seed, purpose, step, index));
        }
  EXPECT_EQ(seen.size(), 4u * 2 * 4 * 4);
}

TEST(Rng, DrawsBoundedIntegersEvenly) {
  Rng rng(7, "test");
  std::vector<int> count(6, 0);
  for (int i = 0; i < 60000; ++i) ++count[rng.below(6)];
  double chi2 = 0;
  for (const int c : count) chi2 += (c - 10000.0) * (c - 10000.0) / 10000.0;
  EXPECT_LT(chi2, 20.5);  // 99.9 % point of chi-square with 5 degrees of freedom
}

TEST(Rng, NormalsHaveUnitMoments) {
  Rng rng(3, "normal");
  double sum = 0, squares = 0;
  constexpr int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / n, 0, 0.01);
  EXPECT_NEAR(squares / n, 1, 0.015);
}

TEST(Rng, SamplesWithoutReplacementAndShufflesEvenly) {
  std::map<std::vector<std::size_t>, int> orders;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    auto picked = Rng(1, "sample", 0, i).sample(3, 3);
    ++orders[picked];
    std::sort(picked.begin(), picked.end());
    EXPECT_THAT(picked, testing::ElementsAre(0, 1, 2));
  }
  EXPECT_EQ(orders.size(), 6u);
  for (const auto& [order, times] : orders) EXPECT_NEAR(times, 1000, 130);
  std::vector<int> deck{1, 2, 3, 4, 5, 6, 7, 8};
  Rng(5, "shuffle").shuffle<int>(deck);
  EXPECT_THAT(deck, testing::UnorderedElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

TEST(Hash, MatchesReferenceMurmurDigests) {
  // Digests of MurmurHash3_x64_128 with seed 0 from its public test tables.
  EXPECT_EQ(to_string(hash_text("")), "00000000000000000000000000000000");
  EXPECT_EQ(to_string(hash_text("hello")), "cbd8a7b341bd9b025b1e906a48ae1d19");
  EXPECT_EQ(to_string(hash_text("The quick brown fox jumps over the lazy dog")),
            "e34bbc7bbc071b6c7a433ca9c49a9347");
}

TEST(File, IsReplacedWholeOrNotAtAll) {
  const auto folder = std::filesystem::temp_directory_path() / "hwnas-base-test";
  std::filesystem::remove_all(folder);
  const auto path = folder / "deep" / "file.txt";
  ASSERT_TRUE(write_file(path, "one"));
  ASSERT_TRUE(write_file(path, "two"));
  EXPECT_EQ(*read_file(path), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
  EXPECT_FALSE(write_file(folder / "deep" / "file.txt" / "below", "x"));
  EXPECT_FALSE(read_file(folder));
  EXPECT_THAT(read_file(path, 2).error().message, testing::HasSubstr("holds 3 bytes; at most 2"));
  std::filesystem::remove_all(folder);
}

TEST(Folder, AppearsWholeOrNotAtAll) {
  namespace fs = std::filesystem;
  const auto parent = fs::temp_directory_path() / "hwnas-folder-test";
  fs::remove_all(parent);
  const auto failed = write_folder(parent / "out", [&](const fs::path& beside) -> Result<void> {
    EXPECT_FALSE(fs::exists(parent / "out"));
    NAS_CHECK(write_file(beside / "first", "1"));
    return usage_error("the second file cannot be made");
  });
  EXPECT_THAT(failed.error().message, testing::HasSubstr("second file"));
  EXPECT_TRUE(fs::is_empty(parent));
  // What a killed run left behind does not get in.
  const auto fill = [](const fs::path& beside) { return write_file(beside / "deep" / "file", "1"); };
  fs::path left;
  ASSERT_FALSE(write_folder(parent / "out", [&](const fs::path& beside) -> Result<void> {
    left = beside;
    return usage_error("stop");
  }));
  ASSERT_TRUE(write_file(left / "stale", "old"));
  ASSERT_TRUE(write_folder(parent / "out", fill));
  EXPECT_EQ(*read_file(parent / "out" / "deep" / "file"), "1");
  EXPECT_FALSE(fs::exists(parent / "out" / "stale"));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_THAT(write_folder(parent / "out", fill).error().message, testing::HasSubstr("exists already"));
  fs::remove_all(parent);
}

TEST(Sha256, MatchesThePublishedVector) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Result<int> half(int x) {
  if (x % 2 != 0) return usage_error("half: needs an even number, found " + std::to_string(x), "here:1:2");
  return x / 2;
}

Result<int> quarter(int x) {
  NAS_TRY(h, half(x));
  NAS_TRY(q, half(h));
  return q;
}

TEST(ResultType, CarriesTheValueOrTheFirstError) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(to_string(quarter(6).error()), "here:1:2: error: half: needs an even number, found 3");
  EXPECT_EQ(quarter(6).error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace nas
