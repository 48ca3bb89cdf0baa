#pragma once
#include <cmath>
#include <vector>

#include "space/base/rng.h"
#include "space/search_space.h"
#include "supernet/parts.h"
#include "supernet/trained_network.h"

namespace nas::testing_support {

// A network with random weights whose activations neither vanish nor explode.
inline supernet::TrainedNetwork random_network(const SearchSpace& space, const Genotype& g,
                                               std::uint64_t seed) {
  supernet::TrainedNetwork trained;
  trained.network = space.lower(g);
  trained.provenance.space = space.name();
  trained.provenance.genotype = space.text(g);
  for (std::size_t i = 0; i < trained.network.layers.size(); ++i) {
    const Layer& layer = trained.network.layers[i];
    const auto add = [&](const std::string& part, std::vector<std::int64_t> shape, double spread,
                         double centre) {
      supernet::NamedTensor tensor{layer_name(layer) + "." + part, std::move(shape), {}};
      std::size_t n = 1;
      for (const std::int64_t d : tensor.shape) n *= static_cast<std::size_t>(d);
      Rng rng(seed, tensor.name);
      for (std::size_t k = 0; k < n; ++k)
        tensor.values.push_back(static_cast<float>(centre + spread * rng.normal()));
      if (part == "variance")
        for (float& v : tensor.values) v = std::fabs(v) + 0.1F;
      trained.tensors.push_back(std::move(tensor));
    };
    const double fan_in = static_cast<double>(layer.in.channels) / layer.groups * layer.kernel * layer.kernel;
    for (const supernet::PartShape& part : supernet::parts_of(layer)) {
      const std::string name(supernet::to_string(part.part));
      const bool weight = name.ends_with("weight");
      add(name, part.shape, weight ? std::sqrt(2 / fan_in) : 0.2, name == "scale" ? 1 : 0);
    }
    if (layer.kind == LayerKind::batch_norm) {
      add("mean", {layer.out.channels}, 0.1, 0);
      add("variance", {layer.out.channels}, 0.2, 1);
    }
  }
  return trained;
}

// Rows, columns, channels to channels, rows, columns.
inline std::vector<float> planes_of(const std::vector<float>& hwc, const Shape& s) {
  std::vector<float> chw(hwc.size());
  const auto plane = static_cast<std::size_t>(s.height * s.width),
             channels = static_cast<std::size_t>(s.channels);
  for (std::size_t p = 0; p < plane; ++p)
    for (std::size_t c = 0; c < channels; ++c) chw[c * plane + p] = hwc[p * channels + c];
  return chw;
}

// Images of smooth random blobs, H x W x C in about [-2, 2].
inline std::vector<std::vector<float>> random_images(const Shape& shape, std::size_t count,
                                                     std::uint64_t seed) {
  std::vector<std::vector<float>> images(count);
  for (std::size_t i = 0; i < count; ++i) {
    Rng rng(seed, "image", 0, i);
    const double fx = rng.uniform(0.1, 1), fy = rng.uniform(0.1, 1), phase = rng.uniform(0, 6);
    for (int y = 0; y < shape.height; ++y)
      for (int x = 0; x < shape.width; ++x)
        for (int c = 0; c < shape.channels; ++c)
          images[i].push_back(static_cast<float>(std::sin(fx * x + fy * y + phase + c) + 0.3 * rng.normal()));
  }
  return images;
}

}  // namespace nas::testing_support
