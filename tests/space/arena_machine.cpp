#include "tests/space/arena_machine.h"

#include <algorithm>
#include <functional>
#include <map>

#include "space/kernel.h"

namespace nas::oracle {
namespace {

// A program at work.
class Machine {
 public:
  Machine(const Network& network, const std::vector<Part>& parts, const MemoryOptions& options,
          const MemoryProgram& program, const ArenaPlan& plan, const std::vector<Tokens>& expected, Walk walk)
      : network_(network),
        parts_(parts),
        options_(options),
        program_(program),
        plan_(plan),
        expected_(expected),
        walk_(walk),
        cells_(at(plan.size.count()), 0xdeadbeefu) {
    for (const Kernel& k : kernels(network, options.fusion)) fused_[k.layers.front()] = k.layers;
    for (std::size_t i = 0; i < program.steps.size(); ++i) describe(i);
  }

  Run go() {
    Run run;
    for (std::size_t i = 0; i < program_.steps.size() && problem_.empty(); ++i) {
      run.peak = std::max(run.peak, live_cells(i));
      step(i);
      if (problem_.empty()) compare(i);
    }
    run.problem = problem_;
    run.result = outside_;
    return run;
  }

 private:
  const Layer& layer(std::size_t step) const { return network_.layers[at(program_.steps[step].layer)]; }

  // A step that only copies the input of the step that reads it, with a padding.
  bool is_pad_copy(std::size_t i) const { return pad_copy_[i]; }

  // The layer whose output the step's tensor is.
  std::int32_t last_layer(std::size_t i) const { return last_layer_[i]; }

  const Shape& shape(std::size_t i) const { return shape_[i]; }

  void describe(std::size_t i) {
    const std::int32_t anchor = program_.steps[i].layer;
    const auto found = fused_.find(anchor);
    last_layer_.push_back(found == fused_.end() ? anchor : found->second.back());
    pad_copy_.push_back(std::ranges::any_of(program_.steps, [&](const MemoryStep& s) {
      return s.layer == anchor && s.inputs[0] == static_cast<std::int32_t>(i);
    }));
    const Layer& l = layer(i);
    const Shape padded{l.in.channels, l.in.height + 2 * l.padding, l.in.width + 2 * l.padding};
    shape_.push_back(pad_copy_[i] ? padded : network_.layers[at(last_layer_[i])].out);
  }

  // An element that the reference knows: of a padded copy, the padding is 0.
  Token truth(std::size_t i, std::int32_t y, std::int32_t x, std::int32_t c) const {
    std::int32_t made_by = last_layer(i);
    if (is_pad_copy(i)) {
      const Layer& l = layer(i);
      made_by = l.inputs[0];
      y -= l.padding;
      x -= l.padding;
    }
    const Part& part = parts_[at(made_by)];
    const Shape& here = network_.layers[at(made_by)].out;
    if (y < 0 || x < 0 || y >= here.height || x >= here.width) return 0;
    return expected_[at(made_by)][element(part.whole, y + part.top, x + part.left, c)];
  }

  Token load(std::size_t i, std::int32_t y, std::int32_t x, std::int32_t c) const {
    if (layer(i).kind == LayerKind::zero) return 0;
    if (plan_.tensors[i].size == 0) return truth(i, y, x, c);  // the image outside the arena
    return cells_[at(plan_.tensors[i].offset) + element(shape(i), y, x, c)];
  }

  // Of input k of step i the element at the same place of the picture as (y, x) of its output: patches of two
  // tensors may start at different places.
  Token beside(std::size_t i, std::size_t k, std::int32_t y, std::int32_t x, std::int32_t c) const {
    const auto from = at(program_.steps[i].inputs[k]);
    const Part &here = parts_[at(program_.steps[i].layer)], &there = parts_[at(last_layer(from))];
    return load(from, y + here.top - there.top, x + here.left - there.left, c);
  }

  void store(std::size_t i, std::int32_t y, std::int32_t x, std::int32_t c, Token value) {
    const std::size_t e = element(shape(i), y, x, c);
    if (plan_.tensors[i].size > 0)
      cells_[at(plan_.tensors[i].offset) + e] = value;
    else
      outside_[e] = value;
  }

  Token& scratch(std::size_t i, std::int64_t index) {
    static Token nowhere;
    if (index >= plan_.scratch[i].size) problem_ = "step " + std::to_string(i) + " needs more scratch";
    return problem_.empty() ? cells_[at(plan_.scratch[i].offset + index)] : nowhere;
  }

