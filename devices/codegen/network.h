#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "devices/codegen/generate.h"
#include "space/arena.h"
#include "space/quantized_network.h"

namespace nas::devices::codegen {

// A network as one C translation unit.
struct GeneratedNetwork {
  std::string header;  // net.h: NET_ARENA_BYTES, NET_FLASH_BYTES, shapes, scales and the three functions
  std::string source;  // net.c
  std::int64_t arena_bytes = 0;        // exactly what the planner said
  std::int64_t arena_bound = 0;        // liveness peak: no plan can be smaller
  std::int64_t weight_bytes = 0;       // constants of the network: weights, biases, multipliers, tables
  std::vector<std::string> functions;  // of every op, in order
};

// Kernel and numbers of op `index`, as the generator takes them.
Result<NamedKernel> kernel_of(const QuantizedNetwork& network, std::size_t index);

// C99 of the whole network: void net_run(void *arena) reads net_input(arena) and leaves the result at
// net_output(arena). No other memory, no malloc, nothing from libc but memcpy and memset. Depthwise
// convolutions of stride 1 and elementwise operations run in place. Same network, same bytes.
Result<GeneratedNetwork> generate_network(const QuantizedNetwork& network,
                                          const CodegenOptions& options = {});

// What the generated code computes, by the direct loops of reference.h: the int8 result for an int8 input.
Result<std::vector<std::int8_t>> run_reference(const QuantizedNetwork& network,
                                               std::span<const std::int8_t> input,
                                               Rounding rounding = Rounding::single);

}  // namespace nas::devices::codegen
