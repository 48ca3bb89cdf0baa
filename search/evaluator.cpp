#include "search/evaluator.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <exception>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "search/text.h"
#include "space/base/hash.h"

namespace nas::search {
namespace {

const std::string kNoReason;

void copy_row(const Scores& from, std::size_t source, Scores& to, std::size_t target) {
  if (from.failed(source)) return to.fail(target, from.reason(source));
  std::ranges::copy(from.row(source), to.row(target).begin());
}

// Calls the inner evaluator; a throw comes back as text.
std::string call(const Evaluator& inner, std::span<const Genotype> batch, double fidelity, Scores& scores) {
  scores.reset(batch.size(), inner.metrics.size());
  try {
    inner.score(batch, fidelity, scores);
    return {};
  } catch (const std::exception& e) {
    return std::string("the evaluator threw: ") + e.what();
  } catch (...) {
    return "the evaluator threw something that is no std::exception";
  }
}

void refuse_non_finite(const Evaluator& inner, Scores& scores) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores.failed(i)) continue;
    const auto row = scores.row(i);
    for (std::size_t m = 0; m < row.size(); ++m) {
      if (std::isfinite(row[m])) continue;
      scores.fail(i, inner.metrics[m].name + " is " + number(row[m]) + ", required a finite number");
      break;
    }
  }
}

void score_guarded(const Evaluator& inner, std::span<const Genotype> batch, double fidelity, Scores& scores) {
  std::string thrown = call(inner, batch, fidelity, scores);
  if (thrown.empty() && scores.size() == batch.size()) return refuse_non_finite(inner, scores);
  if (thrown.empty()) thrown = "the evaluator resized its scores";
  scores.reset(batch.size(), inner.metrics.size());
  if (batch.size() == 1) return scores.fail(0, thrown);
  Scores one;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    score_guarded(inner, batch.subspan(i, 1), fidelity, one);
    copy_row(one, 0, scores, i);
  }
}

}  // namespace

void Scores::reset(std::size_t candidates, std::size_t metrics) {
  metrics_ = metrics;
  values_.assign(candidates * metrics, 0.0);
  failure_.assign(candidates, -1);
  reasons_.clear();
}

void Scores::fail(std::size_t i, std::string reason) {
  failure_[i] = static_cast<std::int32_t>(reasons_.size());
  reasons_.push_back(reason.empty() ? "no reason given" : std::move(reason));
}

const std::string& Scores::reason(std::size_t i) const {
  return failed(i) ? reasons_[static_cast<std::size_t>(failure_[i])] : kNoReason;
}

Evaluator guarded(Evaluator inner) {
  Evaluator outer{inner.metrics, inner.threads, nullptr};
  outer.score = [inner = std::move(inner)](std::span<const Genotype> batch, double fidelity, Scores& scores) {
    score_guarded(inner, batch, fidelity, scores);
  };
  return outer;
}

Evaluator batched(Evaluator inner, std::size_t size) {
  Evaluator outer{inner.metrics, inner.threads, nullptr};
  size = std::max<std::size_t>(size, 1);
  outer.score = [inner = std::move(inner), size](std::span<const Genotype> batch, double fidelity,
                                                 Scores& scores) {
    if (batch.size() <= size) return inner.score(batch, fidelity, scores);
    const std::size_t parts = (batch.size() + size - 1) / size;
    std::vector<Scores> part(parts);
    const auto run = [&](std::size_t p) {
      const auto slice = batch.subspan(p * size, std::min(size, batch.size() - p * size));
      part[p].reset(slice.size(), inner.metrics.size());
      inner.score(slice, fidelity, part[p]);
    };
    if (inner.threads == ThreadSafety::concurrent)
      tbb::parallel_for(std::size_t{0}, parts, run);
    else
      for (std::size_t p = 0; p < parts; ++p) run(p);
    for (std::size_t i = 0; i < batch.size(); ++i) copy_row(part[i / size], i % size, scores, i);
  };
  return outer;
}

