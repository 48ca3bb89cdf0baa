#include "latency/measure/schedule.h"

#include <algorithm>
#include <cmath>

#include "space/base/rng.h"

namespace nas::latency {
namespace {

constexpr std::size_t kBaselineVisits = 5;

// A visit: some samples of one kernel in a row.
struct Visit {
  double time = 0;              // middle of it
  std::vector<double> seconds;  // per run
};

struct State {
  std::size_t kernel = 0;
  std::uint32_t inner = 0;  // 0: not calibrated yet
  double spent = 0;
  std::vector<Visit> visits;
  bool finished = false;
};

class Schedule {
 public:
  Schedule(const Bench& bench, std::size_t reference, const MeasureOptions& options,
           const MeasureHooks& hooks)
      : bench_(bench), options_(options), hooks_(hooks) {
    reference_.kernel = reference;
  }

  Result<void> run(std::span<const std::size_t> kernels) {
    const double begin = bench_.now();
    for (std::size_t i = 0;
         corrects() && (i < kBaselineVisits || bench_.now() - begin < options_.baseline_secs); ++i)
      NAS_CHECK(visit_reference());
    baseline_ = baseline();
    const std::size_t block = std::max<std::size_t>(1, options_.block);
    for (std::size_t from = 0; from < kernels.size(); from += block) {
      NAS_CHECK(run_block(kernels.subspan(from, std::min(block, kernels.size() - from))));
      if (stopped()) break;
    }
    return {};
  }

 private:
  bool stopped() const { return hooks_.stop && hooks_.stop(); }
  bool corrects() const { return options_.reference_every > 0; }

  Result<void> run_block(std::span<const std::size_t> kernels) {
    std::vector<State> states(kernels.size());
    for (std::size_t i = 0; i < kernels.size(); ++i) states[i].kernel = kernels[i];
    for (;;) {
      std::vector<State*> active;
      for (State& state : states)
        if (!state.finished) active.push_back(&state);
      if (active.empty() || stopped()) return {};
      Rng(options_.seed, "measuring order", round_++).shuffle(std::span(active));
      for (State* state : active) NAS_CHECK(visit_one(*state));
      NAS_CHECK(visit_reference());
      for (State* state : active)
        if (!state->finished) finish_if_done(*state);
    }
  }

  Result<void> visit_one(State& state) {
    if (const auto visited = visit(state); !visited) {
      give_up(state, visited.error());
      if (!hooks_.recover || !hooks_.recover(visited.error())) return visited.error();
    }
    if (corrects() && ++since_reference_ >= options_.reference_every) return visit_reference();
    return {};
  }

  Result<void> visit_reference() {
    if (!corrects()) return {};
    since_reference_ = 0;
    const auto visited = visit(reference_);
    if (visited) return {};
    if (!hooks_.recover || !hooks_.recover(visited.error())) return visited.error();
    return visit(reference_);
  }

  void give_up(State& state, const Error& error) {
    state.finished = true;
    Measured result;
    result.kernel = state.kernel;
    result.failure = error.message;
    hooks_.done(result);
  }

  // Doubles (at least) the runs of a sample until it lasts long enough to be timed, after TVM's
  // time_evaluator; meanwhile the kernel warms up: until two windows agree to 2 % or a tenth of the budget is
  // gone.
  Result<void> calibrate(State& state) {
    const double wanted = std::max(options_.min_sample_secs, 100 * bench_.timer_step);
    std::uint32_t inner = 1;
    for (int attempt = 0;; ++attempt) {
      NAS_TRY(sample, bench_.run(state.kernel, inner, 2, attempt == 0 ? options_.warmup_runs : 0));
      const double shortest = std::min(sample[0], sample[1]);
      if (shortest >= wanted) break;
      if (attempt == 40 || inner > (1u << 28))
        return Error{"the timer shows no progress: " + std::to_string(inner) + " runs took " +
                         std::to_string(shortest) + " s",
                     "", ErrorKind::device};
      const double factor = shortest > 0 ? std::clamp(1.1 * wanted / shortest, 1.618, 16.0) : 16.0;
      inner = static_cast<std::uint32_t>(std::ceil(inner * factor));
    }
    state.inner = inner;
    return warm_up(state);
  }

  Result<void> warm_up(State& state) {
    const double begin = bench_.now();
    double before = 0;
    while (bench_.now() - begin < 0.1 * options_.max_secs) {
      NAS_TRY(window, bench_.run(state.kernel, state.inner, 5, 0));
      const double now = median_of(window);
      if (before > 0 && std::abs(now - before) <= 0.02 * before) break;
      before = now;
    }
    return {};
  }

