#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "space/base/result.h"
#include "supernet/quantize/folding.h"

namespace nas::supernet {

// A deployed network on LibTorch's own operators, as a program that only has LibTorch would run it: batch 1,
// channels last, no gradients, float. On CUDA the whole is captured into one graph that run() launches
// without waiting for it.
class TorchEngine {
 public:
  // `device`: "cpu" or "cuda". Fails when this LibTorch has no CUDA or the machine no such device.
  static Result<TorchEngine> make(const FoldedNetwork& network, const std::string& device);
  TorchEngine(TorchEngine&&) noexcept;
  ~TorchEngine();

  void run();
  // The result for an input H x W x C, in the same order; waits for it.
  std::vector<float> output_of(std::span<const float> input);

 private:
  struct Impl;
  explicit TorchEngine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Threads of one operator on the processor.
void set_engine_threads(int threads);
// Nanoseconds on the current CUDA stream's own clock, by events; waits until all that was launched is done.
// Null without CUDA.
std::uint64_t (*cuda_clock())();
std::string torch_version();

}  // namespace nas::supernet
