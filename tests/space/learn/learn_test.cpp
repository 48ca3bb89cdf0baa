#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <numeric>

#include "space/base/rng.h"
#include "space/learn/gaussian_process.h"
#include "space/learn/gemm.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/mlp.h"
#include "space/learn/model_file.h"
#include "space/learn/split.h"
#include "space/learn/trees.h"

namespace nas::learn {
namespace {

using testing::HasSubstr;

Matrix random_matrix(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Matrix x(rows, columns);
  Rng rng(seed, "test");
  for (double& v : x.values) v = rng.uniform(-1, 1);
  return x;
}

double kendall_by_pairs(std::span<const double> a, std::span<const double> b) {
  double agree = 0;
  double pairs_a = 0;
  double pairs_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const int x = (a[i] > a[j]) - (a[i] < a[j]);
      const int y = (b[i] > b[j]) - (b[i] < b[j]);
      agree += x * y;
      pairs_a += x * x;
      pairs_b += y * y;
    }
  }
  return pairs_a > 0 && pairs_b > 0 ? agree / std::sqrt(pairs_a * pairs_b) : 0;
}

TEST(Metrics, KendallEqualsThePairwiseDefinitionWithAndWithoutTies) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed, "kendall");
    const std::size_t n = rng.below(40);
    std::vector<double> a(n);
    std::vector<double> b(n);
    const std::uint64_t levels = 1 + rng.below(20);
    for (std::size_t i = 0; i < n; ++i) {
      a[i] = static_cast<double>(rng.below(levels));
      b[i] = rng.chance(0.5) ? static_cast<double>(rng.below(levels)) : rng.uniform();
    }
    EXPECT_NEAR(kendall(a, b), kendall_by_pairs(a, b), 1e-12) << "seed " << seed;
  }
}

TEST(Metrics, SpearmanIsTheCorrelationOfMeanRanks) {
  // Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: covariance 4.5 over sqrt(4.5 * 5).
  const std::vector<double> a{10, 20, 20, 40};
  const std::vector<double> b{1, 3, 2, 9};
  EXPECT_NEAR(spearman(a, b), 4.5 / std::sqrt(4.5 * 5.0), 1e-12);
}

TEST(Metrics, ValuesByHand) {
  const std::vector<double> truth{100, 200, 400};
  const std::vector<double> predicted{104, 180, 440.4};
  const auto m = evaluate(truth, predicted);
  ASSERT_TRUE(m);
  EXPECT_NEAR(m->mape, (4 + 10 + 10.1) / 3, 1e-9);
  EXPECT_NEAR(m->rmspe, std::sqrt((16 + 100 + 102.01) / 3), 1e-9);
  EXPECT_NEAR(m->rmse, std::sqrt((16 + 400 + 40.4 * 40.4) / 3), 1e-9);
  EXPECT_NEAR(m->within5, 100.0 / 3, 1e-9);
  EXPECT_NEAR(m->within10, 200.0 / 3, 1e-9);
  EXPECT_FALSE(evaluate(std::vector<double>{0.0}, std::vector<double>{1.0}));
  EXPECT_FALSE(evaluate({}, {}));
  EXPECT_NEAR(coverage(truth, std::vector<double>{90, 210, 1}, std::vector<double>{100, 220, 500}), 200.0 / 3,
              1e-9);
  EXPECT_DOUBLE_EQ(quantile(truth, 0.25), 150);
}

TEST(Split, FollowsTheReferenceRule) {
  const Split split = split_rows(2000);
  EXPECT_EQ(split.train.size(), 1400U);
  EXPECT_EQ(split.validation.size(), 200U);
  EXPECT_EQ(split.test.size(), 400U);
  std::vector<std::size_t> all;
  for (const auto* part : {&split.train, &split.validation, &split.test})
    all.insert(all.end(), part->begin(), part->end());
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i);
  // splitmix64 of the smallest keys, written out with the constants of the published generator.
  const auto splitmix = [](std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  };
  EXPECT_EQ(splitmix(0), 0xE220A8397B1DCDAFULL);  // first output of seed 0
  for (std::size_t i = 1; i < split.train.size(); ++i) {
    ASSERT_LE(splitmix(2024 * 1000003ULL + split.train[i - 1]), splitmix(2024 * 1000003ULL + split.train[i]));
  }
}

