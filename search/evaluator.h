#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "search/problem.h"
#include "space/genotype.h"

namespace nas::search {

// The scores of one batch: row i holds the metrics of candidate i, or candidate i has failed with a reason.
class Scores {
 public:
  // Forgets everything and makes room; memory is reused.
  void reset(std::size_t candidates, std::size_t metrics);
  std::size_t size() const { return failure_.size(); }
  std::size_t metrics() const { return metrics_; }
  std::span<double> row(std::size_t i) { return {values_.data() + i * metrics_, metrics_}; }
  std::span<const double> row(std::size_t i) const { return {values_.data() + i * metrics_, metrics_}; }
  void fail(std::size_t i, std::string reason);
  bool failed(std::size_t i) const { return failure_[i] >= 0; }
  // Empty where the candidate was scored.
  const std::string& reason(std::size_t i) const;

 private:
  std::size_t metrics_ = 0;
  std::vector<double> values_;
  std::vector<std::int32_t> failure_;  // -1, or index into reasons_
  std::vector<std::string> reasons_;
};

enum class ThreadSafety {
  one_at_a_time,  // one call at a time, from any thread
  concurrent,     // any number of calls at once
};

// Accuracy, latency and costs of genotypes, as a callable. Blocks until the batch is scored.
struct Evaluator {
  // All genotypes are canonical; `scores` comes reset to the batch. `fidelity` in (0, 1] is the share of the
  // full effort (evaluation images); evaluators without such a knob ignore it. May throw: the runner turns
  // that into failed candidates.
  using Score = std::function<void(std::span<const Genotype> batch, double fidelity, Scores& scores)>;

  std::vector<Metric> metrics;
  ThreadSafety threads = ThreadSafety::one_at_a_time;
  Score score;
};

// Decorators. Each gives an evaluator with the same metrics.

// Whatever the inner one throws or returns as NaN or infinity becomes a failed candidate with its reason;
// after a throw the candidates are tried one by one, so that only the guilty one fails.
Evaluator guarded(Evaluator inner);
// Splits into batches of at most `size`; runs them in parallel where the inner one allows it.
Evaluator batched(Evaluator inner, std::size_t size);
// Failed candidates are tried again, up to `attempts` times in all.
Evaluator with_retry(Evaluator inner, int attempts);

// Scores by canonical genotype and fidelity, shared by runs: one sweep of accuracy serves every device.
class ScoreCache {
 public:
  explicit ScoreCache(std::size_t metrics);
  ~ScoreCache();
  std::size_t size() const;
  // False when unknown.
  bool find(const Genotype& genotype, double fidelity, std::span<double> values) const;
  void insert(const Genotype& genotype, double fidelity, std::span<const double> values);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
// Known genotypes are not scored again and duplicates inside a batch are scored once; failures are not kept.
Evaluator cached(Evaluator inner, std::shared_ptr<ScoreCache> cache);

// Several evaluators side by side: the metrics of all, in order. A candidate fails when one fails it.
Evaluator combined(std::vector<Evaluator> parts);

}  // namespace nas::search
