#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/command.h"
#include "search/run_folder.h"

namespace nas::apps {

// What a device says of networks whose latency a search took from its session.
struct DeviceCheck {
  std::string metric;                           // the search's: "latency_ms", "minstr", …
  std::string device;                           // name of its profile
  std::string unit;                             // "ms" or "Minstr"
  std::vector<std::optional<double>> measured;  // by network
  std::string missing;                          // why a network has no number; empty: all have
};

// Measures whole networks on every device that the search's configuration names by a session: this machine
// and emulators here, others where they are attached. Numbers are kept in FOLDER/measured-METRIC.jsonl and in
// the project's store; what is in the file is not measured again. A device that cannot be reached is no
// error: it says why.
Result<std::vector<DeviceCheck>> measure_on_devices(const Context& context, const search::RunRecord& run,
                                                    const std::filesystem::path& folder,
                                                    const SearchSpace& space,
                                                    const std::vector<std::string>& networks);

}  // namespace nas::apps
