#include "latency/measure/agent_session.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "devices/agent_client.h"
#include "devices/failure.h"
#include "latency/measure/energy.h"

namespace nas::latency {
namespace {

using devices::AgentClient;
using devices::Failure;
using devices::KernelCode;
using std::chrono::milliseconds;

constexpr double kNano = 1e9;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_today() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The agent of one session on its device: started again when a kernel brings it down.
class AgentBench {
 public:
  AgentBench(AgentOpener open, const ProfileOptions& options) : open_(std::move(open)), options_(options) {}

  Result<void> start() {
    client_.reset();
    NAS_TRY(line, open_());
    NAS_TRY(client, AgentClient::connect(std::move(line), milliseconds(20000)));
    if (client.info().tick_hz == 0)
      return devices::device_failure(Failure::rejected, "the agent has no clock that can be trusted");
    client_.emplace(std::move(client));
    return {};
  }

  Result<std::vector<double>> run(std::size_t kernel, std::uint32_t inner, std::uint32_t samples,
                                  std::uint32_t warmups) {
    if (!client_) NAS_CHECK(start());
    const double budget = 20 * options_.measure.max_secs + 20;
    const auto ticks = client_->run({static_cast<int>(kernel), inner, samples, warmups, options_.cold},
                                    milliseconds(static_cast<long>(1000 * budget)));
    if (!ticks) return ticks.error();
    std::vector<double> seconds;
    for (const std::uint64_t t : *ticks)
      seconds.push_back(static_cast<double>(t) / static_cast<double>(client_->info().tick_hz));
    return seconds;
  }

  AgentClient& client() { return *client_; }
  // What the device says of itself now; nothing when it cannot be asked.
  std::optional<std::map<std::string, std::string>> probe() {
    if (!client_) return {};
    if (auto state = client_->probe()) return *std::move(state);
    return {};
  }
  double timer_step() const {
    return static_cast<double>(client_->info().timer_step) / static_cast<double>(client_->info().tick_hz);
  }
  void finish() {
    if (client_) client_->finish();
  }

 private:
  AgentOpener open_;
  const ProfileOptions& options_;
  std::optional<AgentClient> client_;
};

// What is left of a time when the call into the engine is taken off; never under 1 % of it.
double without_call(double seconds, double call) { return std::max(seconds - call, 0.01 * seconds); }

// `call`: seconds of an empty call, taken off everything but the raw medians of visits.
KernelRecord record_of(const Measured& m, const KernelCode& code, double call, bool corrected) {
  KernelRecord r;
  r.signature = code.signature;
  r.failure = m.failure;
  if (!m.failure.empty()) return r;
  r.n = m.summary.count;
  r.visits = m.visits;
  const auto nanoseconds = [call](double seconds) { return without_call(seconds, call) * kNano; };
  r.median = nanoseconds(m.estimate);
  r.low = nanoseconds(m.interval.low);
  r.high = nanoseconds(m.interval.high);
  r.own_low = nanoseconds(m.own.low);
  r.own_high = nanoseconds(m.own.high);
  r.mean = nanoseconds(m.summary.mean);
  r.deviation = m.summary.deviation * kNano;
  r.min = nanoseconds(m.summary.min);
  r.p05 = nanoseconds(m.summary.p05);
  r.p90 = nanoseconds(m.summary.p90);
  r.outliers = m.summary.outliers;
  r.inner = m.inner;
  r.drift = m.drift;
  r.spent = m.spent;
  r.steady = m.steady;
  r.provisional = m.provisional;
  r.arena_bytes = code.arena_bytes;
  for (const double seconds : m.visit_medians) r.visit_medians.push_back(seconds * kNano);
  if (corrected)
    for (const double seconds : m.visit_references) r.visit_references.push_back(seconds * kNano);
  return r;
}

// The reference kernel: the session's own where it goes on, else the median of the list by arena, neither a
// trifle nor a giant.
std::size_t choose_reference(std::span<const KernelCode> codes, const std::string& known) {
  if (const auto found = std::ranges::find(codes, known, &KernelCode::signature); found != codes.end())
    return static_cast<std::size_t>(found - codes.begin());
  std::vector<std::size_t> order(codes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {},
                    [&](std::size_t i) { return std::pair(codes[i].arena_bytes, codes[i].signature); });
  return order[order.size() / 2];
}

void note_state(AgentBench& bench, const std::string& when, SessionInfo& info) {
  if (const auto state = bench.probe())
    for (const auto& [key, value] : *state) info.context[when + "." + key] = value;
}

// Reads the machine's energy counter around half a second of each kernel.
class EnergyMeter {
 public:
  static Result<EnergyMeter> make(SessionInfo& info) {
    NAS_TRY(counter, EnergyCounter::open());
    NAS_TRY(idle, idle_watts(counter, steady_seconds,
                             [] { std::this_thread::sleep_for(std::chrono::milliseconds(500)); }));
    info.context["idle power, taken off [W]"] = std::to_string(idle);
    return EnergyMeter(std::move(counter), idle);
  }
  std::optional<KernelEnergy> measure(AgentBench& agent, const Measured& m) {
    const double runs = std::clamp(0.5 / m.estimate, 1.0, 1e9);
    const auto joules = joules_a_run(
        counter_, idle_, static_cast<std::uint64_t>(runs), steady_seconds, [&]() -> Result<void> {
          const auto ran = agent.run(m.kernel, static_cast<std::uint32_t>(runs), 1, 0);
          return ran ? Result<void>() : Result<void>(ran.error());
        });
    if (!joules) return {};
    return KernelEnergy{*joules * 1e9, "measured: RAPL packages less " + std::to_string(idle_) + " W idle"};
  }

