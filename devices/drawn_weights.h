#pragma once
#include <cstdint>
#include <vector>

#include "space/base/rng.h"

namespace nas::devices {

// Integer weights as quantisation leaves trained ones, for code that is only measured: every channel normally
// distributed with its largest at 127. (Mean |w| of trained cifar-mbv3 channels: 38 of 80 weights, 32 of 480;
// drawn: the same.) How large sums can become decides which instructions the generator may use.
struct DrawnWeights {
  std::vector<std::int8_t> values;  // channel after channel, or channels innermost for depthwise
  std::vector<double> deviations;   // root mean square of each channel
};
// `largest`: the largest code instead of 127, for weights of fewer bits.
DrawnWeights draw_weights(Rng& rng, std::int64_t channels, std::int64_t per_channel, bool depthwise,
                          std::int32_t largest = 127);

}  // namespace nas::devices
