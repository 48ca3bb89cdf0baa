#include "latency/measure/energy.h"

#include <cstdlib>

#include "space/base/file.h"

namespace nas::latency {
namespace {

namespace fs = std::filesystem;

Result<std::uint64_t> read_count(const fs::path& file) {
  NAS_TRY(text, read_file(file, 64));
  char* rest = nullptr;
  const std::uint64_t count = std::strtoull(text.c_str(), &rest, 10);
  if (rest == text.c_str() || (*rest != '\n' && *rest != 0))
    return Error{"an energy counter must be a whole number, found " + text, file.string(), ErrorKind::device};
  return count;
}

}  // namespace

Result<EnergyCounter> EnergyCounter::open(const fs::path& folder) {
  EnergyCounter counter;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    // Packages only ("intel-rapl:0"): cores and caches ("intel-rapl:0:1") are counted in them.
    if (!name.starts_with("intel-rapl:") || name.find(':', 11) != std::string::npos) continue;
    Package package;
    package.file = entry.path() / "energy_uj";
    const auto count = read_count(package.file);
    if (!count)
      return Error{
          "the energy counter cannot be read (make it readable for this user): " + count.error().message,
          package.file.string(), ErrorKind::device};
    package.last = *count;
    if (const auto range = read_count(entry.path() / "max_energy_range_uj")) package.range = *range;
    counter.packages_.push_back(std::move(package));
  }
  if (counter.packages_.empty())
    return Error{
        "this machine shows no energy counter (RAPL): energy can only be modelled, from the device's "
        "`energy` coefficients",
        folder.string(), ErrorKind::device};
  return counter;
}

Result<double> EnergyCounter::joules() {
  double sum = 0;
  for (Package& package : packages_) {
    NAS_TRY(now, read_count(package.file));
    const std::uint64_t gone = now >= package.last ? now - package.last : now + package.range - package.last;
    package.last = now;
    package.sum += static_cast<double>(gone);
    sum += package.sum;
  }
  return sum * 1e-6;
}

Result<double> idle_watts(EnergyCounter& counter, const std::function<double()>& now,
                          const std::function<void()>& wait) {
  NAS_TRY(before, counter.joules());
  const double begin = now();
  wait();
  NAS_TRY(after, counter.joules());
  const double seconds = now() - begin;
  if (!(seconds > 0)) return Error{"idle power needs time to pass", "", ErrorKind::device};
  return (after - before) / seconds;
}

Result<double> joules_a_run(EnergyCounter& counter, double idle, std::uint64_t runs,
                            const std::function<double()>& now, const std::function<Result<void>()>& work) {
  NAS_TRY(before, counter.joules());
  const double begin = now();
  NAS_CHECK(work());
  NAS_TRY(after, counter.joules());
  const double joules = after - before - idle * (now() - begin);
  if (!(joules > 0)) return Error{"no energy above the idle machine's was seen", "", ErrorKind::device};
  return joules / static_cast<double>(runs);
}

std::optional<KernelEnergy> modelled_energy(const devices::DeviceProfile& device, const std::string& unit,
                                            double value) {
  const devices::EnergyModel& model = device.energy;
  const std::string source = "modelled: " + model.source;
  // mW times ns are picojoules.
  if (unit == "ns" && model.active_milliwatts)
    return KernelEnergy{*model.active_milliwatts * value * 1e-3, source};
  if (unit == "instructions" && model.picojoules_per_instruction)
    return KernelEnergy{*model.picojoules_per_instruction * value * 1e-3, source};
  return {};
}

}  // namespace nas::latency
