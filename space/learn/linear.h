#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::learn {

// Lower Cholesky factor of a symmetric positive definite matrix (only its lower half is read); nothing when
// it is not positive definite.
std::optional<Matrix> cholesky(const Matrix& a);
// Solves L z = b, or L' z = b.
std::vector<double> solve_lower(const Matrix& factor, std::span<const double> b);
std::vector<double> solve_lower_transposed(const Matrix& factor, std::span<const double> b);
// Solves (L L') z = b.
std::vector<double> solve_cholesky(const Matrix& factor, std::span<const double> b);

// Eigenvectors (columns) and ascending eigenvalues of a symmetric matrix, by cyclic Jacobi rotations.
struct Eigen {
  std::vector<double> values;
  Matrix vectors;
};
Eigen symmetric_eigen(Matrix a);

// sum_i w_i x_i x_i' and sum_i w_i y_i x_i; `weights` empty: all 1. Row order fixes the order of summation.
Matrix gram(const Matrix& x, std::span<const double> weights = {});
std::vector<double> cross(const Matrix& x, std::span<const double> y, std::span<const double> weights = {});

// y = intercept + x . coefficients.
struct Linear {
  double intercept = 0;
  std::vector<double> coefficients;

  double predict(std::span<const double> row) const;
  std::vector<double> predict(const Matrix& x) const;
};

struct RidgeOptions {
  double lambda = 1e-3;   // times the number of rows, on standardised columns
  int robust_rounds = 0;  // > 0: Huber's M-estimator by reweighting, at 1.345 robust standard deviations
};

// Least squares with an L2 penalty on standardised columns; the intercept is not penalised. `weights`
// multiply squared errors: 1 / y^2 makes it relative. Fails on no rows, unequal sizes or non-finite numbers.
Result<Linear> fit_ridge(const Matrix& x, std::span<const double> y, const RidgeOptions& options = {},
                         std::span<const double> weights = {});

// The lambda of `candidates` with the least squared error left one out (exact, by the hat matrix).
Result<Linear> fit_ridge_best(const Matrix& x, std::span<const double> y, std::span<const double> candidates,
                              std::span<const double> weights = {});

// Minimises sum_i w_i (y_i - x_i . c)^2 over c >= 0 (Lawson & Hanson 1974, on the normal equations); no
// intercept: add a column of ones. `ridge` is added to the diagonal relative to each column's norm.
Result<std::vector<double>> fit_nonnegative(const Matrix& x, std::span<const double> y,
                                            std::span<const double> weights = {}, double ridge = 0);

// 1 / y^2: squared errors become relative ones.
std::vector<double> relative_weights(std::span<const double> y);

}  // namespace nas::learn