  bool overlap(std::size_t a, std::size_t b) const {
    const ArenaBlock &p = plan_.tensors[a], &q = plan_.tensors[b];
    return p.size > 0 && q.size > 0 && p.offset < q.offset + q.size && q.offset < p.offset + p.size;
  }

  std::int64_t live_cells(std::size_t step) const {
    std::vector<bool> used(cells_.size(), false);
    const auto mark = [&](const std::vector<ArenaBlock>& blocks) {
      for (const ArenaBlock& b : blocks)
        if (b.life.first <= static_cast<std::int32_t>(step) && static_cast<std::int32_t>(step) <= b.life.last)
          std::fill_n(used.begin() + b.offset, b.size, true);
    };
    mark(plan_.tensors);
    mark(plan_.scratch);
    return std::ranges::count(used, true);
  }

  // What follows the anchor in its kernel: batch norm, residual, activation.
  Token epilogue(std::size_t i, std::int32_t y, std::int32_t x, std::int32_t c, Token v) const {
    const auto found = fused_.find(program_.steps[i].layer);
    if (found == fused_.end()) return v;
    for (std::size_t k = 1; k < found->second.size(); ++k) {
      const Layer& l = network_.layers[at(found->second[k])];
      const bool adds = l.kind == LayerKind::add;
      v = adds ? sum_of(v, beside(i, 1, y, x, c)) : unary(l, v);
    }
    return v;
  }

  void step(std::size_t i) {
    const Layer& l = layer(i);
    if (plan_.tensors[i].size == 0) outside_.assign(at(shape(i).elements()), 0);
    if (is_pad_copy(i)) return pad_copy(i);
    if (l.kind == LayerKind::conv || per_channel(l)) return windowed(i, l);
    if (l.kind == LayerKind::squeeze_excite) return squeeze(i, l);
    whole(i, l);
  }

  void pad_copy(std::size_t i) {
    const Layer& l = layer(i);
    const Shape s = shape(i);
    for_each_pixel(s, [&](std::int32_t y, std::int32_t x) {
      const std::int32_t v = y - l.padding, u = x - l.padding;
      const bool inside = v >= 0 && u >= 0 && v < l.in.height && u < l.in.width;
      for (std::int32_t c = 0; c < s.channels; ++c)
        store(i, y, x, c, inside ? load(at(program_.steps[i].inputs[0]), v, u, c) : 0);
    });
  }

  template <class Visit>
  static void for_each_pixel(const Shape& s, Visit visit) {
    for (std::int32_t y = 0; y < s.height; ++y)
      for (std::int32_t x = 0; x < s.width; ++x) visit(y, x);
  }

  // Reads input pixels in the coordinates of the whole picture.
  Read reader(std::size_t i, std::function<Token(std::int32_t, std::int32_t, std::int32_t)> local) const {
    const auto from = at(program_.steps[i].inputs[0]);
    const Layer& l = layer(i);
    const Part& part = parts_[at(l.inputs[0])];
    const std::int32_t pad = is_pad_copy(from) ? l.padding : 0;
    return [=, whole = part.whole, top = part.top, left = part.left](std::int32_t y, std::int32_t x,
                                                                     std::int32_t c) -> Token {
      if (y < 0 || x < 0 || y >= whole.height || x >= whole.width) return 0;
      return local(y - top + pad, x - left + pad, c);
    };
  }

  void windowed(std::size_t i, const Layer& l) {
    const auto from = at(program_.steps[i].inputs[0]);
    if (is_depthwise(l) && options_.depthwise != DepthwiseInPlace::off && overlap(i, from) &&
        plan_.tensors[i].offset == plan_.tensors[from].offset)
      return in_place(i, l, from);
    const Read in = reader(
        i, [this, from](std::int32_t y, std::int32_t x, std::int32_t c) { return load(from, y, x, c); });
    const bool pixels = l.kernel == 1 && l.stride == 1, up = walks_up(i, from);
    const std::int32_t parts = pixels ? l.out.width : 1, units = l.out.height * parts;
    for (std::int32_t n = 0; n < units; ++n) {
      const std::int32_t unit = up ? n : units - 1 - n, y = unit / parts;
      const std::int32_t first = pixels ? unit % parts : 0, last = pixels ? first + 1 : l.out.width;
      const Tokens before = windows(i, l, y, first, last, in);
      write_windows(i, l, y, first, last, before);
      // A kernel may read a row (a pixel of 1x1) again until the row is written.
      if (overlap(i, from) && windows(i, l, y, first, last, in) != before)
        problem_ = "step " + std::to_string(i) + " overwrites what row " + std::to_string(y) + " reads";
    }
  }

