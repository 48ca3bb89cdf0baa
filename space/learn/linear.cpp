#include "space/learn/linear.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "space/learn/metrics.h"

namespace nas::learn {
namespace {

Result<void> check(const Matrix& x, std::span<const double> y, std::span<const double> weights) {
  if (x.rows == 0) return usage_error("a fit needs at least one row, found none");
  if (y.size() != x.rows || (!weights.empty() && weights.size() != x.rows)) {
    return usage_error("a fit needs one target and one weight per row");
  }
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::all_of(x.values.begin(), x.values.end(), finite)) return usage_error("a feature is not finite");
  if (!std::all_of(y.begin(), y.end(), finite)) return usage_error("a target is not finite");
  if (!std::all_of(weights.begin(), weights.end(), finite)) return usage_error("a weight is not finite");
  return {};
}

double weight_of(std::span<const double> weights, std::size_t i) {
  return weights.empty() ? 1.0 : weights[i];
}

// Columns shifted to weighted mean 0 and scaled to weighted variance 1 (constant columns become 0).
struct Standard {
  Matrix x;
  std::vector<double> mean;
  std::vector<double> scale;
  double y_mean = 0;
};

Standard standardise(const Matrix& x, std::span<const double> y, std::span<const double> weights) {
  Standard s{x, std::vector<double>(x.columns), std::vector<double>(x.columns), 0};
  double total = 0;
  for (std::size_t i = 0; i < x.rows; ++i) {
    const double w = weight_of(weights, i);
    total += w;
    s.y_mean += w * y[i];
    for (std::size_t j = 0; j < x.columns; ++j) s.mean[j] += w * x(i, j);
  }
  s.y_mean /= total;
  for (double& m : s.mean) m /= total;
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t j = 0; j < x.columns; ++j) {
      const double d = x(i, j) - s.mean[j];
      s.scale[j] += weight_of(weights, i) * d * d / total;
    }
  }
  for (std::size_t j = 0; j < x.columns; ++j) {
    const double deviation = std::sqrt(s.scale[j]);
    s.scale[j] = deviation > 1e-9 * (std::abs(s.mean[j]) + 1e-300) ? 1 / deviation : 0;
  }
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t j = 0; j < x.columns; ++j) s.x(i, j) = (x(i, j) - s.mean[j]) * s.scale[j];
  }
  return s;
}

Linear unstandardise(const Standard& s, std::span<const double> c) {
  Linear model{s.y_mean, std::vector<double>(c.size())};
  for (std::size_t j = 0; j < c.size(); ++j) {
    model.coefficients[j] = c[j] * s.scale[j];
    model.intercept -= model.coefficients[j] * s.mean[j];
  }
  return model;
}

// (G + diagonal) with a floor that keeps zero columns solvable.
Matrix with_diagonal(Matrix g, double diagonal) {
  double trace = 0;
  for (std::size_t j = 0; j < g.rows; ++j) trace += g(j, j);
  const double least = 1e-12 * (trace / std::max<double>(1, static_cast<double>(g.rows))) + 1e-300;
  for (std::size_t j = 0; j < g.rows; ++j) g(j, j) += std::max(diagonal, least);
  return g;
}

Result<Matrix> factor(const Matrix& g, double diagonal) {
  for (double extra = diagonal; extra < 1e30; extra = std::max(extra * 10, 1e-12)) {
    if (auto f = cholesky(with_diagonal(g, extra))) return *std::move(f);
  }
  return Error{"normal equations are not positive definite"};
}

double sum_of(std::span<const double> weights, std::size_t n) {
  return weights.empty() ? static_cast<double>(n) : std::accumulate(weights.begin(), weights.end(), 0.0);
}

Result<Linear> ridge_once(const Matrix& x, std::span<const double> y, double lambda,
                          std::span<const double> weights) {
  const Standard s = standardise(x, y, weights);
  std::vector<double> centred(y.begin(), y.end());
  for (double& v : centred) v -= s.y_mean;
  NAS_TRY(f, factor(gram(s.x, weights), lambda * sum_of(weights, x.rows)));
  return unstandardise(s, solve_cholesky(f, cross(s.x, centred, weights)));
}

}  // namespace

double Linear::predict(std::span<const double> row) const {
  return std::inner_product(coefficients.begin(), coefficients.end(), row.begin(), intercept);
}

std::vector<double> Linear::predict(const Matrix& x) const {
  std::vector<double> out(x.rows);
  for (std::size_t i = 0; i < x.rows; ++i) out[i] = predict(x.row(i));
  return out;
}

Result<Linear> fit_ridge(const Matrix& x, std::span<const double> y, const RidgeOptions& options,
                         std::span<const double> weights) {
  NAS_CHECK(check(x, y, weights));
  NAS_TRY(model, ridge_once(x, y, options.lambda, weights));
  std::vector<double> current(x.rows);
  for (int round = 0; round < options.robust_rounds; ++round) {
    const std::vector<double> fitted = model.predict(x);
    std::vector<double> sizes(x.rows);  // residual times root of weight: comparable between rows
    for (std::size_t i = 0; i < x.rows; ++i) {
      sizes[i] = std::abs(y[i] - fitted[i]) * std::sqrt(weight_of(weights, i));
    }
    const double limit = 1.345 * 1.4826 * median(sizes);
    if (limit <= 0) break;
    for (std::size_t i = 0; i < x.rows; ++i) {
      current[i] = weight_of(weights, i) * (sizes[i] > limit ? limit / sizes[i] : 1.0);
    }
    NAS_TRY(next, ridge_once(x, y, options.lambda, current));
    model = std::move(next);
  }
  return model;
}