TEST(Gemm, EqualsTheTripleLoopForOddShapesAndTransposes) {
  for (const auto& [m, n, k] :
       {std::array<std::size_t, 3>{1, 1, 1}, {7, 17, 5}, {13, 33, 300}, {97, 31, 513}}) {
    const Matrix a = random_matrix(m, k, 1);
    const Matrix b = random_matrix(k, n, 2);
    std::vector<float> af(a.values.begin(), a.values.end());
    std::vector<float> bf(b.values.begin(), b.values.end());
    std::vector<float> bt(bf.size());
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t j = 0; j < n; ++j) bt[j * k + i] = bf[i * n + j];
    }
    std::vector<float> c(m * n, 1.0F);
    std::vector<float> ct(m * n);
    gemm(m, n, k, {af.data(), static_cast<std::ptrdiff_t>(k), 1},
         {bf.data(), static_cast<std::ptrdiff_t>(n), 1}, c.data(), n, true);
    gemm(m, n, k, {af.data(), static_cast<std::ptrdiff_t>(k), 1},
         {bt.data(), 1, static_cast<std::ptrdiff_t>(k)}, ct.data(), n);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::size_t p = 0; p < k; ++p) sum += static_cast<double>(af[i * k + p]) * bf[p * n + j];
        ASSERT_NEAR(ct[i * n + j], sum, 1e-4);
        ASSERT_NEAR(c[i * n + j], sum + 1, 1e-4);
      }
    }
  }
}

TEST(Ridge, RecoversAPlantedLineAndLeaveOneOutIsExact) {
  const Matrix x = random_matrix(60, 4, 3);
  std::vector<double> y(60);
  Rng rng(3, "noise");
  for (std::size_t i = 0; i < 60; ++i) y[i] = 5 + 2 * x(i, 0) - 3 * x(i, 2) + 1e-6 * rng.normal();
  const auto model = fit_ridge(x, y, {.lambda = 1e-10});
  ASSERT_TRUE(model);
  EXPECT_NEAR(model->intercept, 5, 1e-5);
  EXPECT_NEAR(model->coefficients[0], 2, 1e-5);
  EXPECT_NEAR(model->coefficients[1], 0, 1e-5);
  const std::vector<double> candidates{10.0, 1e-8, 0.1};
  const auto best = fit_ridge_best(x, y, candidates);
  ASSERT_TRUE(best);
  EXPECT_NEAR(best->coefficients[2], -3, 1e-4);
}

TEST(Ridge, RobustFitIgnoresGrossErrors) {
  const Matrix x = random_matrix(200, 2, 4);
  std::vector<double> y(200);
  for (std::size_t i = 0; i < 200; ++i) y[i] = 1 + x(i, 0) + (i % 10 == 0 ? 50 : 0);
  const auto plain = fit_ridge(x, y);
  const auto robust = fit_ridge(x, y, {.lambda = 1e-9, .robust_rounds = 50});
  ASSERT_TRUE(plain && robust);
  EXPECT_GT(plain->intercept, 4);
  EXPECT_NEAR(robust->intercept, 1, 0.3);
}

TEST(NonNegative, MeetsTheOptimalityConditions) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Matrix x = random_matrix(25, 6, 100 + seed);
    std::vector<double> y(25);
    Rng rng(seed, "nnls");
    for (double& v : y) v = rng.uniform(-1, 1);
    const auto c = fit_nonnegative(x, y);
    ASSERT_TRUE(c);
    // Karush-Kuhn-Tucker: gradient 0 where c > 0, not negative where c = 0.
    for (std::size_t j = 0; j < 6; ++j) {
      double gradient = 0;
      for (std::size_t i = 0; i < 25; ++i) {
        gradient += x(i, j) * (std::inner_product(c->begin(), c->end(), x.row(i).begin(), 0.0) - y[i]);
      }
      EXPECT_GE((*c)[j], 0);
      if ((*c)[j] > 0) {
        EXPECT_NEAR(gradient, 0, 1e-7);
      } else {
        EXPECT_GE(gradient, -1e-7);
      }
    }
  }
}

