#pragma once
#include <cstddef>
#include <string>

#include "devices/codegen/emit.h"

namespace nas::devices::codegen {

// A depthwise kernel copies `lanes` channels of some rows, with their padding, into a plane in scratch,
// computes all output rows that these allow, and goes on with the next strip of rows; rows that the next
// strip needs again are moved to the top of the plane. So every input is read before its place can be
// overwritten: in place works.
struct DepthwisePlan {
  int lanes = 1;          // channels side by side in the plane
  int element_bytes = 1;  // of one lane
  int pitch = 0;          // picture elements (of all lanes) from one plane row to the next
  int strip = 0;          // output rows computed at once
  int rows = 0;           // plane rows
  int carry = 0;          // rows kept for the next strip
  std::size_t plane_bytes() const {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(pitch * lanes * element_bytes);
  }
};

DepthwisePlan plan_depthwise(const KernelSpec& spec, const Shape& out, int lanes, int element_bytes,
                             int pitch, std::size_t limit);

// The texts that differ between targets.
struct DepthwiseText {
  std::string tensor_type;    // of the tensors, "int8_t"
  std::string element_type;   // of the plane, "int16_t"
  std::string fill;           // padding
  std::string channel_setup;  // statements before the strips of channel(s) c
  std::string rows_call;      // statement that computes n rows from `plane` to output + (y * OW) * C + c
};

// A depthwise kernel's filters of `lanes` channels side by side, at hand for the rows: where they lie as they
// are, or in a local array when they are packed, with the statements that unpack them before channel c, times
// 2^raised.
struct DepthwiseFilters {
  std::string array;  // text of "NAME_weights"
  std::string setup;
  std::string pointer;  // the filters of channel(s) c
};
DepthwiseFilters depthwise_filters(const Int8Job& job, int lanes, int raised = 0);

// The gathering helper and the function itself; helpers that rows_call uses must come before it.
std::string depthwise_driver(const std::string& name, const KernelSpec& spec, const Shape& out,
                             const DepthwisePlan& plan, const DepthwiseText& text);

// HWC weights as [block of `lanes` channels][tap][lane], filled up with zeros.
template <class T>
std::vector<T> depthwise_blocks(const std::vector<T>& weights, int channels, int lanes) {
  const int taps = static_cast<int>(weights.size()) / channels;
  std::vector<T> result;
  for (int block = 0; block < channels; block += lanes)
    for (int tap = 0; tap < taps; ++tap)
      for (int c = block; c < block + lanes; ++c)
        result.push_back(c < channels ? weights[static_cast<std::size_t>(tap) * channels + c] : T{0});
  return result;
}

}  // namespace nas::devices::codegen
