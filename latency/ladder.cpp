#include "latency/ladder.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
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

constexpr std::size_t kManyRows = 3000;  // from here on one held-out part says enough to choose by
constexpr std::size_t kEnoughHeldOut =
    1500;  // tell where 90 % lie within .8; fewer get the training rows' help
constexpr std::size_t kFolds = 5;
constexpr double kCrumb = 0.05;

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

// Rows to fit on, and rows to predict then.
struct Part {
  std::vector<std::size_t> fit, ask;
};

// The training rows in folds, each predicted from all the others.
std::vector<Part> fold_parts(std::span<const std::size_t> train, std::size_t folds, std::uint64_t seed) {
  std::vector<Part> parts(folds);
  if (folds == 0) return parts;
  const std::vector<std::size_t> fold = learn::fold_of_rows(train.size(), folds, seed);
  for (std::size_t f = 0; f < folds; ++f)
    for (std::size_t i = 0; i < train.size(); ++i)
      (fold[i] == f ? parts[f].ask : parts[f].fit).push_back(train[i]);
  return parts;
}

// Predictions of some candidates for every part, one part after the other.
Result<std::vector<Values>> run_parts(const std::vector<Candidate>& all, std::span<const double> target,
                                      const std::vector<Part>& parts) {
  std::vector<Result<Values>> results(all.size() * parts.size(), Values{});
  tbb::parallel_for(std::size_t{0}, results.size(), [&](std::size_t job) {
    const Part& part = parts[job % parts.size()];
    results[job] = run(all[job / parts.size()], target, part.fit, part.ask);
  });
  std::vector<Values> out(all.size());
  for (std::size_t job = 0; job < results.size(); ++job) {
    if (!results[job]) return results[job].error();
    Values& to = out[job / parts.size()];
    to.insert(to.end(), results[job]->begin(), results[job]->end());
  }
  return out;
}

Values asked_values(std::span<const double> target, const std::vector<Part>& parts) {
  Values out;
  for (const Part& part : parts)
    for (const std::size_t row : part.ask) out.push_back(target[row]);
  return out;
}

// Shares too small to matter go to the others: each costs a fit.
Values without_crumbs(Values weights) {
  double sum = 0;
  for (double& w : weights) sum += w = w < kCrumb ? 0 : w;
  for (double& w : weights) w /= sum;
  return weights;
}

// Appends what the mixture says of training rows that it was not fitted on.
Result<void> cross_fit(const std::vector<Candidate>& all, const Values& weights,
                       std::span<const double> target, std::span<const std::size_t> train, std::uint64_t seed,
                       Values& truth, Values& unseen) {
  std::vector<Candidate> kept;
  Values shares;
  for (std::size_t c = 0; c < all.size(); ++c)
    if (weights[c] > 0) kept.push_back(all[c]), shares.push_back(weights[c]);
  const std::vector<Part> parts = fold_parts(train, kFolds, seed);
  NAS_TRY(predicted, run_parts(kept, target, parts));
  const Values more = asked_values(target, parts), mixed = mix(predicted, shares);
  truth.insert(truth.end(), more.begin(), more.end());
  unseen.insert(unseen.end(), mixed.begin(), mixed.end());
  return {};
}

}  // namespace

Result<LadderResult> fit_ladder(const Encoded& data, std::span<const double> target,
                                std::span<const std::size_t> train, std::span<const std::size_t> held_out,
                                std::span<const std::size_t> query, std::uint64_t seed) {
  if (train.size() < 2)
    return usage_error("a fit needs at least two rows, found " + std::to_string(train.size()));
  const std::vector<Candidate> all = candidates(data, train.size(), seed);
  const bool one_part = train.size() >= kManyRows && held_out.size() >= 200;
  // The last part is the final fit, which predicts held-out and queried rows.
  std::vector<Part> parts = fold_parts(train, one_part ? 0 : std::min(kFolds, train.size()), seed);
  parts.push_back({{train.begin(), train.end()}, {held_out.begin(), held_out.end()}});
  Values truth = asked_values(target, parts);
  parts.back().ask.insert(parts.back().ask.end(), query.begin(), query.end());
  NAS_TRY(unseen, run_parts(all, target, parts));
  std::vector<Values> queried(all.size());
  for (std::size_t c = 0; c < all.size(); ++c) {
    queried[c].assign(unseen[c].end() - static_cast<std::ptrdiff_t>(query.size()), unseen[c].end());
    unseen[c].resize(truth.size());
  }
  const Values weights = without_crumbs(choose_mixture(unseen, truth));
  LadderResult out;
  std::vector<std::string> names;
  for (std::size_t c = 0; c < all.size(); ++c) {
    out.rungs.push_back({all[c].name, learn::mape(truth, unseen[c]), weights[c]});
    names.push_back(all[c].name);
  }
  out.model = mixture_name(names, weights);
  out.predicted = mix(queried, weights);
  Values mixed = mix(unseen, weights);
  if (one_part && held_out.size() < kEnoughHeldOut)
    NAS_CHECK(cross_fit(all, weights, target, train, seed, truth, mixed));
  const auto [low, high] = conformal_factors(truth, mixed);
  for (const double p : out.predicted) {
    out.low.push_back(p * low);
    out.high.push_back(p * high);
  }
  return out;
}

}  // namespace nas::latency
