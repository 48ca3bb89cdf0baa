#pragma once
#include "supernet/detail/weights.h"
#include "supernet/supernet.h"

namespace nas::supernet {

struct Supernet::Impl {
  WeightTable weights;
};

NamedTensor to_named(const std::string& name, const at::Tensor& value);
// A tensor of the values on the device; shapes must be checked before.
at::Tensor from_named(const NamedTensor& named, at::Device device);

}  // namespace nas::supernet
