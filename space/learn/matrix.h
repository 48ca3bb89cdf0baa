#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace nas::learn {

// Rows of numbers, row-major: one row an observation, one column a feature.
struct Matrix {
  Matrix() = default;
  Matrix(std::size_t row_count, std::size_t column_count)
      : rows(row_count), columns(column_count), values(row_count * column_count, 0.0) {}

  std::span<const double> row(std::size_t i) const { return {values.data() + i * columns, columns}; }
  std::span<double> row(std::size_t i) { return {values.data() + i * columns, columns}; }
  double operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }
  double& operator()(std::size_t i, std::size_t j) { return values[i * columns + j]; }

  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> values;
};

// The named rows, in the order given.
Matrix take_rows(const Matrix& x, std::span<const std::size_t> rows);
std::vector<double> take(std::span<const double> values, std::span<const std::size_t> rows);
// Columns of `a` followed by columns of `b`; equal row counts.
Matrix join_columns(const Matrix& a, const Matrix& b);

}  // namespace nas::learn
