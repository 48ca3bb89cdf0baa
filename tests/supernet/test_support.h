#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "space/search_space.h"
#include "supernet/detail/supernet_impl.h"
#include "supernet/supernet.h"
#include "tests/supernet/reference_network.h"

namespace nas::supernet {

inline SearchSpace space_of(const std::string& name, std::vector<int> resolutions, int classes = 10) {
  auto space = load_space(name, {classes, std::move(resolutions)});
  if (!space) throw std::runtime_error(space.error().message);
  return *space;
}

// A supernet whose every parameter is away from its special initial value (ones, zeros, identities).
inline Supernet shaken_supernet(const SearchSpace& space) {
  auto made = Supernet::make(space);
  if (!made) throw std::runtime_error(made.error().message);
  for (Parameter& p : made->impl().weights.parameters()) {
    Rng rng(3, p.name);
    for (std::int64_t i = 0; i < p.value.numel(); ++i)
      p.value.data_ptr<float>()[i] += static_cast<float>(rng.uniform(-0.08, 0.08));
  }
  return *std::move(made);
}

// Batches of random images with labels that say nothing.
inline BatchList random_list(int batches, int size, std::uint64_t seed) {
  return {batches, [=](int resolution, std::int64_t index, Batch& out) {
            Rng rng(seed, "list", static_cast<std::uint64_t>(index), static_cast<std::uint64_t>(resolution));
            out.resolution = resolution;
            out.pixels.resize(static_cast<std::size_t>(size * resolution * resolution * 3));
            for (float& v : out.pixels) v = static_cast<float>(rng.normal());
            out.labels.clear();
            for (int i = 0; i < size; ++i) out.labels.push_back(static_cast<std::int64_t>(rng.below(10)));
          }};
}

inline ReferenceSupernet reference_of(const Supernet& supernet, bool gradients) {
  ReferenceSupernet reference{{}, supernet.impl().weights.kernel_transform()};
  for (const Parameter& p : supernet.impl().weights.parameters())
    reference.leaves[p.name] = p.value.clone().set_requires_grad(gradients);
  return reference;
}

inline std::vector<float> random_pixels(std::size_t images, const Network& network, std::uint64_t seed = 1) {
  Rng rng(seed, "pixels");
  std::vector<float> pixels(images * static_cast<std::size_t>(network.layers.front().out.elements()));
  for (float& v : pixels) v = static_cast<float>(rng.normal());
  return pixels;
}

// The pixels as a contiguous NCHW tensor.
inline at::Tensor as_nchw(const std::vector<float>& pixels, const Network& network) {
  const Shape s = network.layers.front().out;
  return at::tensor(pixels).view({-1, s.height, s.width, s.channels}).permute({0, 3, 1, 2}).contiguous();
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace nas::supernet
