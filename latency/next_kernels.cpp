#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "latency/kernel_features.h"
#include "latency/kernel_model.h"
#include "latency/measure/kernel_set.h"
#include "space/learn/gaussian_process.h"

namespace nas::latency {
namespace {

using learn::GaussianProcess;
using learn::Matrix;

constexpr std::size_t kForFunctions = 8;  // measured kernels of a kind below which shapes are only spread out
constexpr std::size_t kMostKnown = 250;   // measured kernels of a kind that are conditioned on
constexpr std::size_t kMostAsked = 300;  // candidates of a kind that are looked at, and whose variance counts

Matrix features_of(std::span<const Kernel> kernels, const std::vector<std::size_t>& which) {
  Matrix x(which.size(), which.empty() ? 0 : kernel_features(kernels[which[0]]).size());
  for (std::size_t i = 0; i < which.size(); ++i)
    std::ranges::copy(kernel_features(kernels[which[i]]), x.row(i).begin());
  return x;
}

template <class T>
std::vector<T> evenly(const std::vector<T>& all, std::size_t most) {
  if (all.size() <= most) return all;
  std::vector<T> out;
  for (std::size_t i = 0; i < most; ++i) out.push_back(all[i * all.size() / most]);
  return out;
}

struct Known {
  std::vector<std::vector<double>> features;
  std::vector<double> log_time;
};

// One kind's candidates with a model of what is known; says its best candidate and what that is worth.
class Asked {
 public:
  Asked(GaussianProcess model, std::vector<std::size_t> which, Matrix features)
      : model_(std::move(model)), which_(std::move(which)), features_(std::move(features)) {
    look();
  }
  double gain() const { return gain_; }
  Result<std::size_t> take() {
    const std::size_t taken = which_[best_];
    NAS_TRY(next, model_.as_if_measured(features_.row(best_)));
    model_ = std::move(next);
    used_.insert(best_);
    look();
    return taken;
  }

 private:
  void look() {
    const auto gains = model_.variance_reduction(features_, features_);
    gain_ = -1;
    for (std::size_t i = 0; i < gains.size(); ++i)
      if (!used_.contains(i) && gains[i] > gain_) gain_ = gains[i], best_ = i;
  }
  GaussianProcess model_;
  std::vector<std::size_t> which_;
  Matrix features_;
  std::set<std::size_t> used_;
  std::size_t best_ = 0;
  double gain_ = -1;
};

Result<GaussianProcess> fit_known(const Known& known) {
  const auto features = evenly(known.features, kMostKnown);
  Matrix x(features.size(), features[0].size());
  for (std::size_t i = 0; i < features.size(); ++i) std::ranges::copy(features[i], x.row(i).begin());
  return GaussianProcess::fit(x, evenly(known.log_time, kMostKnown),
                              {.own_lengths = false, .most_rows = 120});
}

// Candidates of kinds of which little is known, spread over their shapes.
std::vector<std::size_t> spread_out(std::span<const Kernel> candidates, const std::vector<std::size_t>& which,
                                    std::size_t count) {
  std::vector<Kernel> kernels;
  std::map<std::string, std::size_t> index;
  for (const std::size_t i : which) {
    kernels.push_back(candidates[i]);
    index[signature(candidates[i])] = i;
  }
  std::vector<std::size_t> out;
  for (const Kernel& k : space_filling(kernels, count)) out.push_back(index[signature(k)]);
  return out;
}

}  // namespace

Result<std::vector<std::size_t>> next_kernels(std::span<const Kernel> candidates, const Session& measured,
                                              std::size_t count) {
  std::map<std::string, Known> known;
  std::set<std::string> done;
  for (const KernelRecord& r : measured.kernels) {
    if (!r.failure.empty() || r.signature.starts_with(kNetworkPrefix) || !(r.median > 0)) continue;
    NAS_TRY(kernel, parse_signature(r.signature));
    done.insert(r.signature);
    Known& kind = known[kernel_kind(kernel)];
    kind.features.push_back(kernel_features(kernel));
    kind.log_time.push_back(std::log(r.median));
  }
  std::map<std::string, std::vector<std::size_t>> by_kind;
  std::vector<std::size_t> unknown, out;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (done.contains(signature(candidates[i]))) continue;
    const std::string kind = kernel_kind(candidates[i]);
    (known[kind].log_time.size() < kForFunctions ? unknown : by_kind[kind]).push_back(i);
  }
  // A few of each unknown kind teach more than many of one: its share, then the rest by expected gain.
  if (!unknown.empty()) out = spread_out(candidates, unknown, std::min(count, unknown.size()));
  std::vector<Asked> asked;
  for (auto& [kind, which] : by_kind) {
    if (out.size() >= count) break;
    const auto some = evenly(which, kMostAsked);
    NAS_TRY(model, fit_known(known[kind]));
    asked.emplace_back(std::move(model), some, features_of(candidates, some));
  }
  while (out.size() < count && !asked.empty()) {
    const auto best = std::ranges::max_element(asked, {}, &Asked::gain);
    if (best->gain() < 0) break;
    NAS_TRY(taken, best->take());
    out.push_back(taken);
  }
  return out;
}

}  // namespace nas::latency
