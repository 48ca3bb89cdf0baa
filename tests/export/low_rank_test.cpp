#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "supernet/low_rank/low_rank.h"
#include "supernet/low_rank/svd.h"
#include "supernet/quantize/budget.h"
#include "supernet/quantize/codebook.h"
#include "tests/export/compression_support.h"

namespace nas::supernet {
namespace {

TEST(LeastError, IsTheBestOfAllCombinationsAndKeepsTheLimit) {
  Rng rng(3, "budget");
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<Option>> items(5);
    for (auto& options : items)
      for (int o = 0; o < 3; ++o) options.push_back({static_cast<double>(1 + rng.below(40)), rng.uniform()});
    const double limit = static_cast<double>(40 + rng.below(120));
    double best = std::numeric_limits<double>::infinity();
    for (int code = 0; code < 243; ++code) {
      double cost = 0, error = 0;
      for (int i = 0, c = code; i < 5; ++i, c /= 3) {
        cost += items[static_cast<std::size_t>(i)][static_cast<std::size_t>(c % 3)].cost;
        error += items[static_cast<std::size_t>(i)][static_cast<std::size_t>(c % 3)].error;
      }
      if (cost <= limit) best = std::min(best, error);
    }
    const auto found = least_error(items, limit, static_cast<std::size_t>(limit));
    ASSERT_EQ(static_cast<bool>(found), std::isfinite(best)) << round;
    if (!found) continue;
    double cost = 0, error = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      cost += items[i][(*found)[i]].cost;
      error += items[i][(*found)[i]].error;
    }
    EXPECT_LE(cost, limit);
    EXPECT_NEAR(error, best, 1e-12);
  }
}

// Least squared error of `k` groups over all ways to cut the sorted values.
double brute_force(const std::vector<float>& sorted, std::size_t from, std::size_t k) {
  if (from == sorted.size()) return 0;
  if (k == 0) return std::numeric_limits<double>::infinity();
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t to = from + 1; to <= sorted.size(); ++to) {
    double mean = 0, error = 0;
    for (std::size_t i = from; i < to; ++i) mean += sorted[i] / static_cast<double>(to - from);
    for (std::size_t i = from; i < to; ++i) error += (sorted[i] - mean) * (sorted[i] - mean);
    best = std::min(best, error + brute_force(sorted, to, k - 1));
  }
  return best;
}

TEST(SharedWeights, HaveTheLeastErrorOfAllGroupings) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    Rng rng(seed, "shared");
    Values values;
    for (int i = 0; i < 11; ++i) values.push_back(static_cast<float>(std::round(rng.normal() * 8) / 8));
    for (const std::size_t k : {1u, 2u, 3u, 4u}) {
      const Codebook book = share_weights(values, k);
      ASSERT_EQ(book.codes.size(), values.size());
      double error = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        error += std::pow(static_cast<double>(values[i]) - book.centres[book.codes[i]], 2);
      Values sorted = values;
      std::ranges::sort(sorted);
      EXPECT_NEAR(error, brute_force(sorted, 0, k), 1e-6) << seed << " " << k;
    }
  }
}

// Least total length over all tuples of lengths that satisfy Kraft's inequality.
std::uint64_t shortest(const std::vector<std::uint64_t>& counts, std::size_t i, double room) {
  if (i == counts.size()) return 0;
  std::uint64_t best = UINT64_MAX;
  for (unsigned length = 1; length <= counts.size(); ++length) {
    const double share = std::pow(0.5, length);
    if (share > room + 1e-12) continue;
    if (const std::uint64_t rest = shortest(counts, i + 1, room - share); rest != UINT64_MAX)
      best = std::min(best, counts[i] * length + rest);
  }
  return best;
}

