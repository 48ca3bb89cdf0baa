#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

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
  std::uint32_t num_runs = 50;    // samples of a kernel at least
  std::uint32_t warmup_runs = 3;  // before every visit at least
  double max_secs = 2.0;          // measuring time of one kernel at most
  double half_width = 0.02;       // stop when the interval of the median is that narrow, relative
  double confidence = 0.95;
  double min_sample_secs = 50e-6;    // a sample repeats the kernel until it lasts that long
  std::uint32_t visit_samples = 10;  // samples of one visit
  std::uint32_t max_visits = 60;
  std::size_t reference_every = 20;  // visits between two of the reference kernel; 0: no drift correction
  double baseline_secs = 1.0;        // of reference visits first: they show the undisturbed speed
  std::size_t block = 100;           // kernels that are interleaved with one another
  std::uint64_t seed = 1;
};

// One kernel as measured: seconds of one run, drift divided out.
struct Measured {
  std::size_t kernel = 0;
  Summary summary;      // over all samples
  double estimate = 0;  // median of the visits' medians
  Range interval;       // of the estimate
  bool has_interval = false;
  bool steady = false;  // the interval is as narrow as asked for
  std::size_t visits = 0;
  std::uint32_t inner = 1;                 // runs in a sample
  double drift = 1;                        // median factor that was divided out
  double spent = 0;                        // seconds on the device
  std::string failure = {};                // why there is no number; everything above is then without meaning
  std::vector<double> visit_medians = {};  // raw, in order, before drift was divided out
};

// What the caller hears and decides. A kernel that crashed its agent is given up, not the session.
struct MeasureHooks {
  std::function<void(const Measured&)> done;  // each kernel as soon as it is finished
  std::function<bool(const Error&)> recover;  // true: the bench works again, go on with the rest
  std::function<bool()> stop;                 // true: end early, finished kernels are kept
};

// Measures `kernels` (indices the bench knows): in blocks, in rounds of random order, with visits of the
// `reference` kernel between them whose slow or fast spells are divided out. A kernel is finished when its
// interval is narrow enough and it has num_runs samples, or when max_secs are spent. Fails when the bench
// cannot recover.
Result<void> measure(const Bench& bench, std::span<const std::size_t> kernels, std::size_t reference,
                     const MeasureOptions& options, const MeasureHooks& hooks);

// Factor by which the device is slower than usual at each of `times`: the median of the three nearest
// reference visits over `usual`. `reference_times` ascend.
std::vector<double> drift_factors(std::span<const double> times, std::span<const double> reference_times,
                                  std::span<const double> reference_values, double usual);

}  // namespace nas::latency
