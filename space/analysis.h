#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/base/units.h"
#include "space/memory.h"
#include "space/search_space.h"

namespace nas {

// Search-space analysis, stage one of MCUNet (Lin et al., NeurIPS 2020): among sub-spaces of one width and
// one resolution, those whose fitting networks do the most work promise the best accuracy. Nothing is
// trained.
struct AnalysisOptions {
  Bytes max_ram;                 // peak activation memory
  Bytes max_flash;               // weight bytes
  std::uint64_t samples = 1000;  // networks drawn per sub-space
  std::uint64_t seed = 1;
  MemoryOptions memory;     // with the precision
  double min_share = 0.01;  // sub-spaces of which less fits are ranked behind all others
};

struct SubSpace {
  std::string name;        // "width=0.5 resolution=144"
  std::vector<int> genes;  // fixed genes and their choices
  std::vector<std::uint8_t> choices;
  double share = 0;  // of the samples within both limits
  // MACs of those that fit, zero when none does.
  double mean_macs = 0;
  Macs p10, p50, p80, p90;
};

// All combinations of the choices of `width` and `resolution` (those genes that the space has), best mean
// MACs of the fitting networks first. Draws are keyed by (seed, sub-space, index): the same for any number of
// threads. Fails when the space has neither gene or there is nothing to draw.
Result<std::vector<SubSpace>> analyse(const SearchSpace& space, const AnalysisOptions& options);

}  // namespace nas
