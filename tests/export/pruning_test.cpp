#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "space/cost.h"
#include "supernet/prune/importance.h"
#include "supernet/prune/masks.h"
#include "supernet/prune/sensitivity.h"
#include "tests/export/compression_support.h"

namespace nas::supernet {
namespace {

TEST(ChannelGroups, AreTheInnerOnesOfResidualBlocks) {
  const TrainedNetwork t = network_of("cifar-mbv3", 24);
  const auto groups = channel_groups(t.network);
  std::vector<std::string> names;
  for (const auto& g : groups) names.push_back(group_name(t.network, g));
  EXPECT_THAT(names, ::testing::Contains("stage2.block1.expand"));
  EXPECT_THAT(names, ::testing::Not(::testing::Contains("stage2.block1.project")));  // tied by the addition
  EXPECT_THAT(names, ::testing::Not(::testing::Contains("classifier")));
  // Every narrowed network is valid, and cheaper.
  std::vector<std::int32_t> half;
  for (const auto& g : groups) half.push_back(std::max(1, g.channels / 2));
  const auto narrow = narrowed(t.network, groups, half);
  ASSERT_TRUE(narrow);
  EXPECT_TRUE(validate(*narrow));
  EXPECT_LT(macs(*narrow), macs(t.network));
}

TEST(ChannelGroups, LeavesNoneBehindWithoutNamingTheLayer) {
  const TrainedNetwork t = network_of("tiny", 16);
  const auto groups = channel_groups(t.network);
  std::vector<std::int32_t> kept(groups.size(), 1);
  kept[1] = 0;
  const auto refused = narrowed(t.network, groups, kept);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr(group_name(t.network, groups[1])));
}

struct Pruned {
  TrainedNetwork before;
  std::vector<ChannelGroup> groups;
  std::vector<Values> images;
};

// A network in which channel 2 of every group has been made worthless in the way `spoil` does it.
template <class Spoil>
Pruned with_worthless_channels(const char* space, int resolution, Spoil spoil) {
  Pruned p{network_of(space, resolution), {}, {}};
  p.groups = channel_groups(p.before.network);
  for (const ChannelGroup& g : p.groups) spoil(p.before, g);
  p.images = random_images(p.before.network.layers[0].out, 4, 9);
  return p;
}

void expect_no_trace(const Pruned& p, const std::vector<std::vector<double>>& scores) {
  const auto statistics = channel_statistics(p.before, p.groups, p.images);
  ASSERT_TRUE(statistics) << to_string(statistics.error());
  KeptChannels kept;
  for (std::size_t g = 0; g < p.groups.size(); ++g) {
    EXPECT_EQ(scores[g][2], 0) << group_name(p.before.network, p.groups[g]);
    EXPECT_GT(scores[g][1], 0);
    kept.push_back(best_channels(scores[g], p.groups[g].channels - 1));
  }
  const auto after = prune_channels(p.before, p.groups, kept, *statistics);
  ASSERT_TRUE(after) << to_string(after.error());
  EXPECT_LT(difference(p.before, *after, p.images), 1e-9);
  // New images too: what is worthless is so everywhere.
  EXPECT_LT(difference(p.before, *after, random_images(p.before.network.layers[0].out, 3, 77)), 1e-9);
}

TEST(Pruning, LeavesNoTraceWhereNobodyReadsAChannel) {
  for (const char* space : {"tiny", "cifar-mbv3"}) {
    const Pruned p = with_worthless_channels(
        space, space[0] == 't' ? 16 : 24, [](TrainedNetwork& t, const ChannelGroup& g) {
          for (const std::int32_t consumer : g.consumers) {
            NamedTensor& w = tensor(t, consumer, "weight");
            const auto columns = static_cast<std::size_t>(g.channels),
                       each = w.values.size() / (static_cast<std::size_t>(w.shape[0]) * columns);
            for (std::size_t i = 0; i < w.values.size(); ++i)
              if (i / each % columns == 2) w.values[i] = 0;
          }
          // A squeeze-excite reads it too.
          for (const std::int32_t carrier : g.carriers)
            if (t.network.layers[static_cast<std::size_t>(carrier)].kind == LayerKind::squeeze_excite) {
              NamedTensor& w = tensor(t, carrier, "reduce_weight");
              for (std::size_t i = 2; i < w.values.size(); i += static_cast<std::size_t>(g.channels))
                w.values[i] = 0;
            }
        });
    expect_no_trace(p, weight_importance(p.before, p.groups, Importance::l1));
  }
}

TEST(Pruning, LeavesNoTraceWhereABatchNormMakesAChannelConstant) {
  // tiny has no squeeze-excite; the last batch norm before the consumer gives the same value everywhere.
  const Pruned p = with_worthless_channels("tiny", 16, [](TrainedNetwork& t, const ChannelGroup& g) {
    std::int32_t last = -1;
    for (const std::int32_t i : g.carriers)
      if (t.network.layers[static_cast<std::size_t>(i)].kind == LayerKind::batch_norm) last = i;
    if (last >= 0) tensor(t, last, "scale").values[2] = 0;
  });
  std::vector<ChannelGroup> with_norm;
  for (const ChannelGroup& g : p.groups)
    if (std::ranges::any_of(g.carriers, [&](std::int32_t i) {
          return p.before.network.layers[static_cast<std::size_t>(i)].kind == LayerKind::batch_norm;
        }))
      with_norm.push_back(g);
  Pruned only{p.before, with_norm, p.images};
  expect_no_trace(only, weight_importance(only.before, only.groups, Importance::batch_norm));
}

TEST(Pruning, LeavesNoTraceWhereAChannelIsAlwaysZero) {
  const Pruned p = with_worthless_channels("tiny", 16, [](TrainedNetwork& t, const ChannelGroup& g) {
    for (const std::int32_t i : g.carriers)
      if (t.network.layers[static_cast<std::size_t>(i)].kind == LayerKind::batch_norm) {
        tensor(t, i, "scale").values[2] = 0;
        tensor(t, i, "shift").values[2] = -1;  // below zero: the relu makes it zero
      }
  });
  const auto statistics = channel_statistics(p.before, p.groups, p.images);
  ASSERT_TRUE(statistics);
  const auto scores = apoz_importance(*statistics);
  std::vector<ChannelGroup> groups;
  std::vector<std::vector<double>> theirs;
  for (std::size_t g = 0; g < p.groups.size(); ++g)
    if (scores[g][2] == 0) {
      groups.push_back(p.groups[g]);
      theirs.push_back(scores[g]);
      for (double& s : theirs.back()) s += 1e-6 * (s > 0);
    }
  ASSERT_GE(groups.size(), 3u);
  KeptChannels kept;
  for (std::size_t g = 0; g < groups.size(); ++g)
    kept.push_back(best_channels(theirs[g], groups[g].channels - 1));
  const auto own = channel_statistics(p.before, groups, p.images);
  const auto after = prune_channels(p.before, groups, kept, *own);
  ASSERT_TRUE(after) << to_string(after.error());
  EXPECT_LT(difference(p.before, *after, p.images), 1e-9);
}

TEST(Pruning, UnderALimitHoldsItAndMovesTheOutputLessThanUniformRatios) {
  const TrainedNetwork t = network_of("tiny", 16);
  const auto groups = channel_groups(t.network);
  const auto images = random_images(t.network.layers[0].out, 8, 4);
  const auto statistics = channel_statistics(t, groups, images);
  const auto scores = weight_importance(t, groups, Importance::l1);
  const auto sensitivity = prune_sensitivity(t, groups, scores, *statistics, images, 1);
  ASSERT_TRUE(sensitivity) << to_string(sensitivity.error());
  const NetworkCost cost = [](const Network& n) -> Result<double> {
    return static_cast<double>(macs(n).count());
  };
  std::vector<std::int32_t> uniform;
  for (const auto& g : groups) uniform.push_back(kept_at(g.channels, 0.4, 1));
  const double limit = *cost(*narrowed(t.network, groups, uniform));
  const auto kept = kept_within(t.network, groups, *sensitivity, cost, limit);
  ASSERT_TRUE(kept) << to_string(kept.error());
  EXPECT_LE(*cost(*narrowed(t.network, groups, *kept)), limit);
  const auto error = [&](const std::vector<std::int32_t>& counts) {
    KeptChannels chosen;
    for (std::size_t g = 0; g < groups.size(); ++g) chosen.push_back(best_channels(scores[g], counts[g]));
    return difference(t, *prune_channels(t, groups, chosen, *statistics), images);
  };
  EXPECT_LT(error(*kept), error(uniform));
  const auto none = kept_within(t.network, groups, *sensitivity, cost, limit / 50);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::infeasible);
}

