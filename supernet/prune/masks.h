#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supernet/trained_network.h"

namespace nas::supernet {

// Which single weights become zero. share: the smallest of every dense layer, so many of all. n of m: of
// every m weights in a row (along the inputs of an output channel) only the n largest stay.
struct MaskPattern {
  double share = 0;
  std::int32_t n = 0, m = 0;  // m 0: by share
};
// "0.5", "2:4". Fails (usage) on a share outside [0, 1), n >= m, m > 16.
Result<MaskPattern> parse_mask(std::string_view text);

// Per dense layer (convolutions and linear layers, depthwise not), which weights stay; by tensor name.
struct Mask {
  MaskPattern pattern;
  std::vector<std::pair<std::string, std::vector<std::uint8_t>>> stays;
};
Mask make_mask(const TrainedNetwork& trained, const MaskPattern& pattern);
void apply(const Mask& mask, TrainedNetwork& trained);

// Bytes of the masked layers' weights at 8 bits: dense; the ones that stay and a bitmap (or, n of m, the
// place of each within its m). No kernel here skips zeros: a mask makes files smaller, not inference faster.
struct MaskedSize {
  std::int64_t weights = 0, zeros = 0;
  std::int64_t dense_bytes = 0, masked_bytes = 0;
};
MaskedSize masked_size(const Mask& mask);

}  // namespace nas::supernet