TEST(SymmetricEigen, RebuildsTheMatrix) {
  const Matrix a = gram(random_matrix(9, 6, 8));
  const Eigen e = symmetric_eigen(a);
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t j = 0; j < 6; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < 6; ++k) sum += e.vectors(i, k) * e.values[k] * e.vectors(j, k);
      EXPECT_NEAR(sum, a(i, j), 1e-10);
    }
  }
}

struct Wave {
  Matrix x = random_matrix(600, 3, 11);
  std::vector<double> y = std::vector<double>(600);
  Wave() {
    for (std::size_t i = 0; i < 600; ++i) y[i] = std::sin(3 * x(i, 0)) + x(i, 1) * x(i, 2);
  }
};

double rmse_of(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

TEST(Mlp, LearnsAFunctionNoLineFits) {
  const Wave wave;
  const auto mlp =
      Mlp::fit(wave.x, wave.y, {.hidden = {64, 64}, .epochs = 150, .batch = 64, .learning_rate = 3e-3});
  ASSERT_TRUE(mlp);
  EXPECT_LT(rmse_of(mlp->predict(wave.x), wave.y), 0.05);
  const auto line = fit_ridge(wave.x, wave.y);
  EXPECT_GT(rmse_of(line->predict(wave.x), wave.y), 0.3);
}

TEST(Mlp, GivesTheSameBitsWithAnyThreadCountAndAfterReading) {
  const Wave wave;
  const MlpOptions options{.hidden = {150, 150}, .epochs = 4, .members = 2, .seed = 5};
  std::string one;
  {
    const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 1);
    one = Mlp::fit(wave.x, wave.y, options)->save();
  }
  const auto many = Mlp::fit(wave.x, wave.y, options);
  EXPECT_EQ(one, many->save());
  const auto read = Mlp::load(one, "memory");
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_EQ(read->predict(wave.x), many->predict(wave.x));
  EXPECT_GT(many->spread(wave.x)[0], 0);
}

TEST(Trees, LearnRepeatAndComeBackFromText) {
  const Wave wave;
  const TreeOptions options{.rounds = 150, .depth = 4, .learning_rate = 0.1};
  const auto a = Trees::fit(wave.x, wave.y, options);
  const auto b = Trees::fit(wave.x, wave.y, options);
  ASSERT_TRUE(a && b) << to_string(a.error());
  EXPECT_LT(rmse_of(a->predict(wave.x), wave.y), 0.1);
  EXPECT_EQ(a->predict(wave.x), b->predict(wave.x));
  const auto read = Trees::load(a->save(), "memory");
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_EQ(read->predict(wave.x), a->predict(wave.x));
}

TEST(GaussianProcess, InterpolatesWithAnIntervalThatWidensAwayFromWhatIsKnown) {
  Matrix x(24, 1), far(2, 1);
  std::vector<double> y;
  Rng rng(3, "gp");
  for (std::size_t i = 0; i < 24; ++i) {
    x(i, 0) = 0.25 * static_cast<double>(i);
    y.push_back(std::sin(x(i, 0)) + 0.01 * rng.normal());
  }
  const auto g = GaussianProcess::fit(x, y);
  ASSERT_TRUE(g) << to_string(g.error());
  Matrix between(23, 1);
  for (std::size_t i = 0; i < 23; ++i) between(i, 0) = x(i, 0) + 0.125;
  const auto inside = g->predict(between);
  std::size_t covered = 0;
  for (std::size_t i = 0; i < 23; ++i) {
    EXPECT_NEAR(inside.mean[i], std::sin(between(i, 0)), 0.04);
    covered += std::abs(inside.mean[i] - std::sin(between(i, 0))) < 2.6 * inside.deviation[i];
  }
  EXPECT_GE(covered, 21U);
  far(0, 0) = 3, far(1, 0) = 20;
  const auto wide = g->predict(far);
  EXPECT_GT(wide.deviation[1], 5 * wide.deviation[0]);
  // Measuring far away takes more off the variance there than measuring what is known already.
  const auto gain = g->variance_reduction(far, far);
  EXPECT_GT(gain[1], 10 * gain[0]);
  const auto after = g->as_if_measured(far.row(1));
  ASSERT_TRUE(after);
  EXPECT_LT(after->predict(far).deviation[1], 0.5 * wide.deviation[1]);
}

