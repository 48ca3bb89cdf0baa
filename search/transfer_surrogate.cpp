#include "search/transfer_surrogate.h"

#include <algorithm>
#include <numeric>

#include "search/additive_fit.h"
#include "search/surrogate_parts.h"
#include "space/learn/linear.h"
#include "space/learn/metrics.h"
#include "space/learn/split.h"

namespace nas::search {
namespace {

constexpr std::size_t kFolds = 5, kFewest = 10;

// A genotype's choices without the genes that the plain space does not have.
struct Projection {
  std::vector<int> from;  // per gene of the plain space
  SearchSpace plain;

  Genotype operator()(const Genotype& g) const {
    Genotype p(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) p[i] = g[static_cast<std::size_t>(from[i])];
    return plain.canonical(p);
  }
};

Result<Projection> projection(const SearchSpace& space, const SearchSpace& plain) {
  Projection p{{}, plain};
  for (const Gene& gene : plain.genes()) {
    const int at = space.find(gene.name);
    const auto same = [&] {
      const auto& theirs = space.genes()[static_cast<std::size_t>(at)].choices;
      return std::ranges::equal(theirs, gene.choices, {}, &Choice::label, &Choice::label);
    };
    if (at < 0 || !same())
      return usage_error("transfer: the space of the quantised networks must have the gene " + gene.name +
                         " with the choices that the float space gives it");
    p.from.push_back(at);
  }
  return p;
}

}  // namespace

class TransferFitter {
 public:
  TransferFitter(const SearchSpace& space, std::span<const Genotype> networks,
                 std::span<const double> accuracy, Projection project, const AccuracySurrogate& surrogate)
      : space_(space),
        forest_(std::make_shared<GeneForest>(space)),
        y_(accuracy.begin(), accuracy.end()),
        base_(surrogate.predict(projected(networks, project))),
        x_(one_hot_rows(*forest_, networks)),
        project_(std::move(project)),
        surrogate_(surrogate) {}

  Result<TransferSurrogate> run(std::uint64_t seed) {
    TransferSurrogate out;
    NAS_CHECK(score(out, seed));
    std::vector<std::size_t> all(y_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    NAS_TRY(rest, fit(all, true));
    NAS_TRY(alone, fit(all, false));
    out.separable_ = AdditiveFeatures(space_, AdditiveFeatures::Kind::genes).additive(alone);
    out.predict_ = [forest = forest_, project = project_, surrogate = surrogate_,
                    rest](std::span<const Genotype> batch) {
      std::vector<double> y = surrogate.predict(projected(batch, project));
      const std::vector<double> more = rest.predict(one_hot_rows(*forest, batch));
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += more[i];
      return y;
    };
    return out;
  }

 private:
  static std::vector<Genotype> projected(std::span<const Genotype> batch, const Projection& project) {
    std::vector<Genotype> plain;
    for (const Genotype& g : batch) plain.push_back(project(g));
    return plain;
  }

  // A ridge on some rows: of what the float surrogate leaves, or of the accuracy itself.
  Result<learn::Linear> fit(const std::vector<std::size_t>& rows, bool of_rest) const {
    std::vector<double> target;
    for (const std::size_t i : rows) target.push_back(of_rest ? y_[i] - base_[i] : y_[i]);
    // Few networks tell little: with the strongest only their mean is left.
    const std::vector<double> lambdas{1e-3, 1e-2, 1e-1, 1, 10, 100, 1000};
    return learn::fit_ridge_best(learn::take_rows(x_, rows), target, lambdas);
  }

  Result<void> score(TransferSurrogate& out, std::uint64_t seed) const {
    std::vector<std::size_t> order(y_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    Rng rng(seed, "transfer folds");
    rng.shuffle(std::span(order));
    std::vector<double> alone(y_.size()), both(y_.size());
    for (std::size_t f = 0; f < kFolds; ++f) {
      std::vector<std::size_t> train, test;
      for (std::size_t k = 0; k < order.size(); ++k) (k % kFolds == f ? test : train).push_back(order[k]);
      NAS_TRY(own, fit(train, false));
      NAS_TRY(rest, fit(train, true));
      const learn::Matrix x = learn::take_rows(x_, test);
      const std::vector<double> a = own.predict(x), r = rest.predict(x);
      for (std::size_t k = 0; k < test.size(); ++k) {
        alone[test[k]] = a[k];
        both[test[k]] = base_[test[k]] + r[k];
      }
    }
    const auto add = [&](const char* how, const std::vector<double>& predicted) {
      out.scores_.push_back({how, rmse(y_, predicted), learn::kendall(y_, predicted)});
    };
    add("float surrogate as it is", base_);
    add("ridge on these alone", alone);
    add("float surrogate + ridge", both);
    return {};
  }

  SearchSpace space_;
  std::shared_ptr<GeneForest> forest_;
  std::vector<double> y_, base_;
  learn::Matrix x_;
  Projection project_;
  AccuracySurrogate surrogate_;
};

Result<TransferSurrogate> fit_transfer(const SearchSpace& space, std::span<const Genotype> networks,
                                       std::span<const double> accuracy, const SearchSpace& plain,
                                       const AccuracySurrogate& surrogate, std::uint64_t seed) {
  if (networks.size() != accuracy.size() || networks.size() < kFewest)
    return usage_error("transfer: needs " + std::to_string(kFewest) + " quantised networks or more, found " +
                       std::to_string(networks.size()));
  NAS_TRY(project, projection(space, plain));
  return TransferFitter(space, networks, accuracy, std::move(project), surrogate).run(seed);
}

}  // namespace nas::search
