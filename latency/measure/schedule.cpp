#include "latency/measure/schedule.h"

#include <algorithm>
#include <cmath>

#include "space/base/rng.h"

namespace nas::latency {
namespace {

constexpr std::size_t kBaselineVisits = 5;
// A kernel is told once more when the baseline has changed it by this share.
constexpr double kWorthTelling = 0.001;

// A visit: some samples of one kernel in a row.
struct Visit {
  double time = 0;              // middle of it
  std::vector<double> seconds;  // per run
};

struct State {
  std::size_t kernel = 0;
  std::uint32_t inner = 0;  // 0: not calibrated yet
  double spent = 0;
  std::vector<double> earlier_medians, earlier_references;  // of visits before an interruption
  std::vector<Visit> visits;
  bool given_up = false;
  bool finished = false;
  double told = 0;  // estimate that was told last, 0: none
};

class Schedule {
 public:
  Schedule(const Bench& bench, std::size_t reference, const MeasureOptions& options,
           const MeasureHooks& hooks, std::span<const EarlierVisits> earlier,
           std::span<const double> references)
      : bench_(bench),
        options_(options),
        hooks_(hooks),
        earlier_(earlier),
        earlier_references_(references.begin(), references.end()) {
    reference_.kernel = reference;
    for (const EarlierVisits& visits : earlier)
      earlier_references_.insert(earlier_references_.end(), visits.references.begin(),
                                 visits.references.end());
  }

  // What was measured until then is told even when the device is lost.
  Result<Baseline> run(std::span<const std::size_t> kernels) {
    const Result<void> done = run_blocks(kernels);
    const Baseline baseline = tell_the_rest();
    if (!done) return done.error();
    return baseline;
  }

 private:
  bool stopped() const { return hooks_.stop && hooks_.stop(); }
  bool corrects() const { return options_.reference_every > 0; }

  Result<void> run_blocks(std::span<const std::size_t> kernels) {
    const double begin = bench_.now();
    for (std::size_t i = 0;
         corrects() && (i < kBaselineVisits || bench_.now() - begin < options_.baseline_secs); ++i)
      NAS_CHECK(visit_reference());
    told_at_ = bench_.now();
    states_.resize(kernels.size());
    for (std::size_t i = 0; i < kernels.size(); ++i) begin_at(states_[i], kernels[i]);
    std::span<State> rest = states_;
    while (!rest.empty() && !stopped()) {
      const std::size_t block = std::clamp<std::size_t>(options_.block, 1, rest.size());
      NAS_CHECK(run_block(rest.first(block)));
      rest = rest.subspan(block);
    }
    return {};
  }

  void begin_at(State& state, std::size_t kernel) const {
    state.kernel = kernel;
    const auto known = std::ranges::find(earlier_, kernel, &EarlierVisits::kernel);
    if (known == earlier_.end() || (corrects() && known->medians.size() != known->references.size())) return;
    state.earlier_medians = known->medians;
    state.earlier_references =
        corrects() ? known->references : std::vector<double>(known->medians.size(), 1.0);
    state.spent = known->spent;
  }

  Result<void> run_block(std::span<State> states) {
    for (;;) {
      std::vector<State*> active;
      for (State& state : states)
        if (!state.finished && !state.given_up) active.push_back(&state);
      if (active.empty() || stopped()) return {};
      Rng(options_.seed, "measuring order", round_++).shuffle(std::span(active));
      for (State* state : active) {
        NAS_CHECK(visit_one(*state));
        if (stopped()) return {};
      }
      NAS_CHECK(visit_reference());
      judge(states);
    }
  }

  // Finished is what was, unless a faster speed of the machine has shown since.
  void judge(std::span<State> states) {
    const Baseline baseline = this->baseline();
    const bool checkpoint = bench_.now() - told_at_ >= options_.checkpoint_secs;
    for (State& state : states) {
      if (state.given_up) continue;
      Measured result = estimate(state, baseline);
      const bool was = state.finished;
      state.finished = enough(state, result);
      result.provisional = !state.finished;
      if ((state.finished && !was) || (checkpoint && !state.finished)) tell(state, result);
    }
    if (checkpoint) told_at_ = bench_.now();
  }

