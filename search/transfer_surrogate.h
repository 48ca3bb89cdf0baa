#pragma once
#include <span>
#include <string>
#include <vector>

#include "search/accuracy_surrogate.h"

namespace nas::search {

// Held-out error (leave-one-fifth-out) of ways to tell the accuracy of quantised networks from few of them.
struct TransferScore {
  std::string how;  // "float surrogate as it is", "ridge on these alone", "float surrogate + ridge"
  double rmse = 0;
  double tau = 0;
};

// Accuracy in a space with bit genes, by transfer (the idea of APQ, Wang et al., CVPR 2020): the accuracy
// that a surrogate of the float networks gives the same choices without their bits, plus a share of a ridge
// on this space's one-hot genes fitted to what few quantised networks lack or gain. The share, 0 to 1, is the
// best over folds of these networks.
class TransferSurrogate {
 public:
  std::vector<double> predict(std::span<const Genotype> batch) const { return predict_(batch); }
  const std::vector<TransferScore>& scores() const { return scores_; }
  double share() const { return share_; }
  // A sum of terms near it, for strategies that need one.
  const Additive& separable() const { return separable_; }

 private:
  friend class TransferFitter;
  std::function<std::vector<double>(std::span<const Genotype>)> predict_;
  std::vector<TransferScore> scores_;
  Additive separable_;
  double share_ = 0;
};

// `space`: with bit genes; `networks` of it with their measured accuracies, 10 or more; `plain`: the space of
// the float surrogate. Every gene of `plain` must be in `space` under its name with the same choices (usage).
Result<TransferSurrogate> fit_transfer(const SearchSpace& space, std::span<const Genotype> networks,
                                       std::span<const double> accuracy, const SearchSpace& plain,
                                       const AccuracySurrogate& surrogate, std::uint64_t seed = 1);

}  // namespace nas::search