TEST(Masks, KeepTheLargestOfEveryGroupAndCountHonestly) {
  TrainedNetwork t = network_of("tiny", 16);
  const Mask mask = make_mask(t, *parse_mask("2:4"));
  const TrainedNetwork before = t;
  apply(mask, t);
  for (const auto& [name, stays] : mask.stays) {
    const auto w = std::ranges::find(before.tensors, name, &NamedTensor::name);
    const std::size_t row = w->values.size() / static_cast<std::size_t>(w->shape[0]);
    for (std::size_t r = 0; r < w->values.size(); r += row)
      for (std::size_t k = 0; k + 4 <= row; k += 4) {
        double kept = 1e9, gone = 0;
        int count = 0;
        for (std::size_t i = r + k; i < r + k + 4; ++i) {
          count += stays[i];
          (stays[i] ? kept : gone) = stays[i] ? std::min(kept, std::fabs(double{w->values[i]}))
                                              : std::max(gone, std::fabs(double{w->values[i]}));
        }
        EXPECT_EQ(count, 2);
        EXPECT_GE(kept, gone);
      }
  }
  const MaskedSize size = masked_size(mask);
  std::int64_t zeros = 0;
  for (const auto& [name, stays] : mask.stays) zeros += std::ranges::count(stays, 0);
  EXPECT_EQ(size.zeros, zeros);
  EXPECT_LT(size.masked_bytes, size.dense_bytes);
  const MaskedSize half = masked_size(make_mask(before, *parse_mask("0.5")));
  EXPECT_NEAR(static_cast<double>(half.masked_bytes) / static_cast<double>(half.dense_bytes), 0.5 + 1.0 / 8,
              0.01);
  for (const char* bad : {"1", "1.0", "-0.1", "4:4", "0:4", "2:32", "x", "", "2:4x"})
    EXPECT_FALSE(parse_mask(bad)) << bad;
}

}  // namespace
}  // namespace nas::supernet
