#include "devices/drawn_weights.h"

#include <algorithm>
#include <cmath>

namespace nas::devices {

DrawnWeights draw_weights(Rng& rng, std::int64_t channels, std::int64_t per_channel, bool depthwise,
                          std::int32_t largest_code) {
  DrawnWeights drawn;
  const auto count = static_cast<std::size_t>(channels), per = static_cast<std::size_t>(per_channel);
  drawn.values.resize(count * per);
  std::vector<double> reals(per);
  for (std::size_t c = 0; c < count; ++c) {
    double largest = 1e-6, squares = 0;
    for (double& real : reals) {
      real = rng.normal();
      largest = std::max(largest, std::fabs(real));
    }
    for (std::size_t i = 0; i < per; ++i) {
      const double q = std::round(largest_code * reals[i] / largest);
      drawn.values[depthwise ? i * count + c : c * per + i] = static_cast<std::int8_t>(q);
      squares += q * q;
    }
    drawn.deviations.push_back(std::sqrt(squares / static_cast<double>(per)));
  }
  return drawn;
}

}  // namespace nas::devices