TEST(GaussianProcess, WithoutASmoothPartIsBayesianRegression) {
  // Its mean is ridge regression's solution with lambda = noise^2 / variance: computed here by hand for one
  // column.
  Matrix x(5, 1);
  std::vector<double> y{1, 3, 2, 5, 4};
  for (std::size_t i = 0; i < 5; ++i) x(i, 0) = static_cast<double>(i);
  const auto g = GaussianProcess::fit(x, y, {.smooth = false});
  ASSERT_TRUE(g);
  const auto parts = g->parts();
  EXPECT_EQ(parts.smooth, 0);
  // Standardised: x has mean 2 and variance 2, y mean 3 and variance 2; correlation 0.8.
  const double prior = parts.linear * parts.linear / 2, noise = parts.noise * parts.noise + 1e-8;
  const double slope = prior * 5 * 0.8 / (prior * 5 + noise);
  Matrix at(1, 1);
  at(0, 0) = 7;
  EXPECT_NEAR(g->predict(at).mean[0], 3 + std::sqrt(2.0) * slope * (7 - 2) / std::sqrt(2.0), 1e-6);
}

TEST(GaussianProcess, ComesBackFromTextAndRefusesBadData) {
  const Matrix x = random_matrix(20, 3, 4);
  std::vector<double> y;
  for (std::size_t i = 0; i < 20; ++i) y.push_back(x(i, 0) * x(i, 1));
  const auto g = GaussianProcess::fit(x, y);
  ASSERT_TRUE(g);
  const auto back = GaussianProcess::load(g->save(), "g");
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(back->predict(x).mean, g->predict(x).mean);
  EXPECT_EQ(GaussianProcess::fit(x, y)->save(), g->save());
  std::string bad = g->save();
  bad[bad.size() / 2] ^= 1;
  EXPECT_FALSE(GaussianProcess::load(bad, "g"));
  y[3] = std::nan("");
  EXPECT_FALSE(GaussianProcess::fit(x, y));
  EXPECT_FALSE(GaussianProcess::fit(random_matrix(1, 2, 1), std::vector<double>{1}));
}

TEST(ModelFile, RefusesEveryDamagedByte) {
  const Matrix x = random_matrix(30, 2, 9);
  std::vector<double> y(30);
  for (std::size_t i = 0; i < 30; ++i) y[i] = x(i, 0);
  const std::string good = Mlp::fit(x, y, {.hidden = {4}, .epochs = 2})->save();
  Rng rng(1, "fuzz");
  for (int i = 0; i < 500; ++i) {
    std::string bad = good;
    if (rng.chance(0.3)) {
      bad.resize(rng.below(bad.size()));
    } else {
      bad[rng.below(bad.size())] ^= static_cast<char>(1 + rng.below(127));
    }
    EXPECT_FALSE(Mlp::load(bad, "fuzz"));
  }
  EXPECT_THAT(to_string(Mlp::load("", "empty.model").error()),
              HasSubstr("empty.model: error: not a model file"));
  EXPECT_THAT(to_string(Trees::load(good, "m").error()), HasSubstr("must start with 'hwnas-model 1 trees'"));
}

TEST(Fits, RefuseBadData) {
  const Matrix x = random_matrix(3, 2, 9);
  const std::vector<double> nan{1, std::nan(""), 2};
  EXPECT_FALSE(Mlp::fit(x, nan, {}));
  EXPECT_FALSE(Trees::fit(x, nan, {}));
  EXPECT_FALSE(fit_ridge(x, nan));
  EXPECT_FALSE(fit_nonnegative(x, nan));
  EXPECT_FALSE(fit_ridge(Matrix(0, 2), {}));
}

}  // namespace
}  // namespace nas::learn
