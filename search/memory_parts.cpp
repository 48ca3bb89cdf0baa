#include "search/memory_parts.h"

#include <algorithm>
#include <map>

namespace nas::search {

PeakParts memory_parts(const SearchSpace& space, const MemoryOptions& options) {
  return [space, options](const Genotype& g) {
    const Network network = space.lower(g);
    const MemoryProgram program = memory_program(network, options);
    const std::vector<std::int64_t> live = live_bytes(program);
    std::map<std::uint32_t, double> most;
    for (std::size_t i = 0; i < live.size(); ++i) {
      const Site& site = network.layers[static_cast<std::size_t>(program.steps[i].layer)].site;
      const auto role = site.stage == 0 ? static_cast<std::uint32_t>(site.role) : 0;
      const std::uint32_t place =
          static_cast<std::uint32_t>(site.stage) << 20 | static_cast<std::uint32_t>(site.block) << 8 | role;
      most[place] = std::max(most[place], static_cast<double>(live[i]));
    }
    std::vector<PeakPart> parts;
    for (const auto& [place, bytes] : most) parts.push_back({place, bytes});
    return parts;
  };
}

}  // namespace nas::search
