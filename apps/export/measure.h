#pragma once
#include <optional>

#include "apps/export/subject.h"
#include "devices/codegen/network.h"
#include "devices/profile.h"

namespace nas::apps {

// How the float network and its int8 form do on the same images.
struct Agreement {
  std::size_t images = 0, float_right = 0, int8_right = 0, same = 0;
  std::size_t before_right = 0;                        // the float network before quantisation-aware training
  double largest_difference = 0, mean_difference = 0;  // of a logit, real units
};

// The float network in LibTorch, the int8 one as the exported C compiled for this machine (without a
// compiler: by the integer reference, which gives the same bytes).
Result<Agreement> compare(const Subject& subject, const devices::codegen::GeneratedNetwork* made,
                          const LabelledImages& test);

// Instructions of one inference of an exported C folder on an emulated device, in all and per operation.
struct Instructions {
  std::uint64_t total = 0;
  std::vector<std::uint64_t> operations;
};
// Nothing for a device that is not emulated. Fails (infeasible) where the linker finds it too small.
Result<std::optional<Instructions>> count_instructions(const ExportFiles& files,
                                                       const devices::DeviceProfile& device,
                                                       std::size_t operations);

}  // namespace nas::apps
