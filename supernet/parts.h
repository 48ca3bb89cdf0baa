#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "space/network.h"

namespace nas::supernet {

// The tensors that make up a layer's weights.
enum class Part : std::uint8_t {
  weight,
  bias,
  scale,  // batch norm, layer norm
  shift,
  reduce_weight,  // squeeze-excite
  reduce_bias,
  expand_weight,
  expand_bias,
  query_weight,  // attention
  query_bias,
  key_weight,
  key_bias,
  value_weight,
  value_bias,
  project_weight,
  project_bias,
  table,  // learned positions
  class_token,
  transform,         // kernel transform from the largest kernel to the next one
  transform_second,  // … and from that to the one after
};

std::string_view to_string(Part part);

// What a layer needs of one parameter: the active shape, a prefix of the stored one (kernels: its centre).
struct PartShape {
  Part part;
  std::vector<std::int64_t> shape;
};
std::vector<PartShape> parts_of(const Layer& layer);

}  // namespace nas::supernet
