// Latency of genotypes of the once-for-all space, by a table compiled for search and by lowering each
// network. Counter genotypes_per_second, one thread. The table's times are modelled (work, traffic and a
// start per kernel); the speed does not depend on them.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>

#include "latency/measure/kernel_set.h"
#include "latency/table.h"
#include "search/additive.h"
#include "space/base/rng.h"
#include "space/learn/linear.h"
#include "space/learn/trees.h"

namespace nas {
namespace {

struct Bench {
  SearchSpace space = *load_space("ofa-mbv3-w1.0");
  latency::LatencyTable table = make_table(space);
  search::Additive compiled = compile();
  std::vector<Genotype> genotypes;

  Bench() {
    for (std::uint64_t i = 0; i < 4096; ++i) {
      Rng rng(1, "bench latency", i);
      genotypes.push_back(space.sample_canonical(rng));
    }
    // The compiled form must give the very bits of the slow one.
    for (std::size_t i = 0; i < 200; ++i)
      if (compiled(genotypes[i]) != *table.value(space.lower(genotypes[i]), {})) std::abort();
  }

  static latency::LatencyTable make_table(const SearchSpace& space) {
    latency::Session session{{"s", "modelled", "p", "c", "fp32", "ns", space.name(), ""}, {}};
    for (const Kernel& k :
         latency::reachable_kernels(space, {}, {32, 32}, {.random_networks = 300}).kernels) {
      latency::KernelRecord r;
      r.signature = signature(k);
      r.median = 1000 + 0.05 * static_cast<double>(macs(k.anchor).count()) +
                 0.9 * static_cast<double>(k.anchor.out.elements());
      session.kernels.push_back(std::move(r));
    }
    auto table = latency::LatencyTable::make(session);
    if (!table) std::abort();
    return *std::move(table);
  }

  search::Additive compile() const {
    const std::vector<std::string> names{"latency"};
    auto made = search::compile_additive(
        space, [&](const Genotype& g, std::span<double> out) { out[0] = *table.value(space.lower(g), {}); },
        names, {.tolerance = 0});
    if (!made[0]) std::abort();
    return *std::move(made[0]);
  }
};

const Bench& shared() {
  static const Bench bench;
  return bench;
}

template <class Score>
void run(benchmark::State& state, Score score) {
  const Bench& b = shared();
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(score(b, b.genotypes[i]));
    i = (i + 1) % b.genotypes.size();
  }
  state.counters["genotypes_per_second"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void compiled_scorer(benchmark::State& state) {
  run(state, [](const Bench& b, const Genotype& g) { return b.compiled(g); });
}
BENCHMARK(compiled_scorer);

void network_by_network(benchmark::State& state) {
  run(state, [](const Bench& b, const Genotype& g) { return *b.table.value(b.space.lower(g), {}); });
}
BENCHMARK(network_by_network);

// Fits of the ladder's rungs to 5,000 rows of 145 zeros and ones: seconds each, one thread.
struct FitData {
  learn::Matrix x{5000, 145};
  std::vector<double> y;
  FitData() {
    Rng rng(2, "bench fit");
    std::vector<double> cost(x.columns);
    for (double& c : cost) c = rng.uniform(0.1, 2);
    for (std::size_t i = 0; i < x.rows; ++i) {
      double sum = 5;
      for (std::size_t j = 0; j < x.columns; ++j)
        if (rng.chance(0.3)) sum += cost[j], x(i, j) = 1;
      y.push_back(sum * std::exp(0.02 * rng.normal()));
    }
  }
};

const FitData& fit_data() {
  static const FitData data;
  return data;
}

void fit_ridge(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(learn::fit_ridge_best(fit_data().x, fit_data().y, std::vector{1e-5, 1e-3}));
}
BENCHMARK(fit_ridge)->Unit(benchmark::kSecond);

void fit_nonnegative(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(learn::fit_nonnegative(fit_data().x, fit_data().y));
}
BENCHMARK(fit_nonnegative)->Unit(benchmark::kSecond);

void fit_trees(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(learn::Trees::fit(fit_data().x, fit_data().y, {.rounds = 600, .depth = 5}));
}
BENCHMARK(fit_trees)->Unit(benchmark::kSecond)->Iterations(1);

}  // namespace
}  // namespace nas

BENCHMARK_MAIN();
