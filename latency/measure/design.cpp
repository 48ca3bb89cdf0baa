#include "latency/measure/design.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "latency/kernel_features.h"
#include "latency/measure/kernel_set.h"
#include "latency/table.h"
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

enum class State { measured, sure, unsure, unknown };

// Measured ones by the session itself: a kernel with a failure counts, measuring it again tells nothing new.
std::vector<State> states_of(std::span<const Kernel> kernels, const Session& session, double sure) {
  std::set<std::string> known;
  for (const KernelRecord& r : session.kernels) known.insert(r.signature);
  const auto table = LatencyTable::make(session);
  std::vector<State> states;
  for (const Kernel& kernel : kernels) {
    if (known.contains(signature(kernel))) {
      states.push_back(State::measured);
      continue;
    }
    const auto guess = table ? table->estimate(kernel) : Result<KernelEstimate>(table.error());
    if (!guess)
      states.push_back(State::unknown);
    else
      states.push_back(guess->high <= (1 + sure) * guess->value ? State::sure : State::unsure);
  }
  return states;
}

// What was measured of each kind.
struct Measured {
  std::map<std::string, Known> known;
  std::vector<Kernel> kernels;
};

Result<Measured> measured_of(const Session& session) {
  Measured out;
  for (const KernelRecord& r : session.kernels) {
    if (!r.failure.empty() || r.signature.starts_with(kNetworkPrefix) || !(r.median > 0)) continue;
    NAS_TRY(kernel, parse_signature(r.signature));
    Known& kind = out.known[kernel_kind(kernel)];
    kind.features.push_back(kernel_features(kernel));
    kind.log_time.push_back(std::log(r.median));
    out.kernels.push_back(std::move(kernel));
  }
  return out;
}

// Of `open` kernels: kinds of which little is known by distance, then the others by expected gain.
Result<std::vector<Kernel>> most_telling(std::span<const Kernel> open, Measured& measured,
                                         std::size_t count) {
  std::map<std::string, std::vector<std::size_t>> by_kind;
  std::vector<Kernel> unknown;
  for (std::size_t i = 0; i < open.size(); ++i) {
    const std::string kind = kernel_kind(open[i]);
    if (measured.known[kind].log_time.size() < kForFunctions)
      unknown.push_back(open[i]);
    else
      by_kind[kind].push_back(i);
  }
  std::vector<Kernel> out = farthest_from(unknown, measured.kernels, count);
  std::vector<Asked> asked;
  for (auto& [kind, which] : by_kind) {
    if (out.size() >= count) break;
    const auto some = evenly(which, kMostAsked);
    NAS_TRY(model, fit_known(measured.known[kind]));
    asked.emplace_back(std::move(model), some, features_of(open, some));
  }
  while (out.size() < count && !asked.empty()) {
    const auto best = std::ranges::max_element(asked, {}, &Asked::gain);
    if (best->gain() < 0) break;
    NAS_TRY(taken, best->take());
    out.push_back(open[taken]);
  }
  return out;
}

}  // namespace

Coverage coverage_of(std::span<const Kernel> kernels, const Session& session, double sure) {
  Coverage coverage;
  coverage.kernels = kernels.size();
  for (const State state : states_of(kernels, session, sure)) {
    coverage.measured += state == State::measured;
    coverage.sure += state == State::sure;
    coverage.unsure += state == State::unsure;
    coverage.unknown += state == State::unknown;
  }
  return coverage;
}

Result<std::vector<Kernel>> next_kernels(std::span<const Kernel> kernels, const Session& session,
                                         std::size_t count, double sure) {
  const std::vector<State> states = states_of(kernels, session, sure);
  NAS_TRY(measured, measured_of(session));
  std::vector<Kernel> open;
  for (std::size_t i = 0; i < kernels.size(); ++i)
    if (states[i] == State::unknown || states[i] == State::unsure) open.push_back(kernels[i]);
  return most_telling(open, measured, count);
}

}  // namespace nas::latency
