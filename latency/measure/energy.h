#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "devices/profile.h"
#include "latency/measure/session.h"
#include "space/base/result.h"

namespace nas::latency {

// Joules that the processor packages of this machine have used, from RAPL's counters (powercap); they run
// over, which joules() sees as long as it is asked every few minutes.
class EnergyCounter {
 public:
  // Fails (device) naming the file that is absent or not readable, and what to do.
  static Result<EnergyCounter> open(const std::filesystem::path& folder = "/sys/class/powercap");
  Result<double> joules();

 private:
  struct Package {
    std::filesystem::path file;
    std::uint64_t range = 0;  // microjoules at which the counter starts anew; 0: not known
    std::uint64_t last = 0;
    double sum = 0;  // microjoules since open()
  };
  std::vector<Package> packages_;
};

// Watts of the machine while `wait` sleeps; `now` in seconds.
Result<double> idle_watts(EnergyCounter& counter, const std::function<double()>& now,
                          const std::function<void()>& wait);

// Joules of one of `runs` runs that `work` makes, the idle machine's power taken off. Fails when nothing
// above idle is left: the counter cannot tell such a kernel from the machine's own unrest.
Result<double> joules_a_run(EnergyCounter& counter, double idle, std::uint64_t runs,
                            const std::function<double()>& now, const std::function<Result<void>()>& work);

// What the profile's coefficients say about a record whose energy was not measured; empty without
// coefficients for its unit. Its source begins with "modelled".
std::optional<KernelEnergy> modelled_energy(const devices::DeviceProfile& device, const std::string& unit,
                                            double value);

}  // namespace nas::latency
