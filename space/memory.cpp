#include "space/memory.h"

#include <algorithm>

namespace nas {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 52;  // so that sums over a network never overflow

std::int64_t capped(double value) {
  return value >= static_cast<double>(kMost) ? kMost : static_cast<std::int64_t>(value);
}

std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kMost ? kMost : product;
}

std::int64_t plus(std::int64_t a, std::int64_t b) { return std::min(a + b, kMost); }

std::int64_t bits_to_bytes(std::int64_t elements, std::int64_t bits) {
  return (times(elements, bits) + 7) / 8;
}

std::int64_t align(std::int64_t bytes, std::int64_t alignment) {
  if (alignment <= 1) return std::min(bytes, kMost);
  return std::min(kMost, plus(bytes, alignment - 1) / alignment * alignment);
}

std::int64_t activation_bits(const Layer& l, const MemoryOptions& o) {
  return l.activation_bits != 0 ? l.activation_bits : o.precision.activation_bits;
}

// Bytes of a layer's first input and of its output, before alignment.
struct Sizes {
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool replaceable = false;  // elements of both have the same bits, and nothing else reads the input
};

bool windowed(LayerKind kind) {
  return kind == LayerKind::conv || kind == LayerKind::max_pool || kind == LayerKind::avg_pool;
}

bool elementwise(LayerKind kind) {
  return kind == LayerKind::activation || kind == LayerKind::add || kind == LayerKind::batch_norm ||
         kind == LayerKind::squeeze_excite;
}

// The smallest distance by which the output must start before the input so that writing output row y
// (pixel, for 1x1) never reaches an input row that row y or a later one still reads. Rows lie in HWC order.
// `padding`: rows above the first that the first output row's window covers; negative: rows it leaves out.
std::int64_t row_lead(const Layer& l, const Sizes& size, std::int64_t padding) {
  const bool pixels = l.kernel == 1 && l.stride == 1 && l.padding == 0;
  const std::int64_t in_rows = pixels ? std::int64_t{l.in.height} * l.in.width : l.in.height;
  const std::int64_t out_rows = pixels ? std::int64_t{l.out.height} * l.out.width : l.out.height;
  const std::int64_t in_row = size.in / in_rows, out_row = (size.out + out_rows - 1) / out_rows;
  const auto need = [&](std::int64_t y) {
    const std::int64_t first_read = std::max<std::int64_t>(0, y * l.stride - padding);
    return times(y + 1, out_row) - std::min(times(first_read, in_row), size.in);
  };
  // need() rises while the window hangs over the border and is linear after it.
  const std::int64_t last = out_rows - 1;
  const std::int64_t border = std::min(last, std::max<std::int64_t>(padding, 0) / l.stride);
  return std::max({need(border), need(std::min(border + 1, last)), need(last), std::int64_t{0}});
}

// A window's output over its input as rows are walked: upwards, or downwards, which is the same picture
// upside down with the padding that the last row's window has below.
void share_rows(const Layer& l, const MemoryOptions& o, std::int64_t in, const Sizes& size,
                MemoryStep& step) {
  const std::int64_t above = o.whole_layers ? l.padding : 0;
  const std::int64_t below = std::int64_t{l.out.height - 1} * l.stride + l.kernel - above - l.in.height;
  step.lead[0] = align(row_lead(l, size, l.padding), o.alignment);
  step.lag = align(row_lead(l, size, below) + size.in - size.out, o.alignment);
  const std::int64_t bytes =
      std::min(std::max(step.output, step.lead[0] + in), std::max(in, step.lag + step.output));
  step.shared[0] = std::max<std::int64_t>(0, in + step.output - bytes);
}

// How the output of `step` may lie over its input `which`, which takes `in` bytes of the arena.
void share(const Layer& l, const MemoryOptions& o, std::int64_t in, const Sizes& size, std::size_t which,
           MemoryStep& step) {
  const std::int64_t out = step.output;
  if (in == 0 || out == 0) return;
  if (elementwise(l.kind)) {
    if (!o.in_place_elementwise || out > in) return;
    step.shared[which] = out;
    step.lead[which] = kSameStart;
  } else if (which == 0 && is_depthwise(l) && o.depthwise != DepthwiseInPlace::off && out <= in &&
             size.replaceable) {
    step.shared[0] = out;
    step.lead[0] = kSameStart;
  } else if (which == 0 && windowed(l.kind) && o.overlap == ConvOverlap::rows) {
    share_rows(l, o, in, size, step);
  } else if (which == 0 && windowed(l.kind) && o.overlap == ConvOverlap::full) {
    step.lead[0] = kAnywhere;
    step.shared[0] = std::min(in, out);
  }
}

std::int64_t depthwise_scratch(const Layer& l, const MemoryOptions& o) {
  const double bits = static_cast<double>(activation_bits(l, o));
  const double width = l.in.width, height = l.in.height, pad = l.padding;
  if (o.depthwise == DepthwiseInPlace::lines) return capped((pad + 1) * width * l.in.channels * bits / 8);
  if (o.depthwise == DepthwiseInPlace::plane)
    return capped(2 * (height + 2 * pad) * (width + 2 * pad) * bits / 8);
  return 0;
}

