#include "apps/compress/ratio_search.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "space/base/rng.h"

namespace nas::apps {
namespace {

constexpr std::size_t kParents = 8;   // the best so many
constexpr std::size_t kChildren = 4;  // of which the best guess is measured
constexpr std::size_t kDraws = 64;    // to find them
constexpr double kCrossed = 0.25;

struct Measured {
  ChannelCounts kept;
  double loss = 0;
};

class Search {
 public:
  Search(const RatioProblem& problem, std::size_t evaluations, std::uint64_t seed)
      : p_(problem), evaluations_(evaluations), seed_(seed) {}

  Result<RatioSearch> run() {
    RatioSearch found;
    for (const ChannelCounts& start : p_.starts) {
      NAS_TRY(loss, p_.loss(start));
      found.start_loss.push_back(loss);
      keep({start, loss});
    }
    for (std::size_t i = 0; i < p_.starts.size() && measured_ < evaluations_; ++i) {
      Rng rng(seed_, "ratios: start", i);
      ChannelCounts grown = p_.starts[i];
      NAS_TRY(holds, settle(grown, any_order(rng)));
      if (holds && !seen_.contains(grown)) NAS_CHECK(measure(std::move(grown)));
    }
    while (measured_ < evaluations_) {
      NAS_TRY(child, next());
      if (!child) break;
      NAS_CHECK(measure(std::move(*child)));
    }
    found.kept = best_.front().kept;
    found.loss = best_.front().loss;
    found.evaluations = measured_;
    return found;
  }

 private:
  using Order = std::vector<std::size_t>;

  Order any_order(Rng& rng) const {
    Order order(p_.choices.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    rng.shuffle(std::span(order));
    return order;
  }
  std::size_t place(const ChannelCounts& kept, std::size_t group) const {
    const ChannelCounts& choices = p_.choices[group];
    return static_cast<std::size_t>(std::ranges::lower_bound(choices, kept[group]) - choices.begin());
  }
  Result<bool> holds(const ChannelCounts& kept) const {
    NAS_TRY(cost, p_.cost(kept));
    return cost <= p_.limit;
  }

  // Sets the group to its widest choice in [first, last] with which the limit holds; to the first one where
  // none of the others does.
  Result<void> widest(ChannelCounts& kept, std::size_t group, std::size_t first, std::size_t last) const {
    std::size_t beyond = last + 1;
    while (beyond - first > 1) {
      const std::size_t middle = first + (beyond - first) / 2;
      kept[group] = p_.choices[group][middle];
      NAS_TRY(fits, holds(kept));
      (fits ? first : beyond) = middle;
    }
    kept[group] = p_.choices[group][first];
    return {};
  }

  // Onto the limit: groups shrink in this order until it holds, then grow in this order. False where the
  // narrowest network breaks it.
  Result<bool> settle(ChannelCounts& kept, const Order& order) const {
    NAS_TRY(fits, holds(kept));
    for (std::size_t i = 0; !fits && i < order.size(); ++i) {
      NAS_CHECK(widest(kept, order[i], 0, place(kept, order[i])));
      NAS_TRY(now, holds(kept));
      fits = now;
    }
    for (std::size_t i = 0; fits && i < order.size(); ++i)
      NAS_CHECK(widest(kept, order[i], place(kept, order[i]), p_.choices[order[i]].size() - 1));
    return fits;
  }

  // The better of two parents drawn.
  const ChannelCounts& parent(Rng& rng) const {
    return best_[std::min(rng.below(best_.size()), rng.below(best_.size()))].kept;
  }

  // `anywhere`: of no parent.
  Result<ChannelCounts> child(Rng& rng, bool anywhere) const {
    ChannelCounts kept = parent(rng);
    const Order order = any_order(rng);
    if (anywhere) {
      for (std::size_t g = 0; g < kept.size(); ++g) kept[g] = p_.choices[g][rng.below(p_.choices[g].size())];
    } else if (rng.chance(kCrossed)) {
      const ChannelCounts& other = parent(rng);
      for (std::size_t g = 0; g < kept.size(); ++g)
        if (rng.chance(0.5)) kept[g] = other[g];
    } else {
      // The last one of the order grows, near or far; the first one pays as much of it as it can.
      const std::size_t group = order.back(), last = p_.choices[group].size() - 1;
      const std::size_t reach = std::max<std::size_t>(last >> rng.below(5), 1);
      kept[group] = p_.choices[group][std::min(place(kept, group) + 1 + rng.below(reach), last)];
    }
    NAS_TRY(fits, settle(kept, order));
    if (!fits) kept.clear();
    return kept;
  }

  // Of a few new children the one with the best guess; where the parents have none left, of new networks
  // anywhere on the limit. None where there seems to be nothing new.
  Result<std::optional<ChannelCounts>> next() const {
    std::optional<ChannelCounts> chosen;
    double least = 0;
    for (std::size_t i = 0, fresh = 0; i < kDraws && fresh < kChildren; ++i) {
      Rng rng(seed_, "ratios: child", measured_, i);
      NAS_TRY(kept, child(rng, i >= kDraws / 2));
      if (kept.empty() || seen_.contains(kept)) continue;
      ++fresh;
      const double guess = p_.guess(kept);
      if (chosen && guess >= least) continue;
      chosen = std::move(kept);
      least = guess;
    }
    return chosen;
  }

  void keep(Measured one) {
    ++measured_;
    seen_.insert(one.kept);
    const auto at = std::ranges::upper_bound(best_, one.loss, {}, &Measured::loss);
    best_.insert(at, std::move(one));
    best_.resize(std::min(best_.size(), kParents));
  }
  Result<void> measure(ChannelCounts kept) {
    NAS_TRY(loss, p_.loss(kept));
    keep({std::move(kept), loss});
    return {};
  }

  const RatioProblem& p_;
  std::size_t evaluations_;
  std::uint64_t seed_;
  std::size_t measured_ = 0;
  std::set<ChannelCounts> seen_;
  std::vector<Measured> best_;  // ascending by loss
};

}  // namespace

Result<RatioSearch> search_ratios(const RatioProblem& problem, std::size_t evaluations, std::uint64_t seed) {
  return Search(problem, evaluations, seed).run();
}

}  // namespace nas::apps
