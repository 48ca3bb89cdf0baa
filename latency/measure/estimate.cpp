#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "latency/measure/kernel_set.h"
#include "latency/measure/profiler.h"

namespace nas::latency {
namespace {

namespace fs = std::filesystem;

double work_of(const Kernel& kernel) {
  return static_cast<double>(
      std::max<std::int64_t>(macs(kernel.anchor).count(), kernel.anchor.in.elements()));
}

double cores() { return std::max(1u, std::thread::hardware_concurrency()); }

// Without touching the device: a build takes about 0.15 s; one MAC a cycle, samples of at least 50 us, six
// visits with warm-up.
double guessed(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
               const MeasureOptions& options) {
  double seconds = 0;
  for (const Kernel& kernel : kernels) {
    const double hertz = device.clock_mhz > 0 ? device.clock_mhz * 1e6 : 2e9;
    const double sample = std::max(options.min_sample_secs, work_of(kernel) / hertz);
    seconds += 0.15 / cores() +
               std::min(options.max_secs, 1.6 * std::max<std::uint32_t>(options.num_runs, 60) * sample);
  }
  return seconds;
}

// Builds and measures a few kernels, everything new, in a folder of its own: seconds of the whole.
Result<double> timed(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                     const ProfileOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  NAS_TRY(info, describe_session(device, options));
  NAS_CHECK(profile_kernels(device, kernels, options, info, {}));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Probe {
  double fixed = 0;  // seconds of a session
  double build = 0;  // seconds a kernel
  double run = 0;
};

// The rates of this machine as it is now, from a few kernels that fill the set.
Result<Probe> probe(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                    ProfileOptions options) {
  const fs::path folder = options.cache / ("probe-" + std::to_string(::getpid()));
  options.cache = folder;
  options.measure.baseline_secs = 0;
  const std::vector<Kernel> few = space_filling(kernels, 5);
  const auto measure_few = [&]() -> Result<Probe> {
    // The first one also builds what is built once: the counter, the agent.
    const auto one = std::span(few).first(1), rest = std::span(few).subspan(few.size() > 1 ? 1 : 0);
    NAS_CHECK(timed(device, one, options));
    NAS_TRY(alone, timed(device, one, options));
    NAS_TRY(fresh, timed(device, rest, options));
    NAS_TRY(again, timed(device, rest, options));
    const double n = static_cast<double>(rest.size());
    double work = 0, mean = 0;
    for (const Kernel& kernel : rest) work += work_of(kernel) / n;
    for (const Kernel& kernel : kernels) mean += work_of(kernel) / static_cast<double>(kernels.size());
    // Emulators take longer for more work; on a device the protocol makes samples equally long.
    const double larger = device.counts_instructions() ? std::max(1.0, mean / std::max(1.0, work)) : 1;
    const double run = std::max(0.2 * again / n, n > 1 ? (again - alone) / (n - 1) : again);
    return Probe{std::max(0.0, alone - run), std::max(0.0, fresh - again) / n, run * larger};
  };
  auto result = measure_few();
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return result;
}

}  // namespace

TimeEstimate estimated_seconds(const devices::DeviceProfile& device, std::span<const Kernel> kernels,
                               const ProfileOptions& options, bool may_measure) {
  if (kernels.empty()) return {0, "nothing to measure"};
  const bool here = device.counts_instructions() || device.transport.kind == devices::TransportKind::local;
  if (!here || !may_measure)
    return {guessed(device, kernels, options.measure), "guessed from clock and size"};
  const auto rates = probe(device, kernels, options);
  if (!rates)
    return {guessed(device, kernels, options.measure),
            "guessed: a probe failed (" + rates.error().message.substr(0, 120) + ")"};
  const double count = static_cast<double>(kernels.size());
  // Emulators: batches of 16 kernels, each built and run on one core. Agents: builds already side by side.
  const double lanes = device.counts_instructions() ? std::min(cores(), std::ceil(count / 16)) : 1;
  return {rates->fixed + count * (rates->build + rates->run) / lanes + options.measure.baseline_secs,
          "a few kernels built and measured just now"};
}

}  // namespace nas::latency
