#include "search/accuracy_surrogate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "search/additive_fit.h"
#include "search/surrogate_parts.h"
#include "space/base/hash.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/mlp.h"
#include "space/learn/split.h"
#include "space/learn/trees.h"

namespace nas::search {
namespace {

using Predict = std::function<std::vector<double>(const learn::Matrix&)>;

// Kendall's tau inside bins of equal count by MACs: what is left to know once the size is known.
double tau_in_bins(std::span<const double> truth, std::span<const double> predicted,
                   std::span<const double> macs, std::size_t bins) {
  std::vector<std::size_t> order(truth.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return macs[i]; });
  double sum = 0, weight = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    std::vector<double> t, p;
    for (std::size_t k = b * order.size() / bins; k < (b + 1) * order.size() / bins; ++k)
      t.push_back(truth[order[k]]), p.push_back(predicted[order[k]]);
    if (t.size() < 2) continue;
    sum += static_cast<double>(t.size()) * learn::kendall(t, p);
    weight += static_cast<double>(t.size());
  }
  return weight > 0 ? sum / weight : 0;
}

}  // namespace

class SurrogateFitter {
 public:
  SurrogateFitter(const SearchSpace& space, std::span<const Genotype> networks,
                  std::span<const double> accuracy, std::span<const double> macs,
                  const SurrogateOptions& options)
      : space_(space),
        forest_(std::make_shared<GeneForest>(space)),
        x_(one_hot_rows(*forest_, networks)),
        y_(accuracy.begin(), accuracy.end()),
        macs_(macs.begin(), macs.end()),
        options_(options),
        split_(learn::split_rows(networks.size(), 0.7, options.seed)) {}

  Result<AccuracySurrogate> run() {
    AccuracySurrogate out;
    out.trained_on_ = split_.train.size();
    out.held_out_ = split_.test.size();
    const learn::Matrix train = learn::take_rows(x_, split_.train);
    const std::vector<double> target = learn::take(y_, split_.train);
    NAS_CHECK(baseline(out));
    const std::vector<double> lambdas{1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
    NAS_TRY(ridge, learn::fit_ridge_best(train, target, lambdas));
    out.separable_ = AdditiveFeatures(space_, AdditiveFeatures::Kind::genes).additive(ridge);
    consider(out, "ridge", [ridge](const learn::Matrix& x) { return ridge.predict(x); });
    learn::MlpOptions mlp_options;
    mlp_options.epochs = options_.epochs;
    mlp_options.hidden = {128, 128};
    mlp_options.seed = options_.seed;
    NAS_TRY(mlp, learn::Mlp::fit(train, target, mlp_options));
    consider(out, "mlp", [mlp = std::make_shared<learn::Mlp>(std::move(mlp))](const learn::Matrix& x) {
      return mlp->predict(x);
    });
    learn::TreeOptions tree_options;
    tree_options.seed = options_.seed;
    tree_options.rounds = 300;
    tree_options.depth = 4;
    NAS_TRY(trees, learn::Trees::fit(train, target, tree_options));
    consider(out, "trees", [trees](const learn::Matrix& x) { return trees.predict(x); });
    if (!best_)
      return usage_error("accuracy model: required best, ridge, mlp or trees, found " + options_.model);
    out.predict_ = [forest = forest_, best = best_](std::span<const Genotype> batch) {
      return best(one_hot_rows(*forest, batch));
    };
    return out;
  }

 private:
  SurrogateScore score(const std::string& name, std::span<const double> predicted) const {
    const std::vector<double> truth = learn::take(y_, split_.test), work = learn::take(macs_, split_.test);
    return {name, rmse(truth, predicted), learn::kendall(truth, predicted),
            tau_in_bins(truth, predicted, work, options_.bins)};
  }

  // A straight line on the logarithm of the MACs.
  Result<void> baseline(AccuracySurrogate& out) const {
    learn::Matrix x(macs_.size(), 1);
    for (std::size_t i = 0; i < macs_.size(); ++i) x(i, 0) = std::log(std::max(macs_[i], 1e-12));
    NAS_TRY(line,
            learn::fit_ridge(learn::take_rows(x, split_.train), learn::take(y_, split_.train), {1e-9, 0}));
    out.scores_.push_back(score("macs only", line.predict(learn::take_rows(x, split_.test))));
    return {};
  }

  void consider(AccuracySurrogate& out, const std::string& name, const Predict& predict) {
    const std::vector<double> truth = learn::take(y_, split_.validation);
    const double error = rmse(truth, predict(learn::take_rows(x_, split_.validation)));
    out.scores_.push_back(score(name, predict(learn::take_rows(x_, split_.test))));
    if (options_.model == "best" ? best_ && error >= best_error_ : options_.model != name) return;
    best_ = predict;
    best_error_ = error;
    out.model_ = name;
  }

  SearchSpace space_;
  std::shared_ptr<GeneForest> forest_;
  learn::Matrix x_;
  std::vector<double> y_, macs_;
  SurrogateOptions options_;
  learn::Split split_;
  Predict best_;
  double best_error_ = 0;
};

std::vector<Genotype> designed_sample(const SearchSpace& space, std::size_t count, std::uint64_t seed) {
  const GeneForest forest(space);
  std::vector<Genotype> out;
  std::unordered_set<Hash128> seen;
  const auto add = [&](Genotype g) {
    forest.canonicalise(g);
    if (out.size() < count && seen.insert(hash_bytes({g.data(), g.size()})).second)
      out.push_back(std::move(g));
  };
  add(space.smallest());
  add(space.largest());
  // Small spaces run out of new networks: a bounded number of hypercubes.
  for (std::uint64_t cube = 0; cube < 20 && out.size() < count; ++cube) {
    const std::size_t n = count - out.size();
    std::vector<Genotype> rows(n, Genotype(forest.size()));
    for (std::size_t gene = 0; gene < forest.size(); ++gene) {
      std::vector<std::size_t> place(n);
      std::iota(place.begin(), place.end(), 0);
      Rng rng(seed, "designed sample", cube, gene);
      rng.shuffle(std::span(place));
      for (std::size_t i = 0; i < n; ++i)
        rows[i][gene] = static_cast<std::uint8_t>(place[i] % forest.choices(gene));
    }
    for (Genotype& g : rows) add(std::move(g));
  }
  return out;
}

Result<AccuracySurrogate> fit_accuracy(const SearchSpace& space, std::span<const Genotype> networks,
                                       std::span<const double> accuracy, std::span<const double> macs,
                                       const SurrogateOptions& options) {
  if (networks.size() != accuracy.size() || networks.size() != macs.size() || networks.size() < 30)
    return usage_error("accuracy model: needs 30 networks or more with one accuracy and MACs each, found " +
                       std::to_string(networks.size()) + ", " + std::to_string(accuracy.size()) + " and " +
                       std::to_string(macs.size()));
  return SurrogateFitter(space, networks, accuracy, macs, options).run();
}

}  // namespace nas::search