std::int64_t scratch_bytes(const Layer& l, const MemoryOptions& o) {
  const std::int64_t bits = activation_bits(l, o);
  switch (l.kind) {
    case LayerKind::conv:
      if (l.kernel > 1 && o.im2col_columns > 0 && !is_depthwise(l)) {
        const std::int64_t channels = l.in.channels / l.groups;
        return times(2 * o.im2col_columns, times(std::int64_t{l.kernel} * l.kernel, channels));
      }
      return 0;
    case LayerKind::squeeze_excite:  // pooled vector, hidden vector, gate
      return bits_to_bytes(2 * std::int64_t{l.in.channels} + l.hidden, bits);
    case LayerKind::attention: {  // q, k, v and one table of scores per head
      const Shape& keys = l.side.channels > 0 ? l.side : l.in;
      const double queries = double(l.in.height) * l.in.width, sources = double(keys.height) * keys.width;
      return capped(((queries + 2 * sources) * l.hidden + l.heads * queries * sources) * double(bits) / 8);
    }
    default:
      return 0;
  }
}

// The layer as a runtime executes it that first makes a padded copy of the input.
Layer with_padded_input(Layer l) {
  l.in.height += 2 * l.padding;
  l.in.width += 2 * l.padding;
  l.padding = 0;
  return l;
}

// Builds the steps of a program one by one; all vectors come from the workspace.
class Builder {
 public:
  Builder(const Network& network, const MemoryOptions& options, MemoryWorkspace& w, MemoryProgram& program)
      : network_(network),
        options_(options),
        fusion_(w.fusion),
        step_of_(w.step_of_layer),
        program_(program) {
    program_.steps.clear();
    step_of_.resize(network.layers.size());
  }

  void layer(std::size_t i) {
    const Layer& l = network_.layers[i];
    const std::int32_t anchor = fusion_.anchor[i];
    if (anchor !=
        static_cast<std::int32_t>(i)) {  // part of an earlier step: its output keeps the anchor's bits
      step_of_[i] = step_of_[static_cast<std::size_t>(anchor)];
      return;
    }
    std::array<std::int32_t, 2> inputs{step(l.inputs[0]), step(l.inputs[1])};
    if (fusion_.residual[i] >= 0)
      inputs[1] = step(fusion_.anchor[static_cast<std::size_t>(fusion_.residual[i])]);
    if (!options_.fold_padding && l.padding > 0 && windowed(l.kind) && inputs[0] >= 0)
      add_step(with_padded_copy(l, anchor, inputs), i, inputs);
    else
      add_step(l, i, inputs);
  }

 private:
  // Copies the first input with its padding in a step of its own.
  Layer with_padded_copy(const Layer& l, std::int32_t anchor, std::array<std::int32_t, 2>& inputs) {
    const Layer padded = with_padded_input(l);
    MemoryStep copy;
    copy.layer = anchor;
    copy.inputs[0] = inputs[0];
    copy.output = align(bits_to_bytes(padded.in.elements(), input_bits(l)), options_.alignment);
    inputs[0] = static_cast<std::int32_t>(program_.steps.size());
    program_.steps.push_back(copy);
    return padded;
  }

  // The step of layer i, whose geometry is `l`.
  void add_step(const Layer& l, std::size_t i, const std::array<std::int32_t, 2>& inputs) {
    step_of_[i] = static_cast<std::int32_t>(program_.steps.size());
    MemoryStep& made = program_.steps.emplace_back();
    made.layer = fusion_.anchor[i];
    made.inputs = inputs;
    const Sizes size = sizes(l);
    made.output = align(size.out, options_.alignment);
    made.scratch = align(scratch_bytes(l, options_), options_.alignment);
    if (inputs[0] >= 0) share(l, options_, bytes(inputs[0]), size, 0, made);
    if (inputs[1] >= 0) share_second(l, i, bytes(inputs[1]), size, made);
    if (made.lead[0] == kSameStart && is_depthwise(l))
      made.scratch = align(depthwise_scratch(l, options_), options_.alignment);
  }

  std::int32_t step(std::int32_t layer) const {
    return layer < 0 ? -1 : step_of_[static_cast<std::size_t>(layer)];
  }
  std::int64_t bytes(std::int32_t step_index) const {
    return program_.steps[static_cast<std::size_t>(step_index)].output;
  }

  std::int64_t input_bits(const Layer& l) const {
    return activation_bits(network_.layers[static_cast<std::size_t>(l.inputs[0])], options_);
  }

  Sizes sizes(const Layer& l) const {
    if (l.inputs[0] < 0) return {0, output_bytes(l), false};
    const bool only_reader = fusion_.readers[static_cast<std::size_t>(l.inputs[0])] == 1;
    return {bits_to_bytes(l.in.elements(), input_bits(l)), output_bytes(l),
            only_reader && input_bits(l) == activation_bits(l, options_)};
  }

