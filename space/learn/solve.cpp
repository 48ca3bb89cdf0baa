#include <tbb/parallel_for.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "space/learn/linear.h"

namespace nas::learn {

std::optional<Matrix> cholesky(const Matrix& a) {
  assert(a.rows == a.columns);
  const std::size_t n = a.rows;
  Matrix l(n, n);
  for (std::size_t j = 0; j < n; ++j) {
    const auto row_j = l.row(j);
    double diagonal = a(j, j);
    for (std::size_t k = 0; k < j; ++k) diagonal -= row_j[k] * row_j[k];
    if (!(diagonal > 0) || !std::isfinite(diagonal)) return std::nullopt;
    l(j, j) = std::sqrt(diagonal);
    const auto rest = [&](std::size_t i) {
      const auto row_i = l.row(i);
      double sum = a(i, j);
      for (std::size_t k = 0; k < j; ++k) sum -= row_i[k] * row_j[k];
      l(i, j) = sum / l(j, j);
    };
    if ((n - j) * j < 65536) {
      for (std::size_t i = j + 1; i < n; ++i) rest(i);
    } else {
      tbb::parallel_for(j + 1, n, rest);
    }
  }
  return l;
}

std::vector<double> solve_lower(const Matrix& factor, std::span<const double> b) {
  std::vector<double> z(b.begin(), b.end());
  for (std::size_t i = 0; i < z.size(); ++i) {
    const auto row = factor.row(i);
    for (std::size_t k = 0; k < i; ++k) z[i] -= row[k] * z[k];
    z[i] /= row[i];
  }
  return z;
}

std::vector<double> solve_lower_transposed(const Matrix& factor, std::span<const double> b) {
  std::vector<double> z(b.begin(), b.end());
  for (std::size_t i = z.size(); i-- > 0;) {
    z[i] /= factor(i, i);
    const auto row = factor.row(i);
    for (std::size_t k = 0; k < i; ++k) z[k] -= row[k] * z[i];
  }
  return z;
}

std::vector<double> solve_cholesky(const Matrix& factor, std::span<const double> b) {
  return solve_lower_transposed(factor, solve_lower(factor, b));
}

Eigen symmetric_eigen(Matrix a) {
  assert(a.rows == a.columns);
  const std::size_t n = a.rows;
  Matrix v(n, n);
  for (std::size_t i = 0; i < n; ++i) v(i, i) = 1;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    double all = 0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) (i == j ? all : off) += a(i, j) * a(i, j);
    }
    if (off <= 1e-24 * (all + off)) break;
    for (std::size_t p = 0; p + 1 < n; ++p) {
      for (std::size_t q = p + 1; q < n; ++q) {
        if (a(p, q) == 0) continue;
        const double theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1);
        const double s = t * c;
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a(k, p);
          const double y = a(k, q);
          a(k, p) = c * x - s * y;
          a(k, q) = s * x + c * y;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a(p, k);
          const double y = a(q, k);
          a(p, k) = c * x - s * y;
          a(q, k) = s * x + c * y;
          const double vx = v(k, p);
          const double vy = v(k, q);
          v(k, p) = c * vx - s * vy;
          v(k, q) = s * vx + c * vy;
        }
      }
    }
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return a(i, i) < a(j, j); });
  Eigen out{std::vector<double>(n), Matrix(n, n)};
  for (std::size_t j = 0; j < n; ++j) {
    out.values[j] = a(order[j], order[j]);
    for (std::size_t i = 0; i < n; ++i) out.vectors(i, j) = v(i, order[j]);
  }
  return out;
}

Matrix gram(const Matrix& x, std::span<const double> weights) {
  const std::size_t n = x.columns;
  Matrix g(n, n);
  // Row j of the result is summed by one task in the order of the observations: any thread count, same bits.
  const auto one = [&](std::size_t j) {
    auto to = g.row(j);
    for (std::size_t i = 0; i < x.rows; ++i) {
      const auto row = x.row(i);
      const double scaled = row[j] * (weights.empty() ? 1.0 : weights[i]);
      if (scaled == 0) continue;
      for (std::size_t k = 0; k <= j; ++k) to[k] += scaled * row[k];
    }
  };
  tbb::parallel_for(std::size_t{0}, n, one);
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k) g(k, j) = g(j, k);
  }
  return g;
}

std::vector<double> cross(const Matrix& x, std::span<const double> y, std::span<const double> weights) {
  std::vector<double> out(x.columns);
  for (std::size_t i = 0; i < x.rows; ++i) {
    const double scaled = y[i] * (weights.empty() ? 1.0 : weights[i]);
    const auto row = x.row(i);
    for (std::size_t j = 0; j < x.columns; ++j) out[j] += scaled * row[j];
  }
  return out;
}

}  // namespace nas::learn
