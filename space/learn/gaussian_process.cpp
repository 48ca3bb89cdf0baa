#include "space/learn/gaussian_process.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "space/learn/linear.h"
#include "space/learn/model_file.h"

namespace nas::learn {
namespace {

constexpr std::size_t kMostRows = 4000;

double covariance(const GaussianParts& p, std::span<const double> a, std::span<const double> b) {
  double along = 1, apart = 0;  // the 1: where the line crosses is not known either
  for (std::size_t j = 0; j < a.size(); ++j) {
    along += a[j] * b[j];
    const double d = (a[j] - b[j]) / p.lengths[j];
    apart += d * d;
  }
  const double r = std::sqrt(5 * apart);
  return p.linear * p.linear * along / static_cast<double>(1 + a.size()) +
         p.smooth * p.smooth * (1 + r + r * r / 3) * std::exp(-r);
}

Matrix covariance(const GaussianParts& p, const Matrix& x) {
  Matrix k(x.rows, x.rows);
  tbb::parallel_for(std::size_t{0}, x.rows, [&](std::size_t i) {
    for (std::size_t j = 0; j <= i; ++j) k(i, j) = covariance(p, x.row(i), x.row(j));
    k(i, i) += p.noise * p.noise + 1e-8;
  });
  return k;
}

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Logarithm of the marginal likelihood and of the prior of the parts, up to a constant.
double plausibility(const GaussianParts& p, const Matrix& x, std::span<const double> y) {
  const auto factor = cholesky(covariance(p, x));
  if (!factor) return -HUGE_VAL;
  const std::vector<double> z = solve_lower(*factor, y);
  double value = -0.5 * dot(z, z);
  for (std::size_t i = 0; i < x.rows; ++i) value -= std::log((*factor)(i, i));
  const auto prior = [&](double v, double centre, double spread) {
    const double d = std::log(v / centre) / spread;
    value -= 0.5 * d * d;
  };
  if (p.linear > 0) prior(p.linear, 1, 2);
  if (p.smooth > 0) prior(p.smooth, 1, 2);
  prior(p.noise, 0.1, 2);
  for (const double l : p.lengths) prior(l, 3, 1);
  return value;
}

// Pattern search over the logarithms of the parts: every one up and down by a step that shrinks.
GaussianParts choose(const GaussianOptions& options, const Matrix& x, std::span<const double> y) {
  GaussianParts best{1, options.smooth ? 1.0 : 0.0, 0.1, std::vector<double>(x.columns, 3.0)};
  double most = plausibility(best, x, y);
  const std::size_t lengths = !options.smooth ? 0 : options.own_lengths ? x.columns : 1;
  for (double step = 4; step > 1.1; step = std::sqrt(step)) {
    for (int sweep = 0; sweep < 3; ++sweep) {
      const double before = most;
      for (std::size_t knob = 0; knob < 3 + lengths; ++knob) {
        for (const double factor : {step, 1 / step}) {
          GaussianParts next = best;
          if (knob == 0) next.linear *= factor;
          if (knob == 1) next.smooth *= factor;
          if (knob == 2) next.noise *= factor;
          if (knob >= 3 && options.own_lengths) next.lengths[knob - 3] *= factor;
          if (knob >= 3 && !options.own_lengths)
            for (double& l : next.lengths) l *= factor;
          if (knob == 1 && !options.smooth) continue;
          const double found = plausibility(next, x, y);
          if (found > most) most = found, best = std::move(next);
        }
      }
      if (most - before < 0.02) break;
    }
  }
  return best;
}

// About `most` rows, evenly taken.
std::vector<std::size_t> spread_rows(std::size_t rows, std::size_t most) {
  const std::size_t n = std::min(rows, most);
  std::vector<std::size_t> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = i * rows / n;
  return out;
}

}  // namespace

Result<GaussianProcess> GaussianProcess::fit(const Matrix& x, std::span<const double> y,
                                             const GaussianOptions& options) {
  if (x.rows < 2 || x.rows > kMostRows || y.size() != x.rows)
    return usage_error("a Gaussian process needs from 2 to " + std::to_string(kMostRows) +
                       " rows and a target each, found " + std::to_string(x.rows));
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::ranges::all_of(x.values, finite) || !std::ranges::all_of(y, finite))
    return usage_error("a feature or target is not finite");
  GaussianProcess g;
  const double n = static_cast<double>(x.rows);
  for (std::size_t j = 0; j < x.columns; ++j) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < x.rows; ++i) mean += x(i, j) / n;
    for (std::size_t i = 0; i < x.rows; ++i) square += (x(i, j) - mean) * (x(i, j) - mean) / n;
    const double spread = std::sqrt(square);
    g.mean_.push_back(mean);
    g.scale_.push_back(spread > 1e-9 * (std::abs(mean) + 1e-300) ? 1 / spread : 0);
  }
  g.target_mean_ = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double square = 0;
  for (const double v : y) square += (v - g.target_mean_) * (v - g.target_mean_) / n;
  g.target_scale_ = square > 0 ? std::sqrt(square) : 1;
  g.known_ = Matrix(x.rows, x.columns);
  for (std::size_t i = 0; i < x.rows; ++i) {
    const auto row = g.standard(x.row(i));
    std::ranges::copy(row, g.known_.row(i).begin());
    g.target_.push_back((y[i] - g.target_mean_) / g.target_scale_);
  }
  const auto some = spread_rows(x.rows, options.most_rows);
  g.parts_ = choose(options, take_rows(g.known_, some), take(g.target_, some));
  NAS_CHECK(g.condition());
  return g;
}

