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
using RowList = std::vector<std::size_t>;

// What the float surrogate lacks or gains: a ridge, and how much of it to believe.
struct Correction {
  learn::Linear ridge;
  double share = 0;
  std::vector<double> predict(const learn::Matrix& x) const {
    std::vector<double> y = ridge.predict(x);
    for (double& v : y) v *= share;
    return y;
  }
};

// (train, test) of every fold of the rows, in random order.
std::vector<std::pair<RowList, RowList>> folds(const RowList& rows, std::uint64_t seed) {
  const std::vector<std::size_t> fold = learn::fold_of_rows(rows.size(), kFolds, seed);
  std::vector<std::pair<RowList, RowList>> parts(kFolds);
  for (std::size_t f = 0; f < kFolds; ++f)
    for (std::size_t k = 0; k < rows.size(); ++k)
      (fold[k] == f ? parts[f].second : parts[f].first).push_back(rows[k]);
  return parts;
}

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
    RowList all(y_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    NAS_CHECK(score(out, all, seed));
    NAS_TRY(rest, correction(all, seed));
    NAS_TRY(alone, fit(all, false));
    out.share_ = rest.share;
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
  Result<learn::Linear> fit(const RowList& rows, bool of_rest) const {
    std::vector<double> target;
    for (const std::size_t i : rows) target.push_back(of_rest ? y_[i] - base_[i] : y_[i]);
    // Few networks tell little: with the strongest only their mean is left.
    const std::vector<double> lambdas{1e-3, 1e-2, 1e-1, 1, 10, 100, 1000};
    return learn::fit_ridge_best(learn::take_rows(x_, rows), target, lambdas);
  }

  // Believed as far as it tells networks it did not see: share * ridge has the least squared error over the
  // folds of these rows, share in [0, 1]. So where it tells nothing the float surrogate stays as it is.
  Result<Correction> correction(const RowList& rows, std::uint64_t seed) const {
    double together = 0, own = 0;
    for (const auto& [train, test] : folds(rows, seed)) {
      NAS_TRY(ridge, fit(train, true));
      const std::vector<double> r = ridge.predict(learn::take_rows(x_, test));
      for (std::size_t k = 0; k < test.size(); ++k) {
        together += r[k] * (y_[test[k]] - base_[test[k]]);
        own += r[k] * r[k];
      }
    }
    NAS_TRY(ridge, fit(rows, true));
    return Correction{std::move(ridge), own > 0 ? std::clamp(together / own, 0.0, 1.0) : 0.0};
  }

  Result<void> score(TransferSurrogate& out, const RowList& rows, std::uint64_t seed) const {
    std::vector<double> alone(y_.size()), both(y_.size());
    for (const auto& [train, test] : folds(rows, seed)) {
      NAS_TRY(own, fit(train, false));
      NAS_TRY(rest, correction(train, seed));
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
