// The once-for-all evolution as its released finder runs it: population 100, 500 generations, a latency limit
// from a table, accuracy from a network 128-400-400-400-1. Counters: candidates_per_second counts every child
// scored (the reference's count), scored_per_second only the different ones that went through the network,
// candidates_per_cpu_second the first by processor time (of all threads), times_reference the first against
// the 5,900 a second that the released Python finder reached with four threads and OpenBLAS on such a
// machine, megaflop_per_candidate what the network's hidden layers cost (the floor), and seconds_to_best when
// the run had the accuracy that it ended with.
#include <benchmark/benchmark.h>
#include <tbb/global_control.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "search/evolution.h"
#include "search/exact.h"
#include "search/feasibility.h"
#include "search/one_hot_mlp.h"
#include "search/run.h"
#include "space/cost.h"

namespace nas::search {
namespace {

// A table of the kind a phone gives: every layer costs its work, its traffic and a start. Modelled.
Additive latency_table(const SearchSpace& space) {
  const std::vector<std::string> names{"latency_ms"};
  auto compiled = compile_additive(
      space,
      [&](const Genotype& g, std::span<double> out) {
        out[0] = 0;
        const Network network = space.lower(g);
        for (const Layer& layer : network.layers)
          out[0] += 4e-8 * static_cast<double>(macs(layer).count()) +
                    1e-6 * static_cast<double>(layer.out.elements()) + 0.01;
      },
      names);
  if (!compiled[0]) std::abort();
  return *compiled[0];
}

// 128 inputs as in the released predictor: eight resolutions, kernel and expansion of 20 blocks. The weights
// are drawn, so the landscape is rough; speed does not depend on them.
OneHotMlp accuracy_model(const SearchSpace& space, const GeneForest& forest) {
  std::vector<int> first;
  int at = 0;
  for (std::size_t g = 0; g < forest.size(); ++g) {
    const bool depth = space.genes()[g].name.ends_with("depth");
    first.push_back(depth ? -1 : at);
    if (!depth) at += static_cast<int>(forest.choices(g));
  }
  if (at != 128) std::abort();
  const std::size_t widths[] = {128, 400, 400, 400, 1};
  std::vector<Dense> layers;
  for (std::size_t l = 0; l < 4; ++l) {
    Dense layer{widths[l], widths[l + 1], {}, {}};
    Rng rng(1, "bench weights", l);
    for (std::size_t i = 0; i < layer.in * layer.out; ++i)
      layer.weight.push_back(
          static_cast<float>(rng.normal() * std::sqrt(2.0 / static_cast<double>(layer.in))));
    layer.bias.assign(layer.out, 0.0f);
    layers.push_back(std::move(layer));
  }
  auto mlp = OneHotMlp::make(forest, first, std::move(layers), 0.01, 0.7);
  if (!mlp) std::abort();
  return *std::move(mlp);
}

struct Bench {
  SearchSpace space = *load_space("ofa-mbv3-w1.0", {.resolutions = {112, 128, 144, 160, 176, 192, 208, 224}});
  GeneForest forest{space};
  Additive latency = latency_table(space);
  OneHotMlp accuracy = accuracy_model(space, forest);
  Judge judge = *Judge::make({{{"accuracy", Goal::maximise}}, {{"latency_ms", {}, limit()}}},
                             {{"accuracy", "", Source::modelled}, {"latency_ms", "ms", Source::modelled}});