Evaluator with_retry(Evaluator inner, int attempts) {
  Evaluator outer{inner.metrics, inner.threads, nullptr};
  outer.score = [inner = guarded(std::move(inner)), attempts](std::span<const Genotype> batch,
                                                              double fidelity, Scores& scores) {
    inner.score(batch, fidelity, scores);
    for (int attempt = 1; attempt < attempts; ++attempt) {
      std::vector<Genotype> again;
      std::vector<std::size_t> place;
      for (std::size_t i = 0; i < batch.size(); ++i)
        if (scores.failed(i)) again.push_back(batch[i]), place.push_back(i);
      if (again.empty()) return;
      Scores second;
      inner.score(again, fidelity, second);
      Scores merged;
      merged.reset(batch.size(), scores.metrics());
      for (std::size_t i = 0, j = 0; i < batch.size(); ++i) {
        const bool retried = j < place.size() && place[j] == i;
        copy_row(retried ? second : scores, retried ? j++ : i, merged, i);
      }
      scores = std::move(merged);
    }
  };
  return outer;
}

struct ScoreCache::Impl {
  std::size_t metrics;
  mutable std::shared_mutex mutex;
  std::unordered_map<Hash128, std::size_t> place;
  std::vector<double> values;

  static Hash128 key(const Genotype& genotype, double fidelity) {
    return hash_bytes({genotype.data(), genotype.size()}, std::bit_cast<std::uint64_t>(fidelity));
  }
};

ScoreCache::ScoreCache(std::size_t metrics) : impl_(std::make_unique<Impl>()) { impl_->metrics = metrics; }
ScoreCache::~ScoreCache() = default;

std::size_t ScoreCache::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->place.size();
}

bool ScoreCache::find(const Genotype& genotype, double fidelity, std::span<double> values) const {
  const std::shared_lock lock(impl_->mutex);
  const auto found = impl_->place.find(Impl::key(genotype, fidelity));
  if (found == impl_->place.end()) return false;
  std::copy_n(impl_->values.begin() + static_cast<std::ptrdiff_t>(found->second * impl_->metrics),
              impl_->metrics, values.begin());
  return true;
}

void ScoreCache::insert(const Genotype& genotype, double fidelity, std::span<const double> values) {
  const std::unique_lock lock(impl_->mutex);
  const auto [at, fresh] = impl_->place.try_emplace(Impl::key(genotype, fidelity), impl_->place.size());
  if (fresh) impl_->values.insert(impl_->values.end(), values.begin(), values.end());
}

Evaluator cached(Evaluator inner, std::shared_ptr<ScoreCache> cache) {
  Evaluator outer{inner.metrics, inner.threads, nullptr};
  outer.score = [inner = std::move(inner), cache = std::move(cache)](std::span<const Genotype> batch,
                                                                     double fidelity, Scores& scores) {
    std::vector<Genotype> fresh;
    std::unordered_map<Hash128, std::size_t> place;  // of a genotype in `fresh`
    std::vector<std::size_t> source(batch.size(), SIZE_MAX);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (cache->find(batch[i], fidelity, scores.row(i))) continue;
      const auto [at, is_new] =
          place.try_emplace(hash_bytes({batch[i].data(), batch[i].size()}), fresh.size());
      if (is_new) fresh.push_back(batch[i]);
      source[i] = at->second;
    }
    if (fresh.empty()) return;
    Scores inside;
    inside.reset(fresh.size(), inner.metrics.size());
    inner.score(fresh, fidelity, inside);
    for (std::size_t i = 0; i < fresh.size(); ++i)
      if (!inside.failed(i)) cache->insert(fresh[i], fidelity, inside.row(i));
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (source[i] != SIZE_MAX) copy_row(inside, source[i], scores, i);
  };
  return outer;
}

Evaluator combined(std::vector<Evaluator> parts) {
  Evaluator outer;
  outer.threads = ThreadSafety::concurrent;
  for (const Evaluator& part : parts) {
    outer.metrics.insert(outer.metrics.end(), part.metrics.begin(), part.metrics.end());
    if (part.threads == ThreadSafety::one_at_a_time) outer.threads = ThreadSafety::one_at_a_time;
  }
  outer.score = [parts = std::move(parts)](std::span<const Genotype> batch, double fidelity, Scores& scores) {
    std::size_t first = 0;
    Scores one;
    for (const Evaluator& part : parts) {
      one.reset(batch.size(), part.metrics.size());
      part.score(batch, fidelity, one);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        if (one.failed(i) && !scores.failed(i)) scores.fail(i, one.reason(i));
        std::ranges::copy(one.row(i), scores.row(i).begin() + static_cast<std::ptrdiff_t>(first));
      }
      first += part.metrics.size();
    }
  };
  return outer;
}

}  // namespace nas::search