 private:
  EnergyMeter(EnergyCounter counter, double idle) : counter_(std::move(counter)), idle_(idle) {}
  EnergyCounter counter_;
  double idle_;
};

// What one pass works with.
struct Bed {
  AgentBench& agent;
  std::span<const KernelCode> codes;
  const ProfileOptions& options;
  const ProfileHooks& hooks;
  std::size_t reference = 0;
  double call = 0;               // seconds of an empty call, taken off
  EnergyMeter* meter = nullptr;  // null: energy is not measured
  StateRecorder* states = nullptr;
};

// What an interrupted session knows already.
struct Earlier {
  std::vector<EarlierVisits> visits;
  std::vector<double> references;
};

Earlier earlier_of(const Bed& bed) {
  Earlier known;
  if (bed.codes[bed.reference].signature != bed.options.reference) return known;
  const auto in_seconds = [](std::vector<double> values) {
    for (double& value : values) value /= kNano;
    return values;
  };
  for (const KernelRecord& r : bed.options.earlier) {
    const auto code = std::ranges::find(bed.codes, r.signature, &KernelCode::signature);
    const std::vector<double> references = in_seconds(r.visit_references);
    if (r.provisional && code != bed.codes.end())
      known.visits.push_back({static_cast<std::size_t>(code - bed.codes.begin()), in_seconds(r.visit_medians),
                              references, r.spent});
    else
      known.references.insert(known.references.end(), references.begin(), references.end());
  }
  return known;
}

// Tells how many kernels' worth of visits are done: all kernels near their end together.
class VisitCount {
 public:
  VisitCount(const Bed& bed, std::size_t total)
      : bed_(bed),
        total_(total),
        visits_(bed.codes.size(), 0),
        wanted_(std::max(1u, bed.options.measure.num_runs / bed.options.measure.visit_samples)) {}
  void ran(std::size_t kernel, std::uint32_t samples) {
    if (samples != bed_.options.measure.visit_samples || kernel == bed_.reference ||
        ++visits_[kernel] > wanted_)
      return;
    if (++counted_ % wanted_ == 0 && bed_.hooks.progress)
      bed_.hooks.progress(counted_ / wanted_, total_, bed_.codes[kernel].signature);
  }

