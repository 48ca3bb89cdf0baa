#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"
#include "space/learn/matrix.h"

namespace nas::learn {

// Standard deviations of the parts of a Gaussian process, in units of the target's own spread; lengths in
// units of each column's spread.
struct GaussianParts {
  double linear = 1;  // of a straight line through the columns; with `smooth` 0: Bayesian linear regression
  double smooth = 1;  // of a smooth function (Matern 5/2)
  double noise = 0.1;
  std::vector<double> lengths = {};  // one a column: how far one must go to see something new
};

struct GaussianOptions {
  bool smooth = true;       // false: Bayesian linear regression
  bool own_lengths = true;  // a length a column, else one for all
  // Rows on which the parts are chosen at most (evenly taken); all rows are conditioned on.
  std::size_t most_rows = 300;
};

// Regression where data are few (Rasmussen & Williams 2006, ch. 2 and 5). Columns and target are standardised
// inside; the parts maximise the marginal likelihood times a log-normal prior around 1 (0.1 for the noise) by
// pattern search, so the same data give the same bits.
class GaussianProcess {
 public:
  // Fails on fewer than 2 rows, more than 4000, unequal sizes or non-finite numbers.
  static Result<GaussianProcess> fit(const Matrix& x, std::span<const double> y,
                                     const GaussianOptions& options = {});

  std::size_t features() const { return mean_.size(); }
  const GaussianParts& parts() const { return parts_; }
  // x.columns == features(). `deviation` is of a new measurement: the function's and the noise.
  struct Prediction {
    std::vector<double> mean, deviation;
  };
  Prediction predict(const Matrix& x) const;
  // What measuring row `candidate` would take off the variance of the function, summed over `over`: choose
  // the next measurement by the largest.
  std::vector<double> variance_reduction(const Matrix& candidates, const Matrix& over) const;
  // As if `row` had been measured and had shown what is expected of it: for choosing several.
  Result<GaussianProcess> as_if_measured(std::span<const double> row) const;

  std::string save() const;
  static Result<GaussianProcess> load(std::string_view content, const std::string& where);

 private:
  Result<void> condition();
  std::vector<double> standard(std::span<const double> row) const;
  // Solves L z = k(known rows, row).
  std::vector<double> whitened(std::span<const double> row) const;

  GaussianParts parts_;
  std::vector<double> mean_, scale_;  // of the columns; scale is a multiplier, 0 for a constant column
  double target_mean_ = 0, target_scale_ = 1;
  Matrix known_;                // standardised rows
  std::vector<double> target_;  // standardised
  Matrix factor_;               // Cholesky factor of their covariance
  std::vector<double> weights_;
};

}  // namespace nas::learn