Result<void> GaussianProcess::condition() {
  auto factor = cholesky(covariance(parts_, known_));
  if (!factor) return Error{"the covariance of a Gaussian process is not positive definite"};
  factor_ = *std::move(factor);
  weights_ = solve_cholesky(factor_, target_);
  return {};
}

std::vector<double> GaussianProcess::standard(std::span<const double> row) const {
  std::vector<double> out(row.size());
  for (std::size_t j = 0; j < row.size(); ++j) out[j] = (row[j] - mean_[j]) * scale_[j];
  return out;
}

std::vector<double> GaussianProcess::whitened(std::span<const double> row) const {
  std::vector<double> k(known_.rows);
  for (std::size_t i = 0; i < known_.rows; ++i) k[i] = covariance(parts_, known_.row(i), row);
  return solve_lower(factor_, k);
}

GaussianProcess::Prediction GaussianProcess::predict(const Matrix& x) const {
  Prediction out{std::vector<double>(x.rows), std::vector<double>(x.rows)};
  tbb::parallel_for(std::size_t{0}, x.rows, [&](std::size_t i) {
    const auto row = standard(x.row(i));
    double mean = 0;
    for (std::size_t r = 0; r < known_.rows; ++r)
      mean += weights_[r] * covariance(parts_, known_.row(r), row);
    const auto z = whitened(row);
    const double noise = parts_.noise * parts_.noise;
    const double variance = covariance(parts_, row, row) - dot(z, z) + noise;
    out.mean[i] = target_mean_ + target_scale_ * mean;
    out.deviation[i] = target_scale_ * std::sqrt(std::max(variance, noise));
  });
  return out;
}

std::vector<double> GaussianProcess::variance_reduction(const Matrix& candidates, const Matrix& over) const {
  std::vector<std::vector<double>> rows(over.rows), whites(over.rows);
  for (std::size_t o = 0; o < over.rows; ++o) {
    rows[o] = standard(over.row(o));
    whites[o] = whitened(rows[o]);
  }
  std::vector<double> out(candidates.rows);
  tbb::parallel_for(std::size_t{0}, candidates.rows, [&](std::size_t c) {
    const auto row = standard(candidates.row(c));
    const auto z = whitened(row);
    const double noise = parts_.noise * parts_.noise + 1e-8;
    const double spread = std::max(covariance(parts_, row, row) - dot(z, z), 0.0) + noise;
    for (std::size_t o = 0; o < over.rows; ++o) {
      const double shared = covariance(parts_, row, rows[o]) - dot(z, whites[o]);
      out[c] += shared * shared / spread * target_scale_ * target_scale_;
    }
  });
  return out;
}

Result<GaussianProcess> GaussianProcess::as_if_measured(std::span<const double> row) const {
  Matrix one(1, row.size());
  std::ranges::copy(row, one.row(0).begin());
  GaussianProcess next = *this;
  next.target_.push_back((predict(one).mean[0] - target_mean_) / target_scale_);
  const std::vector<double> standardised = standard(row);
  next.known_.values.insert(next.known_.values.end(), standardised.begin(), standardised.end());
  ++next.known_.rows;
  NAS_CHECK(next.condition());
  return next;
}

std::string GaussianProcess::save() const {
  ModelWriter w("gaussian-process");
  const double shape[] = {static_cast<double>(known_.rows), static_cast<double>(known_.columns)};
  w.numbers("shape", std::span<const double>(shape));
  const double parts[] = {parts_.linear, parts_.smooth, parts_.noise, target_mean_, target_scale_};
  w.numbers("parts", std::span<const double>(parts));
  w.numbers("lengths", std::span<const double>(parts_.lengths));
  w.numbers("mean", std::span<const double>(mean_));
  w.numbers("scale", std::span<const double>(scale_));
  w.numbers("rows", std::span<const double>(known_.values));
  w.numbers("target", std::span<const double>(target_));
  return std::move(w).finish();
}

Result<GaussianProcess> GaussianProcess::load(std::string_view content, const std::string& where) {
  NAS_TRY(r, ModelReader::open(content, where, "gaussian-process"));
  NAS_TRY(shape, r.numbers("shape", 2));
  const auto whole = [](double v, double most) { return v >= 0 && v <= most && v == std::floor(v); };
  if (!whole(shape[0], kMostRows) || shape[0] < 2 || !whole(shape[1], 1e5))
    return r.error("the shape of a Gaussian process is out of range");
  const auto rows = static_cast<std::size_t>(shape[0]), columns = static_cast<std::size_t>(shape[1]);
  NAS_TRY(parts, r.numbers("parts", 5));
  NAS_TRY(lengths, r.numbers("lengths", columns));
  NAS_TRY(mean, r.numbers("mean", columns));
  NAS_TRY(scale, r.numbers("scale", columns));
  NAS_TRY(values, r.numbers("rows", rows * columns));
  NAS_TRY(target, r.numbers("target", rows));
  if (!(parts[2] > 0) || std::ranges::any_of(lengths, [](double l) { return !(l > 0); }))
    return r.error("noise and lengths of a Gaussian process must be above 0");
  GaussianProcess g;
  g.parts_ = {parts[0], parts[1], parts[2], std::move(lengths)};
  g.target_mean_ = parts[3];
  g.target_scale_ = parts[4];
  g.mean_ = std::move(mean);
  g.scale_ = std::move(scale);
  g.known_ = Matrix(rows, columns);
  g.known_.values = std::move(values);
  g.target_ = std::move(target);
  NAS_CHECK(g.condition());
  return g;
}

}  // namespace nas::learn