  bool walks_up(std::size_t i, std::size_t from) const {
    if (walk_ != Walk::as_planned) return walk_ == Walk::up;
    return plan_.tensors[from].offset - plan_.tensors[i].offset >= program_.steps[i].lead[0];
  }

  // Sums of the windows of output pixels [first, last) of row y; through im2col columns where the model has
  // them.
  Tokens windows(std::size_t i, const Layer& l, std::int32_t y, std::int32_t first, std::int32_t last,
                 const Read& in) {
    const Part& part = parts_[at(program_.steps[i].layer)];
    const bool columns =
        options_.im2col_columns > 0 && l.kind == LayerKind::conv && !is_depthwise(l) && l.kernel > 1;
    const std::int32_t channels = l.in.channels / groups_of(l);
    Tokens sums;
    for (std::int32_t x = first; x < last; ++x)
      for (std::int32_t g = 0; g < groups_of(l); ++g) {
        if (!columns) {
          sums.push_back(window(l, y + part.top, x + part.left, g, in));
          continue;
        }
        // Two cells an element: a 16-bit column among options_.im2col_columns.
        const std::int64_t length = std::int64_t{l.kernel} * l.kernel * channels;
        const std::int64_t base = 2 * length * (x % options_.im2col_columns);
        std::int64_t n = 0;
        window(l, y + part.top, x + part.left, g, [&](std::int32_t v, std::int32_t u, std::int32_t c) {
          scratch(i, base + 2 * n) = in(v, u, c);
          scratch(i, base + 2 * n + 1) = 0;
          ++n;
          return Token{0};
        });
        Token sum = 0;
        for (std::int64_t k = 0; k < length; ++k) sum += weight(k) * scratch(i, base + 2 * k);
        sums.push_back(sum);
      }
    return sums;
  }

  void write_windows(std::size_t i, const Layer& l, std::int32_t y, std::int32_t first, std::int32_t last,
                     const Tokens& sums) {
    const std::int32_t groups = groups_of(l);
    for (std::int32_t x = first; x < last; ++x)
      for (std::int32_t c = 0; c < l.out.channels; ++c) {
        const std::int32_t g = c / (l.out.channels / groups);
        store(i, y, x, c, epilogue(i, y, x, c, channel_of(sums[at((x - first) * groups + g)], c)));
      }
  }

  void in_place(std::size_t i, const Layer& l, std::size_t from) {
    if (options_.depthwise == DepthwiseInPlace::plane) return plane_by_plane(i, l, from);
    const Shape in_shape = shape(from);
    const std::int64_t row = std::int64_t{in_shape.width} * in_shape.channels;
    const std::int32_t kept = is_pad_copy(from) ? 1 : l.padding + 1;
    Tokens aside;  // of a model without buffers: outside the arena
    if (options_.depthwise == DepthwiseInPlace::free) aside.resize(at(kept * row));
    const auto keep = [&](std::int32_t y, std::int64_t e) -> Token& {
      const std::int64_t index = y % kept * row + e;
      return aside.empty() ? scratch(i, index) : aside[at(index)];
    };
    for (std::int32_t y = 0; y < l.out.height; ++y) {
      for (std::int64_t e = 0; e < row; ++e)
        keep(y, e) = load(from, y, static_cast<std::int32_t>(e / in_shape.channels),
                          static_cast<std::int32_t>(e % in_shape.channels));
      const Read in = reader(i, [&](std::int32_t v, std::int32_t u, std::int32_t c) {
        return v > y          ? load(from, v, u, c)
               : v > y - kept ? keep(v, std::int64_t{u} * in_shape.channels + c)
                              : 0;
      });
      write_windows(i, l, y, 0, l.out.width, windows(i, l, y, 0, l.out.width, in));
    }
  }

  void plane_by_plane(std::size_t i, const Layer& l, std::size_t from) {
    const Shape s = shape(from);
    const Part& part = parts_[at(program_.steps[i].layer)];
    for (std::int32_t c = 0; c < l.out.channels; ++c) {
      for_each_pixel(s, [&](std::int32_t y, std::int32_t x) {
        scratch(i, std::int64_t{y} * s.width + x) = load(from, y, x, c);
      });
      const Read in = reader(i, [&](std::int32_t y, std::int32_t x, std::int32_t) {
        return scratch(i, std::int64_t{y} * s.width + x);
      });
      for_each_pixel(l.out, [&](std::int32_t y, std::int32_t x) {
        store(i, y, x, c, epilogue(i, y, x, c, channel_of(window(l, y + part.top, x + part.left, c, in), c)));
      });
    }
  }

