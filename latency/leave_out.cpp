#include "latency/leave_out.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>

#include "latency/mixing.h"
#include "space/learn/gaussian_process.h"
#include "space/learn/linear.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;
using Rows = std::vector<std::size_t>;

constexpr double kSmallest = 1e-9;

constexpr std::size_t kMostSubsets = 6;  // columns of work of which every subset is tried

constexpr std::size_t kGroupsForFunctions = 10;  // fewer groups cannot teach more than costs

// Which costs to fit, and how.
struct CostForm {
  std::vector<std::size_t> columns;  // of the work
  bool absolute = false;             // least absolute relative errors; else their squares
  bool words = false;                // a factor for each word
};

// Costs per unit of work, none negative, and a factor for each word: t = factor * (c . work).
struct Costs {
  CostForm form;
  Values per_unit;
  std::vector<std::map<std::size_t, double>> factors;  // logarithms, by word column and value

  double operator()(const WorkRows& d, std::size_t row) const {
    double sum = 0;
    for (std::size_t j = 0; j < form.columns.size(); ++j) sum += per_unit[j] * d.work(row, form.columns[j]);
    for (std::size_t w = 0; w < factors.size(); ++w) {
      const auto found = factors[w].find(d.words[w][row]);
      if (found != factors[w].end()) sum *= std::exp(found->second);
    }
    return std::max(sum, kSmallest);
  }
};

// Least squares of relative errors; with `absolute` reweighted a few times towards their sizes.
Result<Values> fit_relative(const Matrix& x, const Values& y, bool absolute) {
  Values weights = learn::relative_weights(y);
  NAS_TRY(c, learn::fit_nonnegative(x, y, weights, 1e-9));
  for (int round = 0; absolute && round < 8; ++round) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < c.size(); ++j) sum += c[j] * x(i, j);
      weights[i] = 1 / (y[i] * y[i] * std::max(0.02, std::abs(sum / y[i] - 1)));
    }
    NAS_TRY(next, learn::fit_nonnegative(x, y, weights, 1e-9));
    c = std::move(next);
  }
  return c;
}

// A word's factor: the mean of what the costs leave unexplained, drawn to 1 as if one more row said so.
void fit_factors(const WorkRows& d, std::span<const double> target, const Rows& rows, Costs& c) {
  for (std::size_t w = 0; w < c.factors.size(); ++w) {
    std::map<std::size_t, std::pair<double, double>> sums;
    for (const std::size_t row : rows) {
      auto& [sum, count] = sums[d.words[w][row]];
      sum += std::log(target[row] / c(d, row)) + c.factors[w][d.words[w][row]];
      ++count;
    }
    for (const auto& [value, one] : sums) c.factors[w][value] = one.first / (one.second + 1);
  }
}

Result<Costs> fit_costs(const WorkRows& d, std::span<const double> target, const Rows& rows,
                        const CostForm& form) {
  Costs c{form, {}, {}};
  if (form.words) c.factors.resize(d.words.size());
  Matrix x(rows.size(), form.columns.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < form.columns.size(); ++j) x(i, j) = d.work(rows[i], form.columns[j]);
  for (int round = 0; round < (c.factors.empty() ? 1 : 6); ++round) {
    Values y;
    for (const std::size_t row : rows) {
      double factor = 0;
      for (std::size_t w = 0; w < c.factors.size(); ++w) factor += c.factors[w][d.words[w][row]];
      y.push_back(target[row] / std::exp(factor));
    }
    NAS_TRY(found, fit_relative(x, y, form.absolute));
    c.per_unit = std::move(found);
    fit_factors(d, target, rows, c);
  }
  return c;
}

// Logarithms of the work, and a column of 0 and 1 for each word.
Matrix log_columns(const WorkRows& d, const Rows& rows) {
  std::vector<std::size_t> values;
  std::size_t width = d.work.columns;
  for (const auto& word : d.words) {
    values.push_back(1 + *std::ranges::max_element(word));
    width += values.back();
  }
  Matrix x(rows.size(), width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < d.work.columns; ++j) x(i, j) = std::log1p(d.work(rows[i], j));
    std::size_t at = d.work.columns;
    for (std::size_t w = 0; w < d.words.size(); at += values[w++]) x(i, at + d.words[w][rows[i]]) = 1;
  }
  return x;
}

using Predict = std::function<Result<Values>(const Rows& fit, const Rows& query)>;
struct Candidate {
  std::string name;
  Predict predict;
};

// A model of log t over what `base` predicts (nothing: of log t itself).
using LogModel = std::function<Result<Values>(const Matrix& x, const Values& y, const Matrix& query)>;
using Base = std::function<Result<Costs>(const Rows& fit)>;

