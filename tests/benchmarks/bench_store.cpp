#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "results/queue.h"
#include "results/runs.h"
#include "results/store.h"

// What the store costs. The project of a million candidates is made once, in the folder for temporary files.
namespace nas::results {
namespace {

constexpr std::int64_t kMillion = 1'000'000;

template <class T>
T need(Result<T> result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
  return *std::move(result);
}
void need(const Result<void>& result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
}

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("hwnas-bench-store-" + std::to_string(::getpid()));
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::vector<Candidate> make_rows(std::int64_t first, std::int64_t n) {
  std::vector<Candidate> rows(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    Candidate& row = rows[static_cast<std::size_t>(i)];
    const std::int64_t number = first + i;
    row = {.number = number,
           .arch_id = 1 + number % 1000,
           .generation = number / 100,
           .made_by = "mutation",
           .state = number % 3 == 0 ? CandidateState::infeasible : CandidateState::ok,
           .accuracy = static_cast<double>(number * 7919 % 100003) / 100003,
           .latency_ms = static_cast<double>(number % 977) / 10,
           .params = 1'000'000 + number,
           .macs = 20'000'000 + number};
  }
  return rows;
}

void add_space(Store& store) {
  need(store.db().run("INSERT INTO space VALUES(1, 's', '{}', 'x')"));
  std::vector<Architecture> archs(1000);
  for (std::size_t i = 0; i < archs.size(); ++i)
    archs[i] = {.space_id = 1, .hash = hash_text(std::to_string(i)), .genes = Bytes8(21, 1)};
  need(keep_architectures(store, archs));
}

// A hundred runs of ten thousand candidates each.
const std::filesystem::path& big_project() {
  static const Folder folder;
  static const bool made = [] {
    Store store = need(Store::open(folder.path));
    add_space(store);
    for (int run = 0; run < 100; ++run) {
      const Id id = need(add_run(store, {.kind = "search"}));
      need(add_candidates(store, id, make_rows(0, kMillion / 100)));
      need(set_front(store, id, std::vector<std::int64_t>{1, 2, 4, 5}, 5));
    }
    return true;
  }();
  (void)made;
  return folder.path;
}

// What `hwnas ls` does: open, list the runs with their counts.
void list_a_project_of_a_million_candidates(benchmark::State& state) {
  const auto& path = big_project();
  for (auto _ : state) {
    Store store = need(Store::open(path, {.access = Access::read}));
    auto runs = need(list_runs(store));
    auto counts = need(progress(store));
    benchmark::DoNotOptimize(runs);
    benchmark::DoNotOptimize(counts);
    if (runs.size() != 100) state.SkipWithError("a run is missing");
  }
}
BENCHMARK(list_a_project_of_a_million_candidates)->Unit(benchmark::kMillisecond);

void best_hundred_and_front_of_a_run(benchmark::State& state) {
  Store store = need(Store::open(big_project(), {.access = Access::read}));
  for (auto _ : state) {
    auto best = need(best_candidates(store, 50, 100));
    auto members = need(front(store, 50));
    benchmark::DoNotOptimize(best);
    if (best.size() != 100 || members.size() != 4) state.SkipWithError("candidates are missing");
  }
}
BENCHMARK(best_hundred_and_front_of_a_run)->Unit(benchmark::kMillisecond);

void count_and_average_all_million(benchmark::State& state) {
  Store store = need(Store::open(big_project(), {.access = Access::read}));
  for (auto _ : state)
    benchmark::DoNotOptimize(need(store.db().value<double>("SELECT avg(latency_ms) FROM candidate")));
}
BENCHMARK(count_and_average_all_million)->Unit(benchmark::kMillisecond);

// The store's share of a search: one generation of 100 candidates with their architectures and a snapshot.
void store_a_generation(benchmark::State& state) {
  const Folder folder;
  Store store = need(Store::open(folder.path));
  add_space(store);
  const Id run = need(add_run(store, {.kind = "search"}));
  std::int64_t generation = 0;
  for (auto _ : state) {
    auto transaction = need(store.begin());
    need(add_candidates(store, run, make_rows(100 * generation, 100)));
    need(add_snapshot(store, run, generation, Bytes8(10'000, 1)));
    need(transaction.commit());
    ++generation;
  }
  state.counters["candidates_per_second"] =
      benchmark::Counter(100.0 * static_cast<double>(generation), benchmark::Counter::kIsRate);
}
BENCHMARK(store_a_generation)->Unit(benchmark::kMillisecond);

void claim_and_finish(benchmark::State& state) {
  const Folder folder;
  Store store = need(Store::open(folder.path));
  need(submit(store, {.name = "r"}, std::vector<Task>(200'000, {.kind = "a"})));
  const Worker worker = need(sign_on(store, "w", {}, ""));
  for (auto _ : state) {
    const auto task = need(claim(store, worker));
    if (!task) {
      state.SkipWithError("the queue ran dry");
      break;
    }
    need(finish(store, worker, task->id, task->attempt, {.word = "done"}));
  }
  state.counters["tasks_per_second"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(claim_and_finish)->Unit(benchmark::kMicrosecond)->Iterations(20'000);

}  // namespace
}  // namespace nas::results