TEST(HuffmanLengths, AreTheShortestPrefixCode) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed, "huffman");
    std::vector<std::uint64_t> counts;
    for (int i = 0; i < 6; ++i) counts.push_back(1 + rng.below(seed % 2 ? 100 : 4));
    const auto lengths = huffman_lengths(counts);
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) total += counts[i] * lengths[i];
    EXPECT_EQ(total, shortest(counts, 0, 1)) << seed;
  }
  EXPECT_THAT(huffman_lengths(std::vector<std::uint64_t>{0, 7, 0}), ::testing::ElementsAre(0, 1, 0));
}

TEST(TernaryAndBinaryWeights, HaveTheirThresholdAndTheBestScalesForIt) {
  Rng rng(1, "ternary");
  Values values;
  for (int i = 0; i < 400; ++i) values.push_back(static_cast<float>(rng.normal()));
  const Codebook t = ternary(values, 0.3), b = binary(values);
  const double top = std::fabs(*std::ranges::max_element(values, {}, [](float v) { return std::fabs(v); }));
  const auto error = [&](const Codebook& book, double low, double high) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t last = book.centres.size() - 1;
      const double v = book.codes[i] == 0 ? low : book.codes[i] == last ? high : 0;
      sum += (values[i] - v) * (values[i] - v);
    }
    return sum;
  };
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(t.codes[i], std::fabs(values[i]) <= 0.3 * top ? 1 : values[i] < 0 ? 0 : 2);
  // No other scales are better for these codes.
  for (const double off : {-0.01, 0.01}) {
    EXPECT_GT(error(t, t.centres[0] + off, t.centres[2]), error(t, t.centres[0], t.centres[2]));
    EXPECT_GT(error(t, t.centres[0], t.centres[2] + off), error(t, t.centres[0], t.centres[2]));
    EXPECT_GT(error(b, b.centres[0] - off, b.centres[1] + off), error(b, b.centres[0], b.centres[1]));
  }
  EXPECT_EQ(coded_size(b).fixed, 4 + 50);
  EXPECT_EQ(coded_size(t).fixed, 8 + 100);
}

TEST(Svd, GivesOrthonormalFactorsAndTheValuesOfPowerIteration) {
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{7, 4}, {4, 7}, {12, 12}}) {
    Rng rng(rows, "svd");
    std::vector<double> a;
    for (std::size_t i = 0; i < rows * columns; ++i) a.push_back(rng.normal());
    const Svd d = svd(a, rows, columns);
    const std::size_t k = std::min(rows, columns);
    ASSERT_EQ(d.s.size(), k);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c) {
        double sum = 0;
        for (std::size_t i = 0; i < k; ++i) sum += d.u[r * k + i] * d.s[i] * d.v[c * k + i];
        EXPECT_NEAR(sum, a[r * columns + c], 1e-12);
      }
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < k; ++j) {
        double u = 0, v = 0;
        for (std::size_t r = 0; r < rows; ++r) u += d.u[r * k + i] * d.u[r * k + j];
        for (std::size_t c = 0; c < columns; ++c) v += d.v[c * k + i] * d.v[c * k + j];
        EXPECT_NEAR(u, i == j ? 1 : 0, 1e-12);
        EXPECT_NEAR(v, i == j ? 1 : 0, 1e-12);
      }
    // Independent: the largest value by power iteration on A^T A.
    std::vector<double> x(columns, 1);
    double largest = 0;
    for (int step = 0; step < 3000; ++step) {
      std::vector<double> y(rows, 0), z(columns, 0);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) y[r] += a[r * columns + c] * x[c];
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) z[c] += a[r * columns + c] * y[r];
      const double norm = std::sqrt(std::inner_product(z.begin(), z.end(), z.begin(), 0.0));
      for (std::size_t c = 0; c < columns; ++c) x[c] = z[c] / norm;
      largest = std::sqrt(norm);
    }
    EXPECT_NEAR(d.s[0], largest, 1e-9);
  }
}