Predict logarithmic(const WorkRows& d, std::span<const double> target, const Base& base,
                    const LogModel& model) {
  return [&d, target, base, model](const Rows& fit, const Rows& query) -> Result<Values> {
    Values y, offset(query.size());
    std::optional<Costs> costs;
    if (base) {
      NAS_TRY(found, base(fit));
      costs = std::move(found);
    }
    for (const std::size_t row : fit) y.push_back(std::log(target[row] / (costs ? (*costs)(d, row) : 1)));
    for (std::size_t i = 0; i < query.size(); ++i)
      if (costs) offset[i] = std::log((*costs)(d, query[i]));
    NAS_TRY(out, model(log_columns(d, fit), y, log_columns(d, query)));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::exp(out[i] + offset[i]);
    return out;
  };
}

// Every subset of the columns where they are few, else all of them and each left out.
std::vector<std::vector<std::size_t>> column_subsets(std::size_t columns) {
  std::vector<std::vector<std::size_t>> out;
  const bool few = columns <= kMostSubsets;
  for (std::size_t s = few ? 1 : 0; s < (few ? std::size_t{1} << columns : columns + 1); ++s) {
    auto& one = out.emplace_back();
    for (std::size_t j = 0; j < columns; ++j)
      if (few ? (s >> j & 1) != 0 : s != j) one.push_back(j);
  }
  return out;
}

std::vector<Candidate> candidates(const WorkRows& d, std::span<const double> target, std::size_t groups) {
  const auto costs = [&d, target](const CostForm& form) {
    return [&d, target, form](const Rows& fit) { return fit_costs(d, target, fit, form); };
  };
  const auto alone = [&d, costs](const CostForm& form) -> Predict {
    return [&d, base = costs(form)](const Rows& fit, const Rows& query) -> Result<Values> {
      NAS_TRY(c, base(fit));
      Values out;
      for (const std::size_t row : query) out.push_back(c(d, row));
      return out;
    };
  };
  const auto gaussian = [](bool smooth) -> LogModel {
    return [smooth](const Matrix& x, const Values& y, const Matrix& query) -> Result<Values> {
      NAS_TRY(g, learn::GaussianProcess::fit(x, y, {.smooth = smooth}));
      return g.predict(query).mean;
    };
  };
  std::vector<Candidate> out;
  const auto subsets = column_subsets(d.work.columns);
  CostForm whole;
  for (std::size_t j = 0; j < d.work.columns; ++j) whole.columns.push_back(j);
  for (const bool words : {false, true}) {
    if (words && d.words.empty()) continue;
    for (const auto& columns : subsets)
      for (const bool absolute : {false, true})
        out.push_back({words ? "costs by word" : "costs", alone({columns, absolute, words})});
    if (groups < kGroupsForFunctions) continue;
    CostForm base = whole;
    base.words = words;
    out.push_back({words ? "costs by word + gaussian process" : "costs + gaussian process",
                   logarithmic(d, target, costs(base), gaussian(true))});
  }
  if (groups < kGroupsForFunctions) return out;
  out.push_back({"power law", logarithmic(d, target, {}, gaussian(false))});
  out.push_back({"gaussian process", logarithmic(d, target, {}, gaussian(true))});
  return out;
}

// Rows of each group, in the order in which groups appear.
std::vector<Rows> rows_by_group(const WorkRows& d) {
  std::map<std::string, std::size_t> index;
  std::vector<Rows> out;
  for (std::size_t i = 0; i < d.group.size(); ++i) {
    const auto [at, fresh] = index.try_emplace(d.group[i], out.size());
    if (fresh) out.emplace_back();
    out[at->second].push_back(i);
  }
  return out;
}

Rows without(const std::vector<Rows>& groups, std::size_t a, std::size_t b) {
  Rows out;
  for (std::size_t g = 0; g < groups.size(); ++g)
    if (g != a && g != b) out.insert(out.end(), groups[g].begin(), groups[g].end());
  return out;
}

double clamp_to(double value, std::span<const double> target, const Rows& fit) {
  const auto [low, high] = std::ranges::minmax(fit, {}, [&](std::size_t row) { return target[row]; });
  return std::clamp(value, 0.01 * target[low], 100 * target[high]);
}

// What every candidate says of group b when groups a and b were not fitted on.
class Trials {
 public:
  Trials(const std::vector<Rows>& groups, std::size_t candidates)
      : groups_(groups), n_(groups.size()), count_(candidates), all_(candidates * n_ * n_, Values{}) {}

  Result<void> run(const std::vector<Candidate>& all, std::span<const double> target) {
    tbb::parallel_for(std::size_t{0}, all_.size(), [&](std::size_t job) {
      const std::size_t c = job / (n_ * n_), a = job / n_ % n_, b = job % n_;
      if (a > b) return;  // the same fit as (b, a), whose rows are those of both
      const Rows fit = without(groups_, a, b);
      Rows query = groups_[b];
      if (a != b) query.insert(query.end(), groups_[a].begin(), groups_[a].end());
      all_[job] = all[c].predict(fit, query);
      if (!all_[job]) return;
      for (double& v : *all_[job]) v = clamp_to(v, target, fit);
    });
    for (const auto& one : all_)
      if (!one) return one.error();
    return {};
  }

