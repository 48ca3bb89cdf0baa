#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "space/base/result.h"
#include "space/memory.h"
#include "space/network.h"

namespace nas {

// The primitive operations into which deployed networks are written: batch norms folded, activations fused,
// squeeze-excites taken apart.
enum class DeployedKind : std::uint8_t {
  conv,  // dense, square kernel, zero padding
  depthwise,
  fully_connected,  // over all elements of the input
  add,
  scale_channels,  // input times a [C, 1, 1] gate
  average_pool,    // kernel 0: the whole picture
  max_pool,
  activation,  // elementwise on its own
};

// Which weights of the layer an operation uses.
enum class DeployedPart : std::uint8_t { none, main, squeeze, excite };

struct DeployedOp {
  DeployedKind kind = DeployedKind::conv;
  DeployedPart part = DeployedPart::none;
  Activation activation = Activation::none;    // fused after it
  std::int32_t layer = 0;                      // the layer it comes from
  std::int32_t batch_norm = -1;                // the layer folded into it
  std::array<std::int32_t, 2> inputs{-1, -1};  // tensors: 0 is the network's input, i + 1 the output of op i
  Shape in, out;
  std::int32_t kernel = 1, stride = 1, padding = 0;
  // Of an integer form: of the weights and of the result. The layer's own, 8 where it chose none.
  std::uint8_t weight_bits = 8, activation_bits = 8;
};

// A network as a list of operations in execution order; the last one's output is the result.
struct Deployment {
  Shape input;
  std::vector<DeployedOp> ops;
};

// Weights that make one output channel; 0 for operations without weights.
std::int64_t weights_per_channel(const DeployedOp& op);

// Fails on a layer that has no such form (transformers, grouped convolutions, batch norms that follow no
// convolution), naming the layer.
Result<Deployment> deploy(const Network& network);

// Tensors and lifetimes of the operations for plan_arena(), one byte an element: step 0 brings the input.
// With `in_place`, depthwise convolutions of stride 1 and elementwise operations write over an input that
// dies with them. `scratch[i]`: bytes that op i needs while it runs.
MemoryProgram memory_program(const Deployment& deployment, const std::vector<std::int64_t>& scratch,
                             std::int64_t element_bytes, bool in_place);

// May op i write where its first input lies? True for depthwise of stride 1 and elementwise operations.
bool can_run_in_place(const DeployedOp& op);

}  // namespace nas
