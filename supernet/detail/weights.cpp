#include "supernet/detail/weights.h"

#include <c10/core/GradMode.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>

#include "space/base/rng.h"

namespace nas::supernet {
namespace {

using Dims = std::vector<std::int64_t>;

bool decays(Part part) {
  switch (part) {
    case Part::weight:
    case Part::reduce_weight:
    case Part::expand_weight:
    case Part::query_weight:
    case Part::key_weight:
    case Part::value_weight:
    case Part::project_weight:
    case Part::transform:
    case Part::transform_second:
      return true;
    default:
      return false;
  }
}

std::string parameter_name(const ParameterKey& key) {
  Layer layer;
  layer.kind = key.kind;
  layer.site = key.site;
  return layer_name(layer) + "." + std::string(to_string(key.part));
}

void fill_normal(at::Tensor& host, Rng& rng, double deviation) {
  float* p = host.data_ptr<float>();
  for (std::int64_t i = 0; i < host.numel(); ++i) p[i] = static_cast<float>(deviation * rng.normal());
}

void fill_uniform(at::Tensor& host, Rng& rng, double bound) {
  float* p = host.data_ptr<float>();
  for (std::int64_t i = 0; i < host.numel(); ++i) p[i] = static_cast<float>(rng.uniform(-bound, bound));
}

at::Tensor initial_value(const Parameter& parameter, std::uint64_t seed) {
  at::Tensor host = at::zeros(parameter.shape, at::kFloat);
  Rng rng(seed, "init " + parameter.name);
  const Dims& s = parameter.shape;
  switch (parameter.key.part) {
    case Part::scale:
      host.fill_(1);
      break;
    case Part::transform:
    case Part::transform_second:
      host.copy_(at::eye(s[0]));
      break;
    case Part::table:
    case Part::class_token:
      fill_normal(host, rng, 0.02);
      break;
    case Part::weight:
      if (s.size() == 4)
        fill_normal(host, rng,
                    std::sqrt(2.0 / static_cast<double>(s[0] * s[2] * s[3] / (s[1] == 1 ? s[0] : 1))));
      else
        fill_uniform(host, rng, 1.0 / std::sqrt(static_cast<double>(s[1])));
      break;
    case Part::reduce_weight:
    case Part::expand_weight:
    case Part::query_weight:
    case Part::key_weight:
    case Part::value_weight:
    case Part::project_weight:
      fill_uniform(host, rng, 1.0 / std::sqrt(static_cast<double>(s[1])));
      break;
    default:
      break;
  }
  return host;
}

}  // namespace

at::Tensor slice(const at::Tensor& stored, const Dims& shape, bool centre) {
  at::Tensor view = stored;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const auto dim = static_cast<std::int64_t>(d);
    const std::int64_t room = view.size(dim) - shape[d];
    if (room > 0) view = view.narrow(dim, centre && d >= 2 ? room / 2 : 0, shape[d]);
  }
  return view;
}

void WeightTable::grow(const ParameterKey& key, const Dims& shape) {
  Dims& stored = shapes_.try_emplace(key, shape).first->second;
  for (std::size_t d = 0; d < shape.size(); ++d) stored[d] = std::max(stored[d], shape[d]);
}

void WeightTable::add(const Network& network) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    for (const PartShape& p : parts_of(l)) grow({l.site, l.kind, p.part}, p.shape);
    if (!is_depthwise(l)) continue;
    std::vector<int>& sizes = kernel_sizes_[l.site];
    if (std::find(sizes.begin(), sizes.end(), l.kernel) != sizes.end()) continue;
    sizes.push_back(l.kernel);
    std::sort(sizes.begin(), sizes.end());
  }
}

void WeightTable::allocate(at::Device device) {
  if (kernel_transform_)
    for (const auto& [site, sizes] : kernel_sizes_)
      for (std::size_t i = 0; i + 1 < sizes.size() && i < 2; ++i) {
        const std::int64_t k = sizes[sizes.size() - 2 - i];
        shapes_[{site, LayerKind::conv, i == 0 ? Part::transform : Part::transform_second}] = {k * k, k * k};
      }
  parameters_.clear();
  for (const auto& [key, shape] : shapes_) {
    index_[key] = static_cast<int>(parameters_.size());
    parameters_.push_back({key, parameter_name(key), shape,
                           at::zeros(shape, at::TensorOptions().dtype(at::kFloat).device(device)),
                           decays(key.part)});
  }
}

void WeightTable::initialise(std::uint64_t seed) {
  tbb::parallel_for(std::size_t{0}, parameters_.size(), [&](std::size_t i) {
    const c10::NoGradGuard no_grad;
    parameters_[i].value.copy_(initial_value(parameters_[i], seed));
  });
}

int WeightTable::find(const ParameterKey& key) const {
  const auto it = index_.find(key);
  return it == index_.end() ? -1 : it->second;
}

int WeightTable::find(std::string_view name) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].name == name) return static_cast<int>(i);
  return -1;
}

const std::vector<int>& WeightTable::kernel_sizes(const Site& site) const {
  static const std::vector<int> kNone;
  const auto it = kernel_sizes_.find(site);
  return it == kernel_sizes_.end() ? kNone : it->second;
}

Result<void> WeightTable::holds(const Network& network) const {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    for (const PartShape& p : parts_of(l)) {
      const int at = find({l.site, l.kind, p.part});
      const std::string what = layer_name(l) + "." + std::string(to_string(p.part));
      if (at < 0)
        return usage_error("the supernet holds no weights for " + what +
                           ": is the network of another search space?");
      const Dims& stored = parameters_[static_cast<std::size_t>(at)].shape;
      for (std::size_t d = 0; d < p.shape.size(); ++d)
        if (p.shape[d] > stored[d])
          return usage_error("weights of " + what + ": the network needs " + std::to_string(p.shape[d]) +
                             " along dimension " + std::to_string(d) + ", the supernet holds " +
                             std::to_string(stored[d]));
    }
    if (!is_depthwise(l) || !kernel_transform_) continue;
    const auto& sizes = kernel_sizes(l.site);
    if (std::find(sizes.begin(), sizes.end(), l.kernel) == sizes.end())
      return usage_error("kernel size " + std::to_string(l.kernel) + " of " + layer_name(l) +
                         " is not one that the supernet was made with");
  }
  return {};
}

WeightTable WeightTable::clone() const {
  WeightTable copy = *this;
  for (Parameter& p : copy.parameters_) p.value = p.value.clone();
  return copy;
}

}  // namespace nas::supernet
