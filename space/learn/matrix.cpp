#include "space/learn/matrix.h"

#include <algorithm>
#include <cassert>

namespace nas::learn {

Matrix take_rows(const Matrix& x, std::span<const std::size_t> rows) {
  Matrix out(rows.size(), x.columns);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto from = x.row(rows[i]);
    std::copy(from.begin(), from.end(), out.row(i).begin());
  }
  return out;
}

std::vector<double> take(std::span<const double> values, std::span<const std::size_t> rows) {
  std::vector<double> out(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) out[i] = values[rows[i]];
  return out;
}

Matrix join_columns(const Matrix& a, const Matrix& b) {
  assert(a.rows == b.rows);
  Matrix out(a.rows, a.columns + b.columns);
  for (std::size_t i = 0; i < a.rows; ++i) {
    auto to = out.row(i);
    std::copy(a.row(i).begin(), a.row(i).end(), to.begin());
    std::copy(b.row(i).begin(), b.row(i).end(), to.begin() + static_cast<std::ptrdiff_t>(a.columns));
  }
  return out;
}

}  // namespace nas::learn
