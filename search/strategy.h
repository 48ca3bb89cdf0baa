#pragma once
#include <nlohmann/json_fwd.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "search/additive.h"
#include "search/exact.h"
#include "search/gene_forest.h"
#include "search/history.h"
#include "search/listing.h"
#include "space/search_space.h"

namespace nas::search {

// Limits on costs that need no evaluator: strategies drop proposals that break them. `tightest` keeps them
// all, so that a repair always ends.
class Screen {
 public:
  struct Limit {
    Additive cost;
    double min, max;
  };
  Screen(std::vector<Limit> limits, Genotype tightest, std::vector<PeakLimit> peaks = {})
      : limits_(std::move(limits)), peaks_(std::move(peaks)), tightest_(std::move(tightest)) {}
  // As Judge::violation, over the screened costs.
  double violation(std::span<const std::uint8_t> genes) const {
    double sum = 0;
    for (const Limit& limit : limits_) sum += excess(limit.cost(genes), limit.min, limit.max);
    for (const PeakLimit& limit : peaks_)
      sum += excess(limit.peak(genes), -std::numeric_limits<double>::infinity(), limit.max);
    return sum;
  }
  bool passes(const Genotype& g) const { return violation({g.data(), g.size()}) == 0; }
  const Genotype& tightest() const { return tightest_; }

 private:
  std::vector<Limit> limits_;
  std::vector<PeakLimit> peaks_;
  Genotype tightest_;
};

// What every strategy is made for. A cheap value; safe to read from any thread.
struct Setting {
  SearchSpace space;
  std::shared_ptr<const GeneForest> forest;
  std::uint64_t seed = 1;
  std::size_t objectives = 1;
  std::shared_ptr<const Screen> screen = nullptr;    // null: nothing is known beforehand
  std::shared_ptr<const Listing> listing = nullptr;  // null: every network can be scored
};
Setting make_setting(const SearchSpace& space, const Judge& judge, std::uint64_t seed,
                     std::shared_ptr<const Screen> screen = nullptr,
                     std::shared_ptr<const Listing> listing = nullptr);

// One candidate that a strategy asks for.
struct Proposal {
  Genotype genotype;
  Origin origin = Origin::random;
  std::int64_t parent_a = -1;  // rows
  std::int64_t parent_b = -1;
};

// One question of a strategy; its memory is reused from step to step.
struct Ask {
  std::vector<Proposal> proposals;
  std::size_t count = 0;  // proposals[0 … count) are asked
  double fidelity = 1;

  Proposal& add();
  void clear() { count = 0, fidelity = 1; }
};

// What a strategy must offer. ask() fills canonical genotypes (none: it has nothing left to ask); tell() gets
// the row of every proposal in order: an old row where the proposal was known already. All of a strategy's
// randomness comes from (seed, its own step number), all its memory of candidates is row numbers, and save()
// / load() carry the rest, so that a run continues from a snapshot as if nothing had happened.
template <class S>
concept StrategyLike = std::copyable<S> &&
    requires(S s, const S& c, const History& history, Ask& ask, std::span<const Row> rows,
             nlohmann::json& out, const nlohmann::json& state) {
  {s.ask(history, ask)};
  {s.tell(history, rows)};
  {c.save(out)};
  { s.load(state) } -> std::same_as<Result<void>>;
};

// Any strategy, as a value.
class Strategy {
 public:
  template <StrategyLike S>
  Strategy(std::string name, S strategy)
      : name_(std::move(name)), model_(std::make_unique<Model<S>>(std::move(strategy))) {}
  Strategy(const Strategy& other) : name_(other.name_), model_(other.model_->copy()) {}
  Strategy(Strategy&&) noexcept = default;
  Strategy& operator=(Strategy other) noexcept {
    std::swap(name_, other.name_);
    std::swap(model_, other.model_);
    return *this;
  }

  const std::string& name() const { return name_; }
  void ask(const History& history, Ask& ask) { model_->ask(history, ask); }
  void tell(const History& history, std::span<const Row> rows) { model_->tell(history, rows); }
  void save(nlohmann::json& out) const { model_->save(out); }
  Result<void> load(const nlohmann::json& state) { return model_->load(state); }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual std::unique_ptr<Concept> copy() const = 0;
    virtual void ask(const History&, Ask&) = 0;
    virtual void tell(const History&, std::span<const Row>) = 0;
    virtual void save(nlohmann::json& out) const = 0;
    virtual Result<void> load(const nlohmann::json&) = 0;
  };
  template <class S>
  struct Model final : Concept {
    explicit Model(S s) : strategy(std::move(s)) {}
    std::unique_ptr<Concept> copy() const override { return std::make_unique<Model>(strategy); }
    void ask(const History& history, Ask& ask) override { strategy.ask(history, ask); }
    void tell(const History& history, std::span<const Row> rows) override { strategy.tell(history, rows); }
    void save(nlohmann::json& out) const override { strategy.save(out); }
    Result<void> load(const nlohmann::json& state) override { return strategy.load(state); }
    S strategy;
  };
  std::string name_;
  std::unique_ptr<Concept> model_;
};

}  // namespace nas::search
