#include "latency/ladder.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>

#include "latency/mixing.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/mlp.h"
#include "space/learn/split.h"
#include "space/learn/trees.h"

namespace nas::latency {
namespace {

using learn::Matrix;
using Values = std::vector<double>;

constexpr std::size_t kManyRows = 3000;  // from here on one held-out part says enough

// Fits on some rows and predicts others.
using Predict = std::function<Result<Values>(const Matrix& x, const Values& y, const Matrix& query)>;

struct Candidate {
  std::string name;
  const Matrix* view;
  bool logarithm;
  Predict predict;
};

Predict linear(bool relative, int robust_rounds) {
  return [=](const Matrix& x, const Values& y, const Matrix& query) -> Result<Values> {
    const Values weights = relative ? learn::relative_weights(y) : Values{};
    if (robust_rounds > 0) {
      NAS_TRY(model, learn::fit_ridge(x, y, {.lambda = 1e-5, .robust_rounds = robust_rounds}, weights));
      return model.predict(query);
    }
    NAS_TRY(model, learn::fit_ridge_best(x, y, std::vector{1e-7, 1e-5, 1e-4, 1e-3, 1e-2}, weights));
    return model.predict(query);
  };
}

Predict trees(int rounds, int depth, double rate, learn::TreeLoss loss, std::uint64_t seed) {
  return [=](const Matrix& x, const Values& y, const Matrix& query) -> Result<Values> {
    NAS_TRY(model, learn::Trees::fit(x, y,
                                     {.rounds = rounds,
                                      .depth = depth,
                                      .learning_rate = rate,
                                      .min_weight = 2,
                                      .loss = loss,
                                      .seed = seed}));
    return model.predict(query);
  };
}

Predict mlp(std::uint64_t seed) {
  return [=](const Matrix& x, const Values& y, const Matrix& query) -> Result<Values> {
    const int epochs = static_cast<int>(std::clamp<std::size_t>(200000 / x.rows, 20, 120));
    NAS_TRY(model, learn::Mlp::fit(x, y,
                                   {.hidden = {64, 64},
                                    .epochs = epochs,
                                    .batch = 64,
                                    .learning_rate = 2e-3,
                                    .weight_decay = 0.02,
                                    .loss = learn::Loss::huber,
                                    .members = 2,
                                    .seed = seed}));
    return model.predict(query);
  };
}

std::vector<Candidate> candidates(const Encoded& d, std::size_t rows, std::uint64_t seed) {
  using learn::TreeLoss;
  std::vector<Candidate> out;
  out.push_back({"table", &d.table, false, linear(true, 0)});
  out.push_back({"table_robust", &d.table, false, linear(true, 8)});
  out.push_back({"table_log", &d.table, true, linear(false, 0)});
  if (d.cross.columns > 0) {
    out.push_back({"linear", &d.cross, false, linear(true, 0)});
    out.push_back({"linear_robust", &d.cross, false, linear(true, 8)});
    out.push_back({"linear_log", &d.cross, true, linear(false, 0)});
  }
  const bool operators =
      rows > kManyRows && d.numbers.columns < 40;  // few numbers, many rows: deep trees pay
  out.push_back({"trees", &d.numbers, true,
                 trees(operators ? 1500 : 600, operators ? 8 : 5, 0.04, TreeLoss::squared, seed)});
  out.push_back({"trees_shallow", &d.numbers, true, trees(800, 3, 0.06, TreeLoss::squared, seed + 1)});
  out.push_back(
      {"mlp", d.cross.columns > 0 && d.cross.columns < 120 ? &d.cross : &d.numbers, true, mlp(seed)});
  return out;
}

// Fits on `fit` and predicts `query`; never below a hundredth of the smallest time seen.
Result<Values> run(const Candidate& c, std::span<const double> target, std::span<const std::size_t> fit,
                   std::span<const std::size_t> query) {
  Values y = learn::take(target, fit);
  const double least = 0.01 * *std::min_element(y.begin(), y.end());
  const double most = 100 * *std::max_element(y.begin(), y.end());
  if (c.logarithm) {
    for (double& v : y) v = std::log(v);
  }
  NAS_TRY(out, c.predict(learn::take_rows(*c.view, fit), y, learn::take_rows(*c.view, query)));
  for (double& v : out) v = std::clamp(c.logarithm ? std::exp(v) : v, least, most);
  return out;
}

}  // namespace

Result<LadderResult> fit_ladder(const Encoded& data, std::span<const double> target,
                                std::span<const std::size_t> train, std::span<const std::size_t> held_out,
                                std::span<const std::size_t> query, std::uint64_t seed) {
  if (train.size() < 2)
    return usage_error("a fit needs at least two rows, found " + std::to_string(train.size()));
  const std::vector<Candidate> all = candidates(data, train.size(), seed);
  const bool one_part = train.size() >= kManyRows && held_out.size() >= 200;
  const std::size_t folds = one_part ? 0 : std::min<std::size_t>(5, train.size());
  const std::vector<std::size_t> fold =
      learn::fold_of_rows(train.size(), std::max<std::size_t>(1, folds), seed);
  // Job f < folds leaves fold f out; job `folds` is the final fit, which predicts held-out and queried rows.
  std::vector<std::size_t> asked(held_out.begin(), held_out.end());
  asked.insert(asked.end(), query.begin(), query.end());
  std::vector<std::vector<std::size_t>> fit_rows(folds + 1);
  std::vector<std::vector<std::size_t>> ask_rows(folds + 1);
  fit_rows[folds].assign(train.begin(), train.end());
  ask_rows[folds] = asked;
  for (std::size_t f = 0; f < folds; ++f) {
    for (std::size_t i = 0; i < train.size(); ++i)
      (fold[i] == f ? ask_rows : fit_rows)[f].push_back(train[i]);
  }
  std::vector<Result<Values>> results(all.size() * (folds + 1), Values{});
  tbb::parallel_for(std::size_t{0}, results.size(), [&](std::size_t job) {
    const std::size_t f = job % (folds + 1);
    results[job] = run(all[job / (folds + 1)], target, fit_rows[f], ask_rows[f]);
  });
  for (const auto& result : results) {
    if (!result) return result.error();
  }
  Values truth;
  std::vector<Values> unseen(all.size());
  std::vector<Values> queried(all.size());
  for (std::size_t f = 0; f < folds; ++f) {
    for (const std::size_t row : ask_rows[f]) truth.push_back(target[row]);
  }
  for (const std::size_t row : held_out) truth.push_back(target[row]);
  for (std::size_t c = 0; c < all.size(); ++c) {
    for (std::size_t f = 0; f < folds; ++f) {
      const Values& part = *results[c * (folds + 1) + f];
      unseen[c].insert(unseen[c].end(), part.begin(), part.end());
    }
    const Values& last = *results[c * (folds + 1) + folds];
    const auto cut = last.begin() + static_cast<std::ptrdiff_t>(held_out.size());
    unseen[c].insert(unseen[c].end(), last.begin(), cut);
    queried[c].assign(cut, last.end());
  }
  const Values weights = choose_mixture(unseen, truth);
  LadderResult out;
  std::vector<std::string> names;
  for (std::size_t c = 0; c < all.size(); ++c) {
    out.rungs.push_back({all[c].name, learn::mape(truth, unseen[c]), weights[c]});
    names.push_back(all[c].name);
  }
  out.model = mixture_name(names, weights);
  out.predicted = mix(queried, weights);
  const auto [low, high] = conformal_factors(truth, mix(unseen, weights));
  for (const double p : out.predicted) {
    out.low.push_back(p * low);
    out.high.push_back(p * high);
  }
  return out;
}

}  // namespace nas::latency