  std::vector<Values> of(std::size_t a, std::size_t b) const {
    std::vector<Values> out(count_);
    for (std::size_t c = 0; c < count_; ++c) {
      const Values& both = *all_[(c * n_ + std::min(a, b)) * n_ + std::max(a, b)];
      const auto size = static_cast<std::ptrdiff_t>(groups_[b].size());
      const auto first = a <= b ? both.begin() : both.end() - size;
      out[c].assign(first, first + size);
    }
    return out;
  }

 private:
  const std::vector<Rows>& groups_;
  std::size_t n_, count_;
  std::vector<Result<Values>> all_;
};

// Predictions of several groups one after the other, and their truth.
struct Unseen {
  std::vector<Values> predicted;
  Values truth;
};

Unseen unseen_but(const Trials& trials, const std::vector<Rows>& groups, std::span<const double> target,
                  std::size_t a, std::size_t also, std::size_t candidates) {
  Unseen out{std::vector<Values>(candidates), {}};
  for (std::size_t b = 0; b < groups.size(); ++b) {
    if (b == a || b == also) continue;
    for (const std::size_t row : groups[b]) out.truth.push_back(target[row]);
    const auto part = trials.of(a, b);
    for (std::size_t c = 0; c < candidates; ++c)
      out.predicted[c].insert(out.predicted[c].end(), part[c].begin(), part[c].end());
  }
  return out;
}

// 95 % quantile of Student's distribution (Cornish-Fisher from the normal one; within 2 % from 4 on).
double student95(double freedom) {
  constexpr double z = 1.6449, z3 = z * z * z, z5 = z3 * z * z;
  return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom * freedom);
}

// Half width of the 90 % interval of the logarithm: groups differ more than rows of a group do, so every
// group counts once. Each group's error is that of a mixture chosen without it.
double half_width(const Trials& trials, const std::vector<Rows>& groups, std::span<const double> target,
                  std::size_t a, std::size_t candidates) {
  double sum = 0;
  for (std::size_t b = 0; b < groups.size(); ++b) {
    if (b == a) continue;
    const Unseen rest = unseen_but(trials, groups, target, a, b, candidates);
    const Values mixed = mix(trials.of(a, b), choose_mixture(rest.predicted, rest.truth));
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      const double error = std::log(target[groups[b][i]] / mixed[i]);
      sum += error * error / static_cast<double>(mixed.size());
    }
  }
  const auto others = static_cast<double>(groups.size() - 1);
  return student95(others) * std::sqrt(sum / others);
}

}  // namespace

Result<LadderResult> leave_groups_out(const WorkRows& d, std::span<const double> target) {
  const std::vector<Rows> groups = rows_by_group(d);
  const std::size_t n = groups.size();
  if (n < 3)
    return usage_error("leaving one group out in turn needs 3 groups at least, found " + std::to_string(n));
  const std::vector<Candidate> all = candidates(d, target, n);
  Trials trials(groups, all.size());
  NAS_CHECK(trials.run(all, target));
  LadderResult out;
  out.predicted.resize(d.group.size());
  out.low = out.high = out.predicted;
  std::vector<Values> shares(n);
  tbb::parallel_for(std::size_t{0}, n, [&](std::size_t a) {
    const Unseen others = unseen_but(trials, groups, target, a, a, all.size());
    shares[a] = choose_mixture(others.predicted, others.truth);
    const Values mixed = mix(trials.of(a, a), shares[a]);
    const double wide = std::exp(half_width(trials, groups, target, a, all.size()));
    for (std::size_t i = 0; i < groups[a].size(); ++i) {
      out.predicted[groups[a][i]] = mixed[i];
      out.low[groups[a][i]] = mixed[i] / wide;
      out.high[groups[a][i]] = mixed[i] * wide;
    }
  });
  // The evidence: one line a kind of model, the best of its forms.
  std::map<std::string, Rung> kinds;
  for (std::size_t c = 0; c < all.size(); ++c) {
    Rung rung{all[c].name, 0, 0};
    for (std::size_t a = 0; a < n; ++a) {
      const Values one = trials.of(a, a)[c];
      for (std::size_t i = 0; i < one.size(); ++i)
        rung.mape += 100 * std::abs(one[i] / target[groups[a][i]] - 1) / static_cast<double>(target.size());
      rung.weight += shares[a][c] / static_cast<double>(n);
    }
    const auto [at, fresh] = kinds.try_emplace(rung.name, rung);
    if (!fresh) at->second.weight += rung.weight, at->second.mape = std::min(at->second.mape, rung.mape);
  }
  std::vector<std::string> names;
  Values weights;
  for (const auto& [name, rung] : kinds) {
    out.rungs.push_back(rung);
    names.push_back(name);
    weights.push_back(rung.weight);
  }
  out.model = mixture_name(names, weights);
  return out;
}

}  // namespace nas::latency