 private:
  const Bed& bed_;
  std::size_t total_, counted_ = 0;
  std::vector<std::size_t> visits_;
  std::size_t wanted_;
};

Bench bench_of(const Bed& bed, VisitCount& count) {
  Bench bench;
  bench.run = [&bed, &count](std::size_t k, std::uint32_t inner, std::uint32_t samples,
                             std::uint32_t warmups) {
    count.ran(k, samples);
    return bed.agent.run(k, inner, samples, warmups);
  };
  bench.now = steady_seconds;
  bench.timer_step = bed.agent.timer_step();
  return bench;
}

// The protocol over the kernels at `indices`.
Result<Baseline> run_protocol(const Bed& bed, std::span<const std::size_t> indices) {
  std::optional<Error> stored;
  std::map<std::size_t, std::optional<KernelEnergy>> energies;
  VisitCount count(bed, indices.size());
  MeasureHooks inner;
  inner.done = [&](const Measured& measured) {
    KernelRecord record =
        record_of(measured, bed.codes[measured.kernel], bed.call, bed.options.measure.reference_every > 0);
    if (bed.meter != nullptr && record.failure.empty() && !record.provisional) {
      if (!energies.contains(measured.kernel))
        energies[measured.kernel] = bed.meter->measure(bed.agent, measured);
      record.energy = energies[measured.kernel];
    }
    if (bed.hooks.done && !stored)
      if (const auto kept = bed.hooks.done(record); !kept) stored = kept.error();
  };
  int lost = 0;
  inner.recover = [&](const Error& error) {
    if (devices::failure_of(error) == Failure::rejected) return true;
    return ++lost <= 20 && static_cast<bool>(bed.agent.start());
  };
  inner.stop = [&] { return stored.has_value() || (bed.hooks.stop && bed.hooks.stop()); };
  if (bed.states != nullptr)
    inner.reference = [&](std::size_t kernel, double seconds) {
      bed.states->visited(bed.codes[kernel].signature, seconds * kNano);
    };
  const Bench bench = bench_of(bed, count);
  const Earlier earlier = earlier_of(bed);
  NAS_TRY(baseline, measure(bench, indices, bed.reference, bed.options.measure, inner, earlier.visits,
                            earlier.references));
  if (stored) return *stored;
  return baseline;
}

// Seconds of calling an engine whose kernel, the one at `index`, does next to nothing.
Result<double> time_empty_call(AgentBench& agent, std::span<const KernelCode> codes, std::size_t index,
                               const ProfileOptions& options) {
  double nanoseconds = 0;
  ProfileHooks hooks;
  hooks.done = [&](const KernelRecord& r) -> Result<void> {
    if (!r.failure.empty()) return Error{"an empty call failed: " + r.failure, "", ErrorKind::device};
    nanoseconds = r.median;
    return {};
  };
  NAS_CHECK(run_protocol({agent, codes, options, hooks, index}, std::vector{index}));
  return nanoseconds * 1e-9;
}

}  // namespace

Result<void> measure_with(const AgentOpener& open, const devices::AgentBuild& build,
                          std::span<const KernelCode> codes, const ProfileOptions& options, SessionInfo& info,
                          const ProfileHooks& hooks, bool empty_call) {
  AgentBench agent(open, options);
  NAS_CHECK(agent.start());
  if (agent.client().info().build != build.id)
    return devices::device_failure(
        Failure::rejected, "the agent must be build " + build.id + ", found " + agent.client().info().build);
  const std::size_t reference = choose_reference(codes, options.reference);
  info.context["reference"] = codes[reference].signature;
  info.context["platform"] = agent.client().info().platform;
  note_state(agent, "before", info);
  if (hooks.begun) NAS_CHECK(hooks.begun(info));
  double call = 0;
  if (empty_call) {
    NAS_TRY(seconds, time_empty_call(agent, codes, codes.size() - 1, options));
    call = seconds;
    info.context["empty call, taken off [ns]"] = std::to_string(call * 1e9);
  }
  std::vector<std::size_t> indices(codes.size() - (empty_call ? 1 : 0));
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = i;
  std::optional<EnergyMeter> meter;
  if (options.energy) {
    NAS_TRY(made, EnergyMeter::make(info));
    meter.emplace(std::move(made));
  }
  StateRecorder states(
      steady_seconds, seconds_today, [&] { return agent.probe(); },
      [&](const DeviceState& state) {
        if (hooks.state) hooks.state(state);
      });
  const Bed bed{agent, codes, options, hooks, reference, call, meter ? &*meter : nullptr, &states};
  NAS_TRY(baseline, run_protocol(bed, indices));
  if (options.measure.reference_every > 0) {
    info.context["reference speed [ns]"] = std::to_string(baseline.value * kNano);
    info.context["reference wander"] = std::to_string(baseline.wander);
  }
  states.finish();
  note_state(agent, "after", info);
  agent.finish();
  return {};
}

}  // namespace nas::latency
