// Images a second of every stage of the data pipeline. The argument is the number of threads where there is
// one.
#include <benchmark/benchmark.h>
#include <tbb/global_control.h>

#include <numeric>

#include "supernet/data/loader.h"
#include "tests/supernet/data/encode.h"

namespace nas::data {
namespace {

using namespace testing_tools;

void count_images(benchmark::State& state, std::int64_t per_iteration) {
  state.counters["images_per_second"] = benchmark::Counter(
      static_cast<double>(state.iterations() * per_iteration), benchmark::Counter::kIsRate);
}

void BM_DecodeJpeg(benchmark::State& state) {
  const int side = static_cast<int>(state.range(0));
  const Bytes file = encode_jpeg(gradient(side, side).pixels, side, side, 3, 90);
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(file));
  count_images(state, 1);
}
BENCHMARK(BM_DecodeJpeg)->ArgName("side")->Arg(32)->Arg(224)->Arg(512);

void BM_DecodePng(benchmark::State& state) {
  const int side = static_cast<int>(state.range(0));
  const Bytes file = encode_png(gradient(side, side).pixels, side, side, 2, 8);
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(file));
  count_images(state, 1);
}
BENCHMARK(BM_DecodePng)->ArgName("side")->Arg(32)->Arg(224);

void BM_Resample(benchmark::State& state) {
  const Image image = gradient(256, 256);
  const int side = static_cast<int>(state.range(0));
  std::vector<float> out(static_cast<std::size_t>(3 * side * side));
  for (auto _ : state) resample(view(image), {10.5, 20.25, 200, 180}, side, side, {}, out.data());
  count_images(state, 1);
}
BENCHMARK(BM_Resample)->ArgName("to")->Arg(64)->Arg(128)->Arg(224);

// kind 0: the standard recipe; 1: with RandAugment, erasing, mixup and cutmix.
void BM_Batches(benchmark::State& state) {
  const int side = static_cast<int>(state.range(0)), resolution = static_cast<int>(state.range(1));
  const auto threads = static_cast<std::size_t>(state.range(3));
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
  static const auto small = *open_dataset("procedural:count=1000,side=32");
  static const auto large = *open_dataset("procedural:count=500,side=256");
  const auto store = side == 32 ? small : large;
  std::vector<std::uint32_t> indices(store->size());
  std::iota(indices.begin(), indices.end(), 0U);
  Augmentation augmentation = standard_augmentation(side);
  if (state.range(2) == 1) {
    augmentation.randaugment_count = 2;
    augmentation.erase = 0.25;
    augmentation.mixup = 0.2;
    augmentation.cutmix = 1;
  }
  const auto loader =
      *Loader::make(store, indices, augmentation,
                    {.batch = 64, .resolutions = {resolution}, .threads = static_cast<int>(threads)});
  for (auto _ : state) benchmark::DoNotOptimize(loader->next().pixels.data());
  count_images(state, 64);
}
BENCHMARK(BM_Batches)
    ->ArgNames({"side", "resolution", "strong", "threads"})
    ->ArgsProduct({{32}, {32}, {0, 1}, {1, 2, 4}})
    ->ArgsProduct({{256}, {64, 160, 224}, {0}, {1, 4}})
    ->ArgsProduct({{256}, {160}, {1}, {1, 4}})
    ->UseRealTime();

}  // namespace
}  // namespace nas::data
