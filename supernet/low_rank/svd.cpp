#include "supernet/low_rank/svd.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nas::supernet {
namespace {

// Columns as rows of length n, so that rotations run along memory.
struct Columns {
  std::size_t count, length;
  std::vector<double> values;
  double* at(std::size_t c) { return values.data() + c * length; }
};

double dot(const double* a, const double* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void rotate(double* a, double* b, std::size_t n, double c, double s) {
  for (std::size_t i = 0; i < n; ++i) {
    const double x = a[i], y = b[i];
    a[i] = c * x - s * y;
    b[i] = s * x + c * y;
  }
}

// One sweep over all pairs; true while some pair was not orthogonal yet.
bool sweep(Columns& a, Columns& v) {
  constexpr double kSmall = 1e-14;
  bool rotated = false;
  for (std::size_t p = 0; p + 1 < a.count; ++p)
    for (std::size_t q = p + 1; q < a.count; ++q) {
      const double aa = dot(a.at(p), a.at(p), a.length), bb = dot(a.at(q), a.at(q), a.length);
      const double ab = dot(a.at(p), a.at(q), a.length);
      if (std::fabs(ab) <= kSmall * std::sqrt(aa * bb) || ab == 0) continue;
      rotated = true;
      const double zeta = (bb - aa) / (2 * ab);
      const double t = (zeta >= 0 ? 1 : -1) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
      const double c = 1 / std::sqrt(1 + t * t);
      rotate(a.at(p), a.at(q), a.length, c, c * t);
      rotate(v.at(p), v.at(q), v.length, c, c * t);
    }
  return rotated;
}

Svd transposed(Svd s) {
  std::swap(s.u, s.v);
  return s;
}

}  // namespace

Svd svd(const std::vector<double>& matrix, std::size_t rows, std::size_t columns) {
  if (rows < columns) {
    std::vector<double> t(matrix.size());
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c) t[c * rows + r] = matrix[r * columns + c];
    return transposed(svd(t, columns, rows));
  }
  Columns a{columns, rows, std::vector<double>(matrix.size())};
  Columns v{columns, columns, std::vector<double>(columns * columns, 0)};
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t r = 0; r < rows; ++r) a.at(c)[r] = matrix[r * columns + c];
    v.at(c)[c] = 1;
  }
  constexpr int kSweeps = 60;
  for (int i = 0; i < kSweeps && sweep(a, v); ++i) {
  }
  std::vector<double> lengths(columns);
  for (std::size_t c = 0; c < columns; ++c) lengths[c] = std::sqrt(dot(a.at(c), a.at(c), rows));
  std::vector<std::size_t> order(columns);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t x, std::size_t y) { return lengths[x] > lengths[y]; });
  Svd out{std::vector<double>(rows * columns), {}, std::vector<double>(columns * columns)};
  for (std::size_t k = 0; k < columns; ++k) {
    const std::size_t c = order[k];
    out.s.push_back(lengths[c]);
    for (std::size_t r = 0; r < rows; ++r)
      out.u[r * columns + k] = lengths[c] > 0 ? a.at(c)[r] / lengths[c] : 0;
    for (std::size_t r = 0; r < columns; ++r) out.v[r * columns + k] = v.at(c)[r];
  }
  return out;
}

Factors truncated(const Svd& d, std::size_t rank, std::span<const double> weights) {
  const std::size_t k = d.s.size(), rows = d.u.size() / k, columns = d.v.size() / k;
  Factors f{std::vector<float>(rank * columns), std::vector<float>(rows * rank)};
  for (std::size_t r = 0; r < std::min(rank, k); ++r) {
    const double root = std::sqrt(d.s[r]);
    for (std::size_t c = 0; c < columns; ++c)
      f.first[r * columns + c] =
          static_cast<float>(root * d.v[c * k + r] / (weights.empty() ? 1.0 : weights[c]));
    for (std::size_t o = 0; o < rows; ++o) f.second[o * rank + r] = static_cast<float>(root * d.u[o * k + r]);
  }
  return f;
}

}  // namespace nas::supernet
