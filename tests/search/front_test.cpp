#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "search/hypervolume.h"
#include "search/pareto.h"
#include "space/base/rng.h"
#ifdef HWNAS_HAS_PAGMO
#include <pagmo/utils/hypervolume.hpp>
#include <pagmo/utils/multi_objective.hpp>
#endif

namespace nas::search {
namespace {

std::vector<double> cloud(std::uint64_t seed, std::size_t n, std::size_t d, int grid = 0) {
  Rng rng(seed, "cloud");
  std::vector<double> flat(n * d);
  for (double& x : flat)
    x = grid > 0 ? static_cast<double>(rng.below(static_cast<std::uint64_t>(grid))) : rng.uniform();
  return flat;
}

// Counts unit cells: the definition itself.
double counted_volume(const Points& points, int side) {
  const std::size_t d = points.dimension;
  std::size_t cells = 1, covered = 0;
  for (std::size_t k = 0; k < d; ++k) cells *= static_cast<std::size_t>(side);
  for (std::size_t cell = 0; cell < cells; ++cell) {
    std::vector<double> corner;
    for (std::size_t k = 0, rest = cell; k < d; ++k, rest /= static_cast<std::size_t>(side))
      corner.push_back(static_cast<double>(rest % static_cast<std::size_t>(side)));
    bool inside = false;
    for (std::size_t i = 0; i < points.size() && !inside; ++i) inside = weakly_dominates(points[i], corner);
    covered += inside;
  }
  return static_cast<double>(covered);
}

TEST(Hypervolume, EqualsTheCountOfCoveredCells) {
  for (std::size_t d = 1; d <= 5; ++d)
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto flat = cloud(seed, 9, d, 6);
      const std::vector<double> reference(d, 6.0);
      EXPECT_DOUBLE_EQ(hypervolume({flat, d}, reference), counted_volume({flat, d}, 6)) << d << " " << seed;
    }
}

TEST(Hypervolume, IgnoresPointsBeyondTheReference) {
  const std::vector<double> flat{0.5, 0.5, 2.0, 0.1, 0.1, 1.0};
  EXPECT_DOUBLE_EQ(hypervolume({flat, 2}, std::vector<double>{1.0, 1.0}), 0.25);
  EXPECT_EQ(hypervolume({{}, 3}, std::vector<double>{1, 1, 1}), 0);
}

TEST(Hypervolume, ContributionIsWhatIsLostWithoutThePoint) {
  const std::vector<double> flat{0, 2, 1, 1, 2, 0, 2, 2};
  EXPECT_THAT(hypervolume_contributions({flat, 2}, std::vector<double>{3, 3}),
              testing::ElementsAre(1, 1, 1, 0));
}

TEST(Knee, IsThePointFarthestBelowTheLineOfTheExtremes) {
  const std::vector<double> flat{0, 100, 1, 20, 5, 15, 10, 0};
  EXPECT_EQ(knee_point({flat, 2}), 1u);
}

TEST(Crowding, IsInfiniteAtTheEndsAndSumsNeighbourGapsInside) {
  const std::vector<double> flat{0, 4, 1, 2, 4, 0};
  const auto distance = crowding_distance({flat, 2});
  EXPECT_EQ(distance[0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(distance[2], std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(distance[1], 2.0);
}

TEST(NonDominated, KeepsTheFirstOfEqualPoints) {
  const std::vector<double> flat{1, 1, 0, 2, 1, 1, 2, 2};
  EXPECT_THAT(non_dominated({flat, 2}), testing::ElementsAre(0, 1));
}

TEST(NonDominated, KeepsWhatNoOtherPointIsNowhereWorseThanInAnyDimension) {
  for (std::size_t d = 1; d <= 4; ++d)
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
      const auto flat = cloud(seed, 90, d,
                              seed % 3 == 0   ? 0
                              : seed % 3 == 1 ? 4
                                              : 12);  // few values: many ties
      const Points points{flat, d};
      std::vector<std::size_t> expected;
      for (std::size_t i = 0; i < points.size(); ++i) {
        bool kept = true;
        for (std::size_t j = 0; j < points.size() && kept; ++j)
          kept = i == j || !weakly_dominates(points[j], points[i]) ||
                 (weakly_dominates(points[i], points[j]) && i < j);
        if (kept) expected.push_back(i);
      }
      EXPECT_EQ(non_dominated(points), expected) << d << " dimensions, seed " << seed;
    }
}

#ifdef HWNAS_HAS_PAGMO
std::vector<std::vector<double>> rows(const std::vector<double>& flat, std::size_t d) {
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < flat.size(); i += d)
    out.emplace_back(flat.begin() + static_cast<std::ptrdiff_t>(i),
                     flat.begin() + static_cast<std::ptrdiff_t>(i + d));
  return out;
}

TEST(Pagmo, SortsTheSameFronts) {
  for (std::size_t d = 2; d <= 4; ++d)
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto flat = cloud(seed, 120, d, seed % 2 == 0 ? 12 : 0);
      const Points points{flat, d};
      auto theirs = std::get<0>(pagmo::fast_non_dominated_sorting(rows(flat, d)));
      for (auto& front : theirs) std::ranges::sort(front);
      const auto ours = sort_fronts(points.size(), [&](std::size_t a, std::size_t b) {
        return pareto_dominates(points[a], points[b]);
      });
      EXPECT_TRUE(std::ranges::equal(ours, theirs,
                                     [](const auto& a, const auto& b) { return std::ranges::equal(a, b); }));
    }
}

TEST(Pagmo, MeasuresTheSameHypervolume) {
  for (std::size_t d = 2; d <= 6; ++d)
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto flat = cloud(seed, d < 5 ? 80 : 30, d);
      const std::vector<double> reference(d, 1.1);
      pagmo::hypervolume theirs(rows(flat, d), true);
      const double expected = theirs.compute(reference);
      EXPECT_NEAR(hypervolume({flat, d}, reference), expected, 1e-11 * expected) << d;
    }
}

TEST(Pagmo, GivesTheSameCrowdingDistances) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto flat = cloud(seed, 60, 3);
    const Points points{flat, 3};
    std::vector<double> front;
    for (const std::size_t i : non_dominated(points))
      front.insert(front.end(), points[i].begin(), points[i].end());
    const auto ours = crowding_distance({front, 3});
    const auto theirs = pagmo::crowding_distance(rows(front, 3));
    for (std::size_t i = 0; i < ours.size(); ++i)
      EXPECT_TRUE(ours[i] == theirs[i] || std::abs(ours[i] - theirs[i]) < 1e-12)
          << ours[i] << " " << theirs[i];
  }
}
#else
TEST(Pagmo, AgreesOnSortingAndHypervolume) {
  GTEST_SKIP() << "built without pagmo (libpagmo-dev was not found)";
}
#endif

}  // namespace
}  // namespace nas::search
