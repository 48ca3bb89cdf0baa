#include "space/deployment.h"

#include <algorithm>

#include "space/kernel.h"
#include "space/quantized_network.h"

namespace nas {
namespace {

class Deployer {
 public:
  explicit Deployer(const Network& network) : network_(network), tensor_(network.layers.size(), -1) {}

  Result<Deployment> run() {
    out_.input = network_.layers.front().out;
    tensor_[0] = 0;
    for (const Kernel& kernel : kernels(network_, {.batch_norm = true, .activation = true, .add = false}))
      NAS_CHECK(append(kernel));
    return std::move(out_);
  }

 private:
  Error unsupported(const Kernel& kernel, const std::string& why) const {
    return usage_error("deployment: " + layer_name(kernel.anchor) + ": " + why +
                       "; the forms for this network are torchscript and safetensors");
  }

  std::int32_t tensor_of(std::int32_t layer) const {
    return layer < 0 ? -1 : tensor_[static_cast<std::size_t>(layer)];
  }

  DeployedOp start(const Kernel& kernel, DeployedKind kind) const {
    const Layer& l = kernel.anchor;
    DeployedOp op;
    op.kind = kind;
    op.activation = kernel.activation;
    op.layer = kernel.layers.front();
    for (const std::int32_t i : kernel.layers)
      if (network_.layers[static_cast<std::size_t>(i)].kind == LayerKind::batch_norm) op.batch_norm = i;
    op.inputs = {tensor_of(l.inputs[0]), tensor_of(l.inputs[1])};
    op.in = l.in;
    op.out = l.out;
    op.kernel = l.kernel;
    op.stride = l.stride;
    op.padding = l.padding;
    const Layer& last = network_.layers[static_cast<std::size_t>(kernel.layers.back())];
    if (l.weight_bits != 0) op.weight_bits = l.weight_bits;
    if (last.activation_bits != 0) op.activation_bits = last.activation_bits;
    return op;
  }

  std::int32_t push(DeployedOp op) {
    out_.ops.push_back(op);
    return static_cast<std::int32_t>(out_.ops.size());
  }

  void finish(const Kernel& kernel, std::int32_t tensor) {
    for (const std::int32_t i : kernel.layers) tensor_[static_cast<std::size_t>(i)] = tensor;
  }

  Result<void> append(const Kernel& kernel) {
    const Layer& l = kernel.anchor;
    switch (l.kind) {
      case LayerKind::conv: {
        if (l.groups != 1 && !is_depthwise(l))
          return unsupported(kernel, "grouped convolutions have no such form");
        DeployedOp op = start(kernel, is_depthwise(l) ? DeployedKind::depthwise : DeployedKind::conv);
        op.part = DeployedPart::main;
        finish(kernel, push(op));
        return {};
      }
      case LayerKind::linear: {
        if (l.in.height != 1 || l.in.width != 1)
          return unsupported(kernel, "linear layers over tokens have no such form");
        DeployedOp op = start(kernel, DeployedKind::fully_connected);
        op.part = DeployedPart::main;
        finish(kernel, push(op));
        return {};
      }
      case LayerKind::squeeze_excite:
        finish(kernel, squeeze_excite(kernel));
        return {};
      case LayerKind::global_pool: {
        DeployedOp op = start(kernel, DeployedKind::average_pool);
        op.kernel = 0;
        finish(kernel, push(op));
        return {};
      }
      case LayerKind::avg_pool:
      case LayerKind::max_pool:
        return pool(kernel);
      case LayerKind::add:
        finish(kernel, push(start(kernel, DeployedKind::add)));
        return {};
      case LayerKind::activation: {
        DeployedOp op = start(kernel, DeployedKind::activation);
        op.activation = l.activation;
        finish(kernel, push(op));
        return {};
      }
      default:
        return unsupported(kernel, std::string(to_string(l.kind)) + " layers have no such form");
    }
  }

  Result<void> pool(const Kernel& kernel) {
    const Layer& l = kernel.anchor;
    const bool average = l.kind == LayerKind::avg_pool;
    if (average && l.padding != 0)
      return unsupported(kernel, "average pooling with padding has no such form");
    if (average && ((l.in.height - l.kernel) % l.stride != 0 || (l.in.width - l.kernel) % l.stride != 0))
      return unsupported(kernel, "average pooling over odd sizes has no such form");
    finish(kernel, push(start(kernel, average ? DeployedKind::average_pool : DeployedKind::max_pool)));
    return {};
  }

  std::int32_t squeeze_excite(const Kernel& kernel) {
    const Layer& l = kernel.anchor;
    DeployedOp pool = start(kernel, DeployedKind::average_pool);
    const std::int32_t from = pool.inputs[0];
    pool.activation = Activation::none;
    pool.kernel = 0;
    pool.out = {l.in.channels, 1, 1};
    DeployedOp squeeze = pool, excite = pool, scale = pool;
    squeeze.kind = excite.kind = DeployedKind::fully_connected;
    squeeze.kernel = excite.kernel = scale.kernel = 1;
    squeeze.part = DeployedPart::squeeze;
    squeeze.activation = Activation::relu;
    squeeze.inputs[0] = push(pool);
    squeeze.in = pool.out;
    squeeze.out = {l.hidden, 1, 1};
    excite.part = DeployedPart::excite;
    excite.activation = l.activation;
    excite.inputs[0] = push(squeeze);
    excite.in = squeeze.out;
    scale.kind = DeployedKind::scale_channels;
    scale.inputs = {from, push(excite)};
    scale.in = scale.out = l.in;
    scale.activation = kernel.activation;
    return push(scale);
  }

  const Network& network_;
  std::vector<std::int32_t> tensor_;  // of every layer's output
  Deployment out_;
};

}  // namespace

Result<Deployment> deploy(const Network& network) { return Deployer(network).run(); }

bool needs_table(Activation activation) {
  return activation != Activation::none && activation != Activation::relu && activation != Activation::relu6;
}

std::int64_t weights_per_channel(const DeployedOp& op) {
  const std::int64_t window = std::int64_t{op.kernel} * op.kernel;
  switch (op.kind) {
    case DeployedKind::conv:
      return window * op.in.channels;
    case DeployedKind::depthwise:
      return window;
    case DeployedKind::fully_connected:
      return op.in.elements();
    default:
      return 0;
  }
}

bool can_run_in_place(const DeployedOp& op) {
  switch (op.kind) {
    case DeployedKind::depthwise:
      return op.stride == 1 && op.in == op.out;
    case DeployedKind::add:
    case DeployedKind::scale_channels:
    case DeployedKind::activation:
      return true;
    default:
      return false;
  }
}

MemoryProgram memory_program(const Deployment& deployment, const std::vector<std::int64_t>& scratch,
                             std::int64_t element_bytes, bool in_place) {
  // The arena keeps the alignment of its blocks when every size is a multiple of it.
  const auto bytes = [&](const Shape& s) { return (s.elements() * element_bytes + 15) / 16 * 16; };
  MemoryProgram program;
  program.steps.push_back({.layer = 0, .inputs = {-1, -1}, .output = bytes(deployment.input)});
  for (std::size_t i = 0; i < deployment.ops.size(); ++i) {
    const DeployedOp& op = deployment.ops[i];
    MemoryStep step;
    step.layer = op.layer;
    step.inputs = op.inputs;
    step.output = bytes(op.out);
    step.scratch = (scratch[i] + 15) / 16 * 16;
    if (in_place && can_run_in_place(op)) {
      step.shared[0] = step.output;
      step.lead[0] = kSameStart;
    }
    program.steps.push_back(step);
  }
  return program;
}

}  // namespace nas
