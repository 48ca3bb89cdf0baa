#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "space/base/result.h"
#include "space/base/units.h"
#include "space/cost.h"
#include "space/fusion.h"
#include "space/kernel.h"
#include "space/network.h"

namespace nas {

// A depthwise convolution may write over its input if nothing else reads that and the elements have the same
// bits; what it needs beside it to do so.
enum class DepthwiseInPlace : std::uint8_t {
  off,
  free,   // no buffer: the lower edge of what any runtime can do
  lines,  // padding + 1 input rows are kept aside, row by row
  plane,  // two padded planes of one channel, 2 (H+2p)(W+2p) elements (TinyEngine, channel by channel)
};

// A dense convolution or pooling may start its output before the end of its dying input.
enum class ConvOverlap : std::uint8_t {
  off,
  rows,  // safe for a kernel that walks rows (1x1: pixels) up or down and buffers nothing
  full,  // max(in, out) wherever they lie: the lower edge of what any runtime can do, no kernel's promise
};

// What a runtime can do with activation memory; tensors lie in HWC order. The defaults are the plainest
// runtime.
struct MemoryOptions {
  Precision precision{8, 8};
  FusionRules fusion;
  bool count_input = true;            // the image lies in the arena
  bool in_place_elementwise = false;  // add, activation, batch norm, squeeze-excite write over a dying input
  DepthwiseInPlace depthwise = DepthwiseInPlace::off;
  ConvOverlap overlap = ConvOverlap::off;
  bool whole_layers = true;         // false: layers are patches, whose share of the padding is not known
  bool fold_padding = true;         // false: a padded copy of the input is made before the kernel
  std::int32_t im2col_columns = 0;  // k > 1 dense: columns of k*k*c_in 16-bit values kept as scratch
  std::int64_t alignment = 1;       // bytes; tensor sizes are rounded up to it
};

// Named option sets: "plain", "in-place" (upper edge of the bracket of reference figures), "overlap" (lower
// edge), "tinyengine" (in-place depthwise with its plane buffer, two im2col columns). Unknown: lists them.
Result<MemoryOptions> memory_preset(std::string_view name);
std::vector<std::string> memory_preset_names();
// A preset with changes: "tinyengine,overlap=rows,im2col=1". Options and their values are listed in
// docs/cost.md and in the error of an unknown one.
Result<MemoryOptions> memory_model(std::string_view text);

// One thing the runtime does: reads up to two tensors, writes one. Tensors are named by the step that writes
// them; execution order is index order.
struct MemoryStep {
  std::int32_t layer = 0;  // anchor layer in the network
  std::array<std::int32_t, 2> inputs{-1, -1};
  std::int64_t output = 0;   // bytes
  std::int64_t scratch = 0;  // bytes alive during this step only
  // Bytes of the output that may lie over input i if this step is its last reader. `lead` says where.
  // kSameStart: exactly where the input starts. kAnywhere: as it likes. Else, of input 0 only, the output
  // starts `lead` or more bytes before the input (the kernel walks rows upwards), or `lag` or more behind its
  // start (downwards).
  std::array<std::int64_t, 2> shared{0, 0};
  std::array<std::int64_t, 2> lead{0, 0};
  std::int64_t lag = 0;
};
inline constexpr std::int64_t kSameStart = -1;
inline constexpr std::int64_t kAnywhere = -2;

// The last step's output is the result: it is alive to the end.
struct MemoryProgram {
  std::vector<MemoryStep> steps;
};

// Scratch of the functions below; one per thread, reused, so that a warm call allocates nothing.
struct MemoryWorkspace {
  Fusion fusion;
  MemoryProgram program;
  std::vector<std::int32_t> step_of_layer;
  std::vector<std::int32_t> last_reader;
  std::vector<std::int64_t> dying;
};

void memory_program(const Network& network, const MemoryOptions& options, MemoryWorkspace& workspace,
                    MemoryProgram& program);
MemoryProgram memory_program(const Network& network, const MemoryOptions& options);

struct MemoryPeak {
  Bytes bytes;
  std::int32_t step = 0;
  std::int32_t layer = 0;
};

// Peak over the steps of: tensors alive + scratch - what the output shares with a dying input.
MemoryPeak peak_memory(const MemoryProgram& program, MemoryWorkspace& workspace);
MemoryPeak peak_memory(const Network& network, const MemoryOptions& options, MemoryWorkspace& workspace);
MemoryPeak peak_memory(const Network& network, const MemoryOptions& options);

// Bytes alive during every step; the peak is its maximum.
std::vector<std::int64_t> live_bytes(const MemoryProgram& program);

// First and last step in which each tensor is alive.
struct Lifetime {
  std::int32_t first = 0;
  std::int32_t last = 0;
};
std::vector<Lifetime> lifetimes(const MemoryProgram& program);

}  // namespace nas
