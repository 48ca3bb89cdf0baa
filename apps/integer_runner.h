#pragma once
#include "devices/codegen/network.h"
#include "supernet/quantize/float_executor.h"

namespace nas::apps {

// Runs an int8 network on this machine, byte for byte as the exported C does (single rounding), many times
// faster than the reference's loops: sums of a weighted operation are whole numbers, which floats hold
// exactly below 2^24. Operations whose sums could leave that range go through the reference.
class IntegerRunner {
 public:
  static Result<IntegerRunner> make(const QuantizedNetwork& network);

  // Image in real units; the result in real units. Safe from many threads at once.
  std::vector<float> run(std::span<const float> image) const;
  std::vector<std::int8_t> run(std::span<const std::int8_t> image) const;

 private:
  IntegerRunner(const QuantizedNetwork& network, supernet::FloatExecutor sums,
                std::vector<devices::codegen::NamedKernel> kernels, std::vector<bool> exact)
      : network_(network), sums_(std::move(sums)), kernels_(std::move(kernels)), exact_(std::move(exact)) {}
  std::vector<std::int8_t> weighted(std::size_t op, const std::vector<std::int8_t>& in) const;

  QuantizedNetwork network_;
  supernet::FloatExecutor sums_;  // integer weights and biases as floats
  std::vector<devices::codegen::NamedKernel> kernels_;
  std::vector<bool> exact_;  // per op: its sums stay below 2^24
};

}  // namespace nas::apps
