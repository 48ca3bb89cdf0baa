#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/codegen/generate.h"
#include "devices/codegen/patches.h"
#include "space/arena.h"
#include "space/quantized_network.h"

namespace nas::devices::codegen {

// Where a tensor lies in the arena.
struct TensorPlace {
  std::int64_t offset = 0;
  std::int64_t bytes = 0;  // 0: it exists in windows only
};

// A network as one C translation unit.
struct GeneratedNetwork {
  std::string header;  // net.h: NET_ARENA_BYTES, NET_FLASH_BYTES, shapes, scales and the three functions
  std::string source;  // net.c
  std::int64_t arena_bytes = 0;        // exactly what the planner said
  std::int64_t arena_bound = 0;        // liveness peak: no plan can be smaller
  std::int64_t weight_bytes = 0;       // constants of the network: weights, biases, multipliers, tables
  std::vector<std::string> functions;  // of every op, in order
  std::vector<TensorPlace> places;     // of the input and of every op's output, while the next op runs
  std::vector<std::int64_t> op_weight_bytes;  // constants of every op
  std::vector<std::int64_t> op_arena_bytes;   // alive while an op runs: tensors and scratch
  PatchStage patches;
  double patch_macs = 1;  // MACs of the patch stage over those of the same operations run whole
};

// Kernel and numbers of op `index`, as the generator takes them. Rounding::twice means all of TensorFlow
// Lite 2.2's arithmetic: its activation tables too, and its multiplier of two tensors in single precision.
Result<NamedKernel> kernel_of(const QuantizedNetwork& network, std::size_t index,
                              Rounding rounding = Rounding::single);

// C99 of the whole network: void net_run(void *arena) reads net_input(arena) and leaves the result at
// net_output(arena). No other memory, no malloc, nothing from libc but memcpy, memset and, with patches,
// memmove. Depthwise convolutions of stride 1 and elementwise operations run in place. With `patches` the
// first operations run window by window, with the same result; NET_BEFORE and NET_AFTER then see the stage as
// its last operation. Same network, same bytes.
Result<GeneratedNetwork> generate_network(const QuantizedNetwork& network, const CodegenOptions& options = {},
                                          const PatchStage& patches = {});

// Bytes of the arena that generate_network() would say.
Result<std::int64_t> planned_arena(const QuantizedNetwork& network, const CodegenOptions& options,
                                   const PatchStage& stage);

// The patch stage with the fewest extra MACs, then the smallest arena, whose arena is at most `ram` bytes and
// smaller than that of whole layers; without `ram` the one with the smallest arena, then the fewest MACs.
// `grid`: windows a side; 0: any number, and whole layers where they fit. Fails (infeasible) naming the
// smallest arena that there is.
Result<PatchStage> choose_patches(const QuantizedNetwork& network, const CodegenOptions& options,
                                  std::int32_t grid, std::optional<std::int64_t> ram = {});

// Called with the number and the values of every tensor: 0 the input, i + 1 the output of op i.
using Int8Observer = std::function<void(std::size_t tensor, std::span<const std::int8_t> values)>;

// What the generated code computes, by the direct loops of reference.h: the int8 result for an int8 input.
// Rounding::twice: what TensorFlow Lite 2.2 computes for the network with its gates folded.
Result<std::vector<std::int8_t>> run_reference(const QuantizedNetwork& network,
                                               std::span<const std::int8_t> input,
                                               Rounding rounding = Rounding::single,
                                               const Int8Observer& observe = {});

}  // namespace nas::devices::codegen
