#pragma once
#include <string>
#include <vector>

#include "supernet/quantize/simulation.h"
#include "tests/export/random_network.h"

namespace nas::supernet {

using testing_support::random_images;
using testing_support::random_network;
using Values = std::vector<float>;

inline TrainedNetwork network_of(const char* space_name, int resolution, std::uint64_t seed = 5) {
  const SearchSpace space = *load_space(space_name, {.classes = 10, .resolutions = {resolution}});
  Genotype g = space.smallest();
  for (std::size_t i = 0; i < g.size(); ++i)
    g[i] = static_cast<std::uint8_t>(space.genes()[i].choices.size() / 2);
  return random_network(space, space.canonical(g), seed);
}

inline NamedTensor& tensor(TrainedNetwork& t, std::int32_t layer, const char* part) {
  return const_cast<NamedTensor&>(*t.find(static_cast<std::size_t>(layer), part));
}

inline double difference(const TrainedNetwork& a, const TrainedNetwork& b, std::span<const Values> images) {
  return relative_error(outputs(FloatExecutor(*fold(a)), images), outputs(FloatExecutor(*fold(b)), images));
}

}  // namespace nas::supernet