  double limit() const {
    const auto reach = *range(space, latency);
    return reach.min + 0.3 * (reach.max - reach.min);
  }
  Evaluator evaluator() const {
    Evaluator e{{judge.metrics().begin(), judge.metrics().end()}, ThreadSafety::concurrent, nullptr};
    e.score = [this](std::span<const Genotype> batch, double, Scores& scores) {
      thread_local std::vector<double> out;
      out.resize(batch.size());
      accuracy.score(batch, out);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        scores.row(i)[0] = out[i];
        scores.row(i)[1] = latency(batch[i]);
      }
    };
    return e;
  }
};

const Bench& bench() {
  static const Bench kBench;
  return kBench;
}

void OfaEvolutionRun(benchmark::State& state) {
  const Bench& b = bench();
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(state.range(0)));
  const std::vector<KnownCost> known{{"latency_ms", b.latency}};
  const auto feasible = *check_feasible(b.space, b.judge, known);
  double proposals = 0, scored = 0, best = 0, to_best = 0, seconds = 0;
  const std::clock_t before = std::clock();
  for (auto _ : state) {
    OfaOptions options;
    options.generations = 500;
    Strategy strategy("ofa-evolution",
                      OfaEvolution(make_setting(b.space, b.judge, 1, feasible.screen), options));
    RunOptions run_options;
    run_options.batch = 4096;
    run_options.track_hypervolume = false;
    run_options.budget.evaluations = 60'000;
    std::optional<Row> held;
    run_options.progress = [&](const Progress& p) {
      if (p.best != held) to_best = p.seconds, held = p.best;
    };
    const auto run = run_search(b.space, b.judge, b.evaluator(), strategy, run_options);
    proposals += static_cast<double>(run->progress.proposals);
    scored += static_cast<double>(run->history.size());
    seconds += run->progress.seconds;
    best = run->history.values(*run->history.best())[0];
  }
  state.counters["candidates_per_second"] = benchmark::Counter(proposals, benchmark::Counter::kIsRate);
  state.counters["scored_per_second"] = benchmark::Counter(scored, benchmark::Counter::kIsRate);
  const double cpu = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  state.counters["candidates_per_cpu_second"] = proposals / cpu;
  state.counters["times_reference"] = proposals / seconds / 5900;
  state.counters["megaflop_per_candidate"] = 2e-6 * (400 * 400 + 400 * 400 + 400);
  state.counters["seconds_to_best"] = to_best;
  state.counters["best"] = best;
}
BENCHMARK(OfaEvolutionRun)->Arg(1)->Arg(2)->Arg(4)->Unit(benchmark::kMillisecond)->UseRealTime();

void ScoreBatch(benchmark::State& state) {
  const Bench& b = bench();
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(state.range(0)));
  std::vector<Genotype> batch;
  for (std::uint64_t i = 0; i < 960; ++i) {
    Rng rng(2, "bench batch", i);
    batch.push_back(b.space.sample(rng));
  }
  std::vector<double> out(batch.size());
  for (auto _ : state) b.accuracy.score(batch, out);
  state.counters["candidates_per_second"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 960, benchmark::Counter::kIsRate);
}
BENCHMARK(ScoreBatch)->Arg(1)->Arg(4)->Unit(benchmark::kMillisecond)->UseRealTime();

void Latency(benchmark::State& state) {
  const Bench& b = bench();
  Rng rng(2, "bench one");
  const Genotype g = b.space.sample(rng);
  for (auto _ : state) benchmark::DoNotOptimize(b.latency(g));
}
BENCHMARK(Latency);

void ExactFrontOfTheWholeSpace(benchmark::State& state) {
  const Bench& b = bench();
  std::vector<Term> terms;
  for (std::uint32_t gene = 0; gene < b.space.genes().size(); ++gene) {
    Rng rng(1, "bench accuracy", gene);
    Term term{{gene}, {0.0}};
    while (term.table.size() < b.space.genes()[gene].choices.size())
      term.table.push_back(term.table.back() - rng.uniform(0.1, 1.0));
    terms.push_back(std::move(term));
  }
  const std::vector<Additive> costs{b.latency, *Additive::make(b.space, 0, terms)};
  std::size_t points = 0;
  for (auto _ : state) {
    const auto front = exact_front(b.space, costs);
    points = front ? front->size() : 0;
  }
  state.counters["points"] = static_cast<double>(points);
}
BENCHMARK(ExactFrontOfTheWholeSpace)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace nas::search