  // A residual fused into a convolution is summed into in place, like the add it stands for.
  void share_second(const Layer& l, std::size_t i, std::int64_t in, const Sizes& size,
                    MemoryStep& made) const {
    if (fusion_.residual[i] < 0) return share(l, options_, in, size, 1, made);
    // The kernel's own window still reads an input that is the residual too.
    if (!options_.in_place_elementwise || made.output > in || made.inputs[0] == made.inputs[1]) return;
    made.shared = {0, made.output};
    made.lead = {0, kSameStart};
  }

  std::int64_t output_bytes(const Layer& l) const {
    if (l.kind == LayerKind::zero || (l.kind == LayerKind::input && !options_.count_input)) return 0;
    return bits_to_bytes(l.out.elements(), activation_bits(l, options_));
  }

  const Network& network_;
  const MemoryOptions& options_;
  const Fusion& fusion_;
  std::vector<std::int32_t>& step_of_;
  MemoryProgram& program_;
};

// last_reader[t]: the last step that reads tensor t; its own step when none does; the end for the result.
void find_last_readers(const MemoryProgram& program, std::vector<std::int32_t>& last_reader) {
  const std::size_t n = program.steps.size();
  last_reader.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    last_reader[i] = static_cast<std::int32_t>(i);
    for (const std::int32_t from : program.steps[i].inputs)
      if (from >= 0) last_reader[static_cast<std::size_t>(from)] = static_cast<std::int32_t>(i);
  }
  if (n > 0) last_reader[n - 1] = static_cast<std::int32_t>(n) - 1;
}

std::int64_t shared_bytes(const MemoryStep& step, std::int32_t index,
                          const std::vector<std::int32_t>& last_reader) {
  std::int64_t shared = 0;
  for (std::size_t k = 0; k < 2; ++k)
    if (step.shared[k] > 0 && last_reader[static_cast<std::size_t>(step.inputs[k])] == index)
      shared = std::max(shared, step.shared[k]);
  return shared;
}

// Calls visit(step index, live bytes) in order.
template <class Visit>
void sweep(const MemoryProgram& program, MemoryWorkspace& w, Visit visit) {
  const std::size_t n = program.steps.size();
  find_last_readers(program, w.last_reader);
  w.dying.assign(n, 0);  // bytes of the tensors whose last step this is
  for (std::size_t i = 0; i < n; ++i) {
    std::int64_t& sum = w.dying[static_cast<std::size_t>(w.last_reader[i])];
    sum = plus(sum, program.steps[i].output);
  }
  std::int64_t alive = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const MemoryStep& step = program.steps[i];
    alive = plus(alive, step.output);
    visit(i, plus(alive, step.scratch) - shared_bytes(step, static_cast<std::int32_t>(i), w.last_reader));
    alive = std::max<std::int64_t>(0, alive - w.dying[i]);
  }
}

}  // namespace

void memory_program(const Network& network, const MemoryOptions& options, MemoryWorkspace& workspace,
                    MemoryProgram& program) {
  fuse(network, options.fusion, workspace.fusion);
  Builder builder(network, options, workspace, program);
  for (std::size_t i = 0; i < network.layers.size(); ++i) builder.layer(i);
}

MemoryProgram memory_program(const Network& network, const MemoryOptions& options) {
  MemoryWorkspace workspace;
  MemoryProgram program;
  memory_program(network, options, workspace, program);
  return program;
}

MemoryPeak peak_memory(const MemoryProgram& program, MemoryWorkspace& workspace) {
  MemoryPeak peak;
  sweep(program, workspace, [&](std::size_t i, std::int64_t live) {
    if (Bytes(live) <= peak.bytes) return;
    peak = {Bytes(live), static_cast<std::int32_t>(i), program.steps[i].layer};
  });
  return peak;
}

MemoryPeak peak_memory(const Network& network, const MemoryOptions& options, MemoryWorkspace& workspace) {
  memory_program(network, options, workspace, workspace.program);
  return peak_memory(workspace.program, workspace);
}

MemoryPeak peak_memory(const Network& network, const MemoryOptions& options) {
  MemoryWorkspace workspace;
  return peak_memory(network, options, workspace);
}

std::vector<std::int64_t> live_bytes(const MemoryProgram& program) {
  MemoryWorkspace workspace;
  std::vector<std::int64_t> live(program.steps.size());
  sweep(program, workspace, [&](std::size_t i, std::int64_t bytes) { live[i] = bytes; });
  return live;
}

std::vector<Lifetime> lifetimes(const MemoryProgram& program) {
  MemoryWorkspace workspace;
  find_last_readers(program, workspace.last_reader);
  std::vector<Lifetime> result(program.steps.size());
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = {static_cast<std::int32_t>(i), workspace.last_reader[i]};
  return result;
}

}  // namespace nas
