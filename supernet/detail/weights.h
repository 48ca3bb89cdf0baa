#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/network.h"
#include "supernet/parts.h"

namespace nas::supernet {

struct ParameterKey {
  Site site;
  LayerKind kind;
  Part part;
  friend auto operator<=>(const ParameterKey&, const ParameterKey&) = default;
};

struct Parameter {
  ParameterKey key;
  std::string name;  // "stage1.block2.depthwise.weight", unique in the supernet
  std::vector<std::int64_t> shape;
  at::Tensor value;
  bool decay = true;  // false for biases, norms, tokens: no weight decay
};

// Every parameter of a set of networks at its largest, found by the place of the layer that uses it.
class WeightTable {
 public:
  // Empty weights (zeros) that hold every network added so far; add all, then initialise.
  WeightTable(bool kernel_transform, double batch_norm_epsilon)
      : kernel_transform_(kernel_transform), epsilon_(batch_norm_epsilon) {}
  void add(const Network& network);
  void allocate(at::Device device);
  // He-normal by fan-out for convolutions, uniform 1/sqrt(fan-in) for linear layers, truncated normal 0.02
  // for tokens and positions, ones and zeros for norms, identity for kernel transforms.
  void initialise(std::uint64_t seed);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::vector<Parameter>& parameters() { return parameters_; }
  int find(const ParameterKey& key) const;
  int find(std::string_view name) const;
  bool kernel_transform() const { return kernel_transform_; }
  double batch_norm_epsilon() const { return epsilon_; }
  // Kernel sizes met at a depthwise site, ascending; transforms chain through them.
  const std::vector<int>& kernel_sizes(const Site& site) const;
  // Fails, naming the layer, when the network needs a weight that is not here or is larger than stored.
  Result<void> holds(const Network& network) const;
  WeightTable clone() const;  // same shapes, copied values

 private:
  void grow(const ParameterKey& key, const std::vector<std::int64_t>& shape);
  bool kernel_transform_;
  double epsilon_;
  std::map<ParameterKey, std::vector<std::int64_t>> shapes_;
  std::map<ParameterKey, int> index_;
  std::map<Site, std::vector<int>> kernel_sizes_;
  std::vector<Parameter> parameters_;
};

// The part of a stored tensor that an active shape selects, as a view.
at::Tensor slice(const at::Tensor& stored, const std::vector<std::int64_t>& shape, bool centre);

// Kernels of convolutions are cropped around their centre, everything else is a prefix.
inline bool crops_centre(const ParameterKey& key) {
  return key.kind == LayerKind::conv && key.part == Part::weight;
}

}  // namespace nas::supernet