  void squeeze(std::size_t i, const Layer& l) {
    const auto from = at(program_.steps[i].inputs[0]);
    const Read in = [&](std::int32_t y, std::int32_t x, std::int32_t c) { return load(from, y, x, c); };
    const Tokens sums = pooled(l.in, in);
    const Tokens gate = gates(l, sums);
    // Pooled vector, hidden vector and gate have a cell each.
    for (std::int32_t k = 0; k < 2 * l.in.channels + l.hidden; ++k) scratch(i, k) = 0;
    for (std::int32_t c = 0; c < l.in.channels; ++c) scratch(i, l.in.channels + l.hidden + c) = gate[at(c)];
    for_each_pixel(l.out, [&](std::int32_t y, std::int32_t x) {
      for (std::int32_t c = 0; c < l.out.channels; ++c)
        store(i, y, x, c, in(y, x, c) * scratch(i, l.in.channels + l.hidden + c));
    });
  }

  // Layers that read whole tensors, or element by element in rising order.
  void whole(std::size_t i, const Layer& l) {
    const auto& inputs = program_.steps[i].inputs;
    const Tokens nothing;
    const bool elementwise =
        l.kind == LayerKind::add || l.kind == LayerKind::activation || l.kind == LayerKind::batch_norm;
    if (elementwise) {
      for_each_pixel(l.out, [&](std::int32_t y, std::int32_t x) {
        for (std::int32_t c = 0; c < l.out.channels; ++c) {
          const Token a = beside(i, 0, y, x, c);
          const Token v = l.kind == LayerKind::add ? sum_of(a, beside(i, 1, y, x, c)) : unary(l, a);
          store(i, y, x, c, epilogue(i, y, x, c, v));
        }
      });
      return;
    }
    if (l.kind == LayerKind::zero) return;
    Tokens in;
    if (inputs[0] >= 0)
      for_each_pixel(l.in, [&](std::int32_t y, std::int32_t x) {
        for (std::int32_t c = 0; c < l.in.channels; ++c) in.push_back(load(at(inputs[0]), y, x, c));
      });
    const Tokens out = layer_tokens(l, in, nothing);
    for_each_pixel(l.out, [&](std::int32_t y, std::int32_t x) {
      for (std::int32_t c = 0; c < l.out.channels; ++c)
        store(i, y, x, c,
              l.kind == LayerKind::input ? truth(i, y, x, c)
                                         : epilogue(i, y, x, c, out[element(l.out, y, x, c)]));
    });
  }

  void compare(std::size_t i) {
    const Shape s = shape(i);
    const bool in_arena = plan_.tensors[i].size > 0;
    if (!in_arena && (layer(i).kind == LayerKind::input || layer(i).kind == LayerKind::zero)) return;
    for_each_pixel(s, [&](std::int32_t y, std::int32_t x) {
      for (std::int32_t c = 0; c < s.channels; ++c) {
        const Token found = in_arena ? load(i, y, x, c) : outside_[element(s, y, x, c)];
        if (found != truth(i, y, x, c) && problem_.empty())
          problem_ = "step " + std::to_string(i) + " (" + layer_name(layer(i)) + ") is wrong at " +
                     std::to_string(y) + "," + std::to_string(x) + "," + std::to_string(c);
      }
    });
  }

  const Network& network_;
  const std::vector<Part>& parts_;
  const MemoryOptions& options_;
  const MemoryProgram& program_;
  const ArenaPlan& plan_;
  const std::vector<Tokens>& expected_;
  const Walk walk_;
  std::map<std::int32_t, std::vector<std::int32_t>> fused_;  // layers of the kernel of an anchor
  std::vector<bool> pad_copy_;                               // of each step, as the two below
  std::vector<std::int32_t> last_layer_;
  std::vector<Shape> shape_;
  Tokens cells_;
  Tokens outside_;
  std::string problem_;
};

}  // namespace

std::vector<Part> whole_parts(const Network& network) {
  std::vector<Part> parts;
  for (const Layer& l : network.layers) parts.push_back({0, 0, l.out});
  return parts;
}

Run run(const Network& network, const std::vector<Part>& parts, const MemoryOptions& options,
        const MemoryProgram& program, const ArenaPlan& plan, const std::vector<Tokens>& expected, Walk walk) {
  return Machine(network, parts, options, program, plan, expected, walk).go();
}

}  // namespace nas::oracle