  Result<void> visit(State& state) {
    const double begin = bench_.now();
    if (state.inner == 0) NAS_CHECK(calibrate(state));
    const double start = bench_.now();
    NAS_TRY(samples, bench_.run(state.kernel, state.inner, options_.visit_samples, options_.warmup_runs));
    const double end = bench_.now();
    Visit visit{(start + end) / 2, {}};
    for (const double seconds : samples) {
      if (!(seconds > 0) || !std::isfinite(seconds))
        return Error{"a sample must last longer than 0 s, found " + std::to_string(seconds), "",
                     ErrorKind::device};
      visit.seconds.push_back(seconds / state.inner);
    }
    state.spent += end - begin;
    state.visits.push_back(std::move(visit));
    return {};
  }

  // The device's undisturbed speed, known before the first result: a low percentile, because other work on
  // the device only ever slows the reference down.
  double baseline() const {
    std::vector<double> medians;
    for (const Visit& visit : reference_.visits) medians.push_back(median_of(visit.seconds));
    std::ranges::sort(medians);
    return medians.empty() ? 1.0 : sorted_quantile(medians, 0.1);
  }

  std::vector<double> factors(const State& state) const {
    if (!corrects()) return std::vector<double>(state.visits.size(), 1.0);
    std::vector<double> times, reference_times, reference_values;
    for (const Visit& visit : state.visits) times.push_back(visit.time);
    for (const Visit& visit : reference_.visits) {
      reference_times.push_back(visit.time);
      reference_values.push_back(median_of(visit.seconds));
    }
    return drift_factors(times, reference_times, reference_values, baseline_);
  }

  void finish_if_done(State& state) {
    const std::vector<double> factor = factors(state);
    std::vector<double> medians, all, raw;
    for (std::size_t i = 0; i < state.visits.size(); ++i) {
      raw.push_back(median_of(state.visits[i].seconds));
      medians.push_back(raw.back() / factor[i]);
      for (const double seconds : state.visits[i].seconds) all.push_back(seconds / factor[i]);
    }
    Measured result;
    result.kernel = state.kernel;
    result.estimate = median_of(medians);
    if (const auto interval = median_interval(medians, options_.confidence)) {
      result.interval = *interval;
      result.has_interval = true;
      result.steady = (interval->high - interval->low) / 2 <= options_.half_width * result.estimate;
    }
    const bool enough = result.steady && all.size() >= options_.num_runs;
    if (!enough && state.spent < options_.max_secs && state.visits.size() < options_.max_visits) return;
    result.summary = summarise(all);
    result.visits = state.visits.size();
    result.inner = state.inner;
    result.drift = median_of(factor);
    result.spent = state.spent;
    result.visit_medians = std::move(raw);
    state.finished = true;
    hooks_.done(result);
  }

  const Bench& bench_;
  const MeasureOptions& options_;
  const MeasureHooks& hooks_;
  State reference_;
  double baseline_ = 1;
  std::size_t since_reference_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace

std::vector<double> drift_factors(std::span<const double> times, std::span<const double> reference_times,
                                  std::span<const double> reference_values, double usual) {
  std::vector<double> factors;
  for (const double time : times) {
    // The window of three consecutive reference visits around the time.
    const auto after = std::ranges::lower_bound(reference_times, time) - reference_times.begin();
    const std::ptrdiff_t count = std::ssize(reference_times);
    const std::ptrdiff_t width = std::min<std::ptrdiff_t>(3, count);
    std::ptrdiff_t from = after - 1;
    if (after > 0 && after < count) {
      // Two neighbours for sure; the third is the nearer of the next ones.
      const auto distance = [&](std::ptrdiff_t i) {
        return i < 0 || i >= count ? INFINITY : std::abs(reference_times[static_cast<std::size_t>(i)] - time);
      };
      if (distance(after - 2) < distance(after + 1)) from = after - 2;
    }
    from = std::clamp<std::ptrdiff_t>(from, 0, count - width);
    factors.push_back(
        median_of(reference_values.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(width))) /
        usual);
  }
  return factors;
}

Result<void> measure(const Bench& bench, std::span<const std::size_t> kernels, std::size_t reference,
                     const MeasureOptions& options, const MeasureHooks& hooks) {
  return Schedule(bench, reference, options, hooks).run(kernels);
}

}  // namespace nas::latency