TEST(LowRank, AtFullRankIsTheSameFunctionAndBelowItTheBestByWhatItMeets) {
  const TrainedNetwork t = network_of("cifar-mbv3", 24);
  const auto images = random_images(t.network.layers[0].out, 6, 3);
  const std::vector<std::int32_t> layers = factorable_layers(t.network);
  ASSERT_GT(layers.size(), 5u);
  const std::int32_t layer = layers[4];
  const Layer& l = t.network.layers[static_cast<std::size_t>(layer)];
  const auto full = factor(t, {{layer, std::min(l.in.channels, l.out.channels)}});
  ASSERT_TRUE(full) << to_string(full.error());
  EXPECT_LT(difference(t, *full, images), 1e-9);
  EXPECT_EQ(full->network.layers.size(), t.network.layers.size() + 1);

  const auto power = input_power(t, images);
  ASSERT_TRUE(power);
  const auto plain = factor(t, {{layer, 4}}), weighted = factor(t, {{layer, 4}}, *power);
  ASSERT_TRUE(plain && weighted);
  // Error of the layer's own weights, each column by the power it meets: the weighted one is the best there
  // is.
  const auto loss = [&](const TrainedNetwork& thin, bool by_power) {
    const NamedTensor& first = *thin.find(static_cast<std::size_t>(layer), "weight");
    const NamedTensor& second = *thin.find(static_cast<std::size_t>(layer) + 1, "weight");
    const NamedTensor& w = *t.find(static_cast<std::size_t>(layer), "weight");
    const auto in = static_cast<std::size_t>(l.in.channels);
    double sum = 0;
    for (std::size_t o = 0; o < static_cast<std::size_t>(l.out.channels); ++o)
      for (std::size_t c = 0; c < in; ++c) {
        double product = 0;
        for (std::size_t r = 0; r < 4; ++r)
          product += static_cast<double>(second.values[o * 4 + r]) * first.values[r * in + c];
        sum += std::pow(product - w.values[o * in + c], 2) * (by_power ? power->at(layer)[c] : 1);
      }
    return sum;
  };
  EXPECT_LT(loss(*weighted, true), loss(*plain, true));
  EXPECT_LT(loss(*plain, false), loss(*weighted, false));
  // Eckart and Young: plain SVD leaves the sum of the squares of the other singular values.
  const NamedTensor& w = *t.find(static_cast<std::size_t>(layer), "weight");
  const Svd d = svd({w.values.begin(), w.values.end()}, static_cast<std::size_t>(l.out.channels),
                    static_cast<std::size_t>(l.in.channels));
  double rest = 0;
  for (std::size_t i = 4; i < d.s.size(); ++i) rest += d.s[i] * d.s[i];
  EXPECT_NEAR(loss(*plain, false), rest, 1e-4 * rest);
}

TEST(LowRank, ProjectionKeepsTheEnergyAndIsOfThatRank) {
  const TrainedNetwork t = network_of("tiny", 16);
  const std::int32_t layer = factorable_layers(t.network)[1];
  const TrainedNetwork low = projected(t, {{layer, 2}});
  const auto energy = [&](const TrainedNetwork& n) {
    double sum = 0;
    for (const float v : n.find(static_cast<std::size_t>(layer), "weight")->values) sum += double{v} * v;
    return sum;
  };
  EXPECT_NEAR(energy(low), energy(t), 1e-4 * energy(t));
  const NamedTensor& w = *low.find(static_cast<std::size_t>(layer), "weight");
  const Svd d = svd({w.values.begin(), w.values.end()}, static_cast<std::size_t>(w.shape[0]),
                    static_cast<std::size_t>(w.shape[1]));
  EXPECT_LT(d.s[2], 1e-5 * d.s[0]);
}

TEST(LowRank, RefusesWhatHasNoFactors) {
  const TrainedNetwork t = network_of("tiny", 16);
  EXPECT_THAT(factor(t, {{1, 2}}).error().message, ::testing::HasSubstr("layer stem"));
  EXPECT_THAT(factor(t, {{factorable_layers(t.network)[0], 0}}).error().message,
              ::testing::HasSubstr("at least 1"));
}

}  // namespace
}  // namespace nas::supernet