  bool enough(const State& state, const Measured& result) const {
    return (result.steady && result.counted * options_.visit_samples >= options_.num_runs) ||
           state.spent >= options_.max_secs || result.visits >= options_.max_visits;
  }

  void tell(State& state, const Measured& result) {
    state.told = result.estimate;
    hooks_.done(result);
  }

  // What was cut short, and what another baseline has changed.
  Baseline tell_the_rest() {
    const Baseline baseline = this->baseline();
    for (State& state : states_) {
      if (state.given_up || (state.visits.empty() && state.earlier_medians.empty())) continue;
      Measured result = estimate(state, baseline);
      result.provisional = !state.finished;
      if (!state.finished || std::abs(result.estimate - state.told) > kWorthTelling * state.told)
        tell(state, result);
    }
    return baseline;
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
    if (const auto visited = visit(reference_); !visited) {
      if (!hooks_.recover || !hooks_.recover(visited.error())) return visited.error();
      NAS_CHECK(visit(reference_));
    }
    references_.times.push_back(reference_.visits.back().time);
    references_.values.push_back(median_of(reference_.visits.back().seconds));
    if (hooks_.reference) hooks_.reference(reference_.kernel, references_.values.back());
    return {};
  }

  void give_up(State& state, const Error& error) {
    state.given_up = true;
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

  Baseline baseline() const {
    return corrects() ? baseline_of(references_, earlier_references_) : Baseline{};
  }

  // The visits' medians, and the reference's time around each: 1, the baseline, where drift is not corrected.
  void collect(const State& state, Measured& result) const {
    std::vector<double> times;
    result.visit_medians = state.earlier_medians;
    for (const Visit& visit : state.visits) {
      result.visit_medians.push_back(median_of(visit.seconds));
      times.push_back(visit.time);
    }
    result.visit_references = state.earlier_references;
    const std::vector<double> around =
        corrects() ? reference_at(times, references_) : std::vector<double>(times.size(), 1.0);
    result.visit_references.insert(result.visit_references.end(), around.begin(), around.end());
  }

  Measured estimate(const State& state, const Baseline& baseline) const {
    Measured result;
    collect(state, result);
    const DriftFree free =
        drift_free(result.visit_medians, result.visit_references, baseline, options_.confidence);
    // Of earlier visits only the median is known.
    std::vector<double> samples;
    const std::size_t earlier = state.earlier_medians.size();
    for (std::size_t i = 0; i < free.factors.size(); ++i) {
      if (!free.counts[i]) continue;
      if (i < earlier) samples.push_back(state.earlier_medians[i] / free.factors[i]);
      if (i >= earlier)
        for (const double seconds : state.visits[i - earlier].seconds)
          samples.push_back(seconds / free.factors[i]);
      result.counted += std::abs(std::log(free.factors[i])) <= kSameSpeed;
    }
    result.kernel = state.kernel;
    result.estimate = free.value;
    result.own = free.own;
    result.interval = free.interval;
    result.has_interval = free.has_interval;
    result.steady = free.has_interval && result.counted >= kFewestVisits &&
                    (free.own.high - free.own.low) / 2 <= options_.half_width * free.value;
    result.summary = summarise(samples);
    result.visits = result.visit_medians.size();
    result.inner = std::max(1u, state.inner);
    result.drift = free.drift;
    result.spent = state.spent;
    return result;
  }

  const Bench& bench_;
  const MeasureOptions& options_;
  const MeasureHooks& hooks_;
  std::span<const EarlierVisits> earlier_;
  std::vector<double> earlier_references_;
  State reference_;
  ReferenceVisits references_;
  std::vector<State> states_;
  double told_at_ = 0;
  std::size_t since_reference_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace

Result<Baseline> measure(const Bench& bench, std::span<const std::size_t> kernels, std::size_t reference,
                         const MeasureOptions& options, const MeasureHooks& hooks,
                         std::span<const EarlierVisits> earlier, std::span<const double> references) {
  return Schedule(bench, reference, options, hooks, earlier, references).run(kernels);
}

}  // namespace nas::latency
