#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "latency/measure/drift.h"
#include "latency/measure/statistics.h"
#include "space/base/result.h"

namespace nas::latency {

// What the measuring protocol drives: a device that runs kernels, and a clock. Tests give a simulated one.
struct Bench {
  // Seconds of each sample; one sample is `inner` runs, after `warmups` runs that do not count.
  std::function<Result<std::vector<double>>(std::size_t kernel, std::uint32_t inner, std::uint32_t samples,
                                            std::uint32_t warmups)>
      run;
  std::function<double()> now;  // seconds, for budgets and for drift
  double timer_step = 1e-7;     // seconds
};

// TFLite's benchmark words where it has them.
struct MeasureOptions {
  std::uint32_t num_runs = 50;    // samples of a kernel at least, at the undisturbed speed
  std::uint32_t warmup_runs = 3;  // before every visit at least
  double max_secs = 2.0;          // measuring time of one kernel at most
  double half_width = 0.02;       // stop when the kernel's own interval is that narrow, relative
  double confidence = 0.95;
  double min_sample_secs = 50e-6;   // a sample repeats the kernel until it lasts that long
  std::uint32_t visit_samples = 5;  // samples of one visit
  std::uint32_t max_visits = 60;
  std::size_t reference_every = 20;  // visits between two of the reference kernel; 0: no drift correction
  double baseline_secs = 1.0;        // of reference visits first
  double checkpoint_secs = 10;       // between two tellings of what is not finished yet
  // Kernels that are interleaved with one another. All of them: a kernel's visits are spread over the
  // session, and see as much of the machine's wander as another session's would.
  std::size_t block = SIZE_MAX;
  std::uint64_t seed = 1;
};

// One kernel as measured: seconds of one run, drift divided out.
struct Measured {
  std::size_t kernel = 0;
  Summary summary;      // over the samples that count
  double estimate = 0;  // median of the visits' medians
  Range interval;       // of the estimate, for this device: with the speed's wander in the session
  Range own;            // of the estimate at the session's speed: what `steady` is judged by
  bool has_interval = false;
  bool steady = false;       // its own interval is as narrow as asked for
  bool provisional = false;  // told before the session's end: the baseline may change, visits may be added
  std::size_t visits = 0;
  std::size_t counted = 0;                 // visits at the undisturbed speed
  std::uint32_t inner = 1;                 // runs in a sample
  double drift = 1;                        // median factor that was divided out
  double spent = 0;                        // seconds on the device
  std::string failure = {};                // why there is no number; everything above is then without meaning
  std::vector<double> visit_medians = {};  // raw, in order, before drift was divided out
  std::vector<double> visit_references = {};  // the reference kernel's time around each visit
};

// Visits of a kernel in a session that was interrupted.
struct EarlierVisits {
  std::size_t kernel = 0;
  std::vector<double> medians;
  std::vector<double> references;
  double spent = 0;
};

// What the caller hears and decides. A kernel that crashed its agent is given up, not the session.
struct MeasureHooks {
  // Each kernel as soon as it is finished and, provisionally, every now and then before; once more at the end
  // where the baseline has changed what it says.
  std::function<void(const Measured&)> done;
  std::function<bool(const Error&)> recover;  // true: the bench works again, go on with the rest
  std::function<bool()> stop;                 // true: end early, what was measured is told
  // After every visit to a reference kernel, with the median of its samples in seconds. May be empty.
  std::function<void(std::size_t kernel, double seconds)> reference = {};
};

// Measures `kernels` (indices the bench knows) in rounds of random order, with visits of the `reference`
// kernel between them (drift.h says what for). A kernel is finished when its interval is narrow enough and it
// has num_runs samples, or when max_secs are spent. `earlier` visits count; `references` are others of the
// same session. Returns the baseline. Fails when the bench cannot recover.
Result<Baseline> measure(const Bench& bench, std::span<const std::size_t> kernels, std::size_t reference,
                         const MeasureOptions& options, const MeasureHooks& hooks,
                         std::span<const EarlierVisits> earlier = {},
                         std::span<const double> references = {});

}  // namespace nas::latency
