#include <benchmark/benchmark.h>

#include "space/cost.h"
#include "space/memory.h"
#include "space/search_space.h"

namespace nas {
namespace {

// How far one network is taken; each step includes the ones before, so that differences show what limits.
enum Step { kSample, kLower, kCost, kMemory };

void networks(benchmark::State& state, Step last) {
  const SearchSpace space = *load_space("ofa-mbv3-w1.0");
  Network network;
  MemoryWorkspace workspace;
  const MemoryOptions options = *memory_preset("in-place");
  std::uint64_t i = 0;
  for (auto _ : state) {
    Rng rng(1, "bench", 0, i++);
    const Genotype g = space.sample(rng);
    benchmark::DoNotOptimize(g.data());
    if (last == kSample) continue;
    space.lower(g, network);
    benchmark::DoNotOptimize(network.layers.data());
    if (last == kLower) continue;
    Cost c = cost(network, options.precision);
    benchmark::DoNotOptimize(c);
    if (last == kCost) continue;
    MemoryPeak peak = peak_memory(network, options, workspace);
    benchmark::DoNotOptimize(peak);
  }
  state.counters["networks_per_second"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

BENCHMARK_CAPTURE(networks, sample, kSample);
BENCHMARK_CAPTURE(networks, sample_lower, kLower);
BENCHMARK_CAPTURE(networks, sample_lower_cost, kCost);
BENCHMARK_CAPTURE(networks, sample_lower_cost_memory, kMemory);

}  // namespace
}  // namespace nas