namespace {

// |L^-1 x_i|^2 of every row: solve_lower's operations in its order, eight rows side by side.
std::vector<double> squared_lengths(const Matrix& factor, const Matrix& x) {
  constexpr std::size_t kSide = 8;
  std::vector<double> out(x.rows), z(x.columns * kSide);
  for (std::size_t first = 0; first < x.rows; first += kSide) {
    const std::size_t side = std::min(kSide, x.rows - first);
    for (std::size_t j = 0; j < x.columns; ++j)
      for (std::size_t r = 0; r < kSide; ++r) z[j * kSide + r] = r < side ? x(first + r, j) : 0;
    for (std::size_t j = 0; j < x.columns; ++j) {
      const auto row = factor.row(j);
      double* at = &z[j * kSide];
      for (std::size_t k = 0; k < j; ++k)
        for (std::size_t r = 0; r < kSide; ++r) at[r] -= row[k] * z[k * kSide + r];
      for (std::size_t r = 0; r < kSide; ++r) at[r] /= row[j];
      for (std::size_t r = 0; r < side; ++r) out[first + r] += at[r] * at[r];
    }
  }
  return out;
}

}  // namespace

Result<Linear> fit_ridge_best(const Matrix& x, std::span<const double> y, std::span<const double> candidates,
                              std::span<const double> weights) {
  NAS_CHECK(check(x, y, weights));
  const Standard s = standardise(x, y, weights);
  const double total = sum_of(weights, x.rows);
  std::vector<double> centred(y.begin(), y.end());
  for (double& v : centred) v -= s.y_mean;
  const Matrix g = gram(s.x, weights);
  const std::vector<double> b = cross(s.x, centred, weights);
  double best_error = 0;
  std::optional<std::vector<double>> best;
  for (const double lambda : candidates) {
    NAS_TRY(f, factor(g, lambda * total));
    const std::vector<double> c = solve_cholesky(f, b);
    const std::vector<double> lengths = squared_lengths(f, s.x);
    double error = 0;
    for (std::size_t i = 0; i < x.rows; ++i) {
      const double w = weight_of(weights, i);
      const double leverage = w * (lengths[i] + 1 / total);
      const double residual = centred[i] - std::inner_product(c.begin(), c.end(), s.x.row(i).begin(), 0.0);
      const double left_out = residual / std::max(1e-6, 1 - leverage);
      error += w * left_out * left_out;
    }
    if (!best || error < best_error) {
      best_error = error;
      best = c;
    }
  }
  if (!best) return usage_error("ridge needs at least one candidate penalty");
  return unstandardise(s, *best);
}

std::vector<double> relative_weights(std::span<const double> y) {
  std::vector<double> weights(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) weights[i] = 1 / (y[i] * y[i]);
  return weights;
}

Result<std::vector<double>> fit_nonnegative(const Matrix& x, std::span<const double> y,
                                            std::span<const double> weights, double ridge) {
  NAS_CHECK(check(x, y, weights));
  const std::size_t n = x.columns;
  Matrix g = gram(x, weights);
  std::vector<double> b = cross(x, y, weights);
  // Columns scaled to unit norm, so that tolerance and ridge mean the same for each.
  std::vector<double> norm(n);
  for (std::size_t j = 0; j < n; ++j) norm[j] = g(j, j) > 0 ? std::sqrt(g(j, j)) : 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j)
      g(i, j) = norm[i] > 0 && norm[j] > 0 ? g(i, j) / (norm[i] * norm[j]) : 0;
    b[i] = norm[i] > 0 ? b[i] / norm[i] : 0;
  }
  double size = 0;
  for (const double v : b) size = std::max(size, std::abs(v));
  std::vector<double> c(n, 0.0);
  std::vector<bool> passive(n, false);
  for (std::size_t round = 0; round < 3 * n + 10; ++round) {
    std::size_t enter = n;
    double steepest = 1e-10 * size;
    for (std::size_t j = 0; j < n; ++j) {
      if (passive[j] || norm[j] == 0) continue;
      double slope = b[j] - ridge * c[j];
      for (std::size_t k = 0; k < n; ++k) slope -= g(j, k) * c[k];
      if (slope > steepest) {
        steepest = slope;
        enter = j;
      }
    }
    if (enter == n) break;
    passive[enter] = true;
    for (std::size_t inner = 0; inner <= n; ++inner) {
      std::vector<std::size_t> set;
      for (std::size_t j = 0; j < n; ++j) {
        if (passive[j]) set.push_back(j);
      }
      Matrix sub(set.size(), set.size());
      std::vector<double> right(set.size());
      for (std::size_t i = 0; i < set.size(); ++i) {
        right[i] = b[set[i]];
        for (std::size_t j = 0; j < set.size(); ++j) sub(i, j) = g(set[i], set[j]);
      }
      NAS_TRY(f, factor(sub, ridge));
      const std::vector<double> z = solve_cholesky(f, right);
      double step = 1;
      for (std::size_t i = 0; i < set.size(); ++i) {
        if (z[i] <= 0) step = std::min(step, c[set[i]] / (c[set[i]] - z[i] + 1e-300));
      }
      for (std::size_t i = 0; i < set.size(); ++i) c[set[i]] += step * (z[i] - c[set[i]]);
      if (step >= 1) break;
      for (const std::size_t j : set) {
        if (c[j] <= 1e-14 * (1 + size)) {
          c[j] = 0;
          passive[j] = false;
        }
      }
    }
  }
  for (std::size_t j = 0; j < n; ++j) c[j] = norm[j] > 0 ? c[j] / norm[j] : 0;
  return c;
}

}  // namespace nas::learn
