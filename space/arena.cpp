#include "space/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "space/base/rng.h"

namespace nas {
namespace {

using Index = std::int32_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

struct Block {
  std::int64_t size = 0;
  Lifetime life;
  Index step = 0;
  bool scratch = false;
};

// Another block whose life meets this one's, and where the two may overlap all the same.
struct Neighbour {
  Index block = 0;
  bool may_share = false;
  bool is_output = false;          // the neighbour is the output, this block the input
  std::int64_t lead = 0, lag = 0;  // of MemoryStep
};

struct Problem {
  std::vector<Block> blocks;
  std::vector<std::vector<Neighbour>> neighbours;
  std::int64_t bound = 0;
};

bool meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

// Marks input and output of a step that may overlap: the input dies where the output is born.
void allow_sharing(const MemoryProgram& program, const Block& input, const Block& output, Neighbour& of_input,
                   Neighbour& of_output) {
  if (input.scratch || output.scratch || input.life.last != output.life.first) return;
  const MemoryStep& step = program.steps[at(output.step)];
  for (std::size_t k = 0; k < 2; ++k) {
    if (step.inputs[k] != input.step || step.shared[k] <= 0) continue;
    of_input.may_share = of_output.may_share = true;
    of_input.is_output = true;
    of_input.lead = of_output.lead = step.lead[k];
    of_input.lag = of_output.lag = step.lag;
  }
}

Problem make_problem(const MemoryProgram& program) {
  Problem p;
  const std::vector<Lifetime> lives = lifetimes(program);
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const MemoryStep& s = program.steps[i];
    const auto step = static_cast<Index>(i);
    if (s.output > 0) p.blocks.push_back({s.output, lives[i], step, false});
    if (s.scratch > 0) p.blocks.push_back({s.scratch, {step, step}, step, true});
  }
  p.neighbours.resize(p.blocks.size());
  for (std::size_t b = 0; b < p.blocks.size(); ++b)
    for (std::size_t a = 0; a < b; ++a) {
      if (!meet(p.blocks[a].life, p.blocks[b].life)) continue;
      Neighbour of_a{static_cast<Index>(b)}, of_b{static_cast<Index>(a)};
      allow_sharing(program, p.blocks[a], p.blocks[b], of_a, of_b);
      p.neighbours[a].push_back(of_a);
      p.neighbours[b].push_back(of_b);
    }
  MemoryWorkspace workspace;
  p.bound = peak_memory(program, workspace).bytes.count();
  return p;
}

// Places blocks one after the other at the lowest place that fits.
class Placer {
 public:
  explicit Placer(const Problem& problem) : p_(problem), offset_(problem.blocks.size()) {}

  std::int64_t place(const std::vector<Index>& order) {
    std::fill(offset_.begin(), offset_.end(), -1);
    height_ = 0;
    for (const Index b : order) {
      offset_[at(b)] = lowest_fit(b);
      height_ = std::max(height_, offset_[at(b)] + p_.blocks[at(b)].size);
    }
    return height_;
  }

  const std::vector<std::int64_t>& offsets() const { return offset_; }

 private:
  // Whether block b at `offset` lies where `n` allows it.
  bool allowed(Index b, std::int64_t offset, const Neighbour& n) const {
    const std::int64_t other = offset_[at(n.block)];
    if (other < 0) return true;
    if (offset + p_.blocks[at(b)].size <= other || other + p_.blocks[at(n.block)].size <= offset) return true;
    if (!n.may_share) return false;
    if (n.lead == kAnywhere) return true;
    if (n.lead == kSameStart) return offset == other;
    const std::int64_t before = n.is_output ? offset - other : other - offset;  // output before input
    return before >= n.lead || -before >= n.lag;
  }

  bool fits(Index b, std::int64_t offset) const {
    return offset >= 0 && std::ranges::all_of(p_.neighbours[at(b)],
                                              [&](const Neighbour& n) { return allowed(b, offset, n); });
  }

  // The lowest place is 0, behind a neighbour, or one of the places that sharing opens.
  std::int64_t lowest_fit(Index b) {
    candidates_.assign(1, 0);
    std::int64_t top = 0;
    for (const Neighbour& n : p_.neighbours[at(b)]) {
      const std::int64_t other = offset_[at(n.block)];
      if (other < 0) continue;
      const std::int64_t behind = other + p_.blocks[at(n.block)].size;
      top = std::max(top, behind);
      candidates_.push_back(behind);
      if (!n.may_share) continue;
      if (n.lead == kSameStart || n.lead == kAnywhere) candidates_.push_back(other);
      if (n.lead == kAnywhere) candidates_.push_back(behind - p_.blocks[at(b)].size);
      if (n.lead < 0) continue;
      candidates_.push_back(n.is_output ? other + n.lead : other - n.lead);
      candidates_.push_back(n.is_output ? other - n.lag : other + n.lag);
    }
    std::ranges::sort(candidates_);
    for (const std::int64_t offset : candidates_)
      if (fits(b, offset)) return offset;
    return top;
  }

  const Problem& p_;
  std::vector<std::int64_t> offset_;
  std::vector<std::int64_t> candidates_;
  std::int64_t height_ = 0;
};

// Bytes alive at the busiest step of a block's life: blocks under pressure are placed first.
std::vector<std::int64_t> pressure(const Problem& p, std::size_t steps) {
  std::vector<std::int64_t> alive(steps, 0);
  for (const Block& b : p.blocks)
    for (Index s = b.life.first; s <= b.life.last; ++s) alive[at(s)] += b.size;
  std::vector<std::int64_t> result;
  for (const Block& b : p.blocks)
    result.push_back(*std::max_element(alive.begin() + b.life.first, alive.begin() + b.life.last + 1));
  return result;
}

template <class Key>
std::vector<Index> sorted_by(const Problem& p, Key key) {
  std::vector<Index> order(p.blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](Index a, Index b) { return key(at(a)) > key(at(b)); });
  return order;
}

std::vector<std::vector<Index>> orderings(const Problem& p, std::size_t steps) {
  const std::vector<std::int64_t> busy = pressure(p, steps);
  const auto length = [&](std::size_t b) {
    return std::int64_t{p.blocks[b].life.last} - p.blocks[b].life.first + 1;
  };
  const auto size = [&](std::size_t b) { return p.blocks[b].size; };
  return {
      sorted_by(p, size),
      sorted_by(p, [&](std::size_t b) { return std::pair(busy[b], size(b)); }),
      sorted_by(p, [&](std::size_t b) { return std::pair(length(b), size(b)); }),
      sorted_by(p, [&](std::size_t b) { return std::pair(busy[b], length(b)); }),
      sorted_by(p,
                [&](std::size_t b) { return static_cast<double>(size(b)) * static_cast<double>(length(b)); }),
      sorted_by(p, [&](std::size_t b) { return std::pair(-std::int64_t{p.blocks[b].life.first}, size(b)); }),
      sorted_by(p, [&](std::size_t b) { return std::pair(std::int64_t{p.blocks[b].life.last}, size(b)); }),
  };
}

// Moves a block that reaches the top of the arena, or one that stands below it, some way to the front.
void promote(const Problem& p, const std::vector<std::int64_t>& offsets, std::int64_t height, Rng& rng,
             std::vector<Index>& order) {
  std::vector<std::size_t> high;
  for (std::size_t i = 0; i < order.size(); ++i)
    if (offsets[at(order[i])] + p.blocks[at(order[i])].size == height) high.push_back(i);
  std::size_t from = high[rng.below(high.size())];
  const auto& near = p.neighbours[at(order[from])];
  if (!near.empty() && rng.chance(0.5)) {
    const Index other = near[rng.below(near.size())].block;
    from = static_cast<std::size_t>(std::ranges::find(order, other) - order.begin());
  }
  if (from == 0) return;
  const std::size_t to = rng.below(from);
  std::rotate(order.begin() + static_cast<std::ptrdiff_t>(to),
              order.begin() + static_cast<std::ptrdiff_t>(from),
              order.begin() + static_cast<std::ptrdiff_t>(from) + 1);
}

struct Placement {
  std::vector<Index> order;
  std::vector<std::int64_t> offsets;
  std::int64_t height = std::numeric_limits<std::int64_t>::max();
};

std::vector<std::int64_t> best_offsets(const Problem& p, std::size_t steps, int tries) {
  Placer placer(p);
  Placement best;
  for (std::vector<Index>& order : orderings(p, steps)) {
    const std::int64_t height = placer.place(order);
    if (height < best.height) best = {std::move(order), placer.offsets(), height};
    if (best.height <= p.bound) return best.offsets;
  }
  Rng rng(0, "arena");
  Placement current = best;
  for (int i = 0; i < tries && best.height > p.bound; ++i) {
    Placement next{current.order, {}, 0};
    promote(p, current.offsets, current.height, rng, next.order);
    next.height = placer.place(next.order);
    // Small steps up are taken now and then, else the search sits in the first hollow.
    if (next.height > current.height && !rng.chance(0.05)) continue;
    next.offsets = placer.offsets();
    current = std::move(next);
    if (current.height < best.height) best = current;
  }
  return best.offsets;
}

}  // namespace

ArenaPlan plan_arena(const MemoryProgram& program, const ArenaLimits& limits) {
  const Problem p = make_problem(program);
  const std::vector<Lifetime> lives = lifetimes(program);
  ArenaPlan plan;
  plan.bound = Bytes(p.bound);
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const auto step = static_cast<Index>(i);
    plan.tensors.push_back({0, program.steps[i].output, lives[i]});
    plan.scratch.push_back({0, program.steps[i].scratch, {step, step}});
  }
  if (p.blocks.empty()) return plan;
  const std::vector<std::int64_t> offsets = best_offsets(p, program.steps.size(), limits.tries);
  for (std::size_t b = 0; b < p.blocks.size(); ++b) {
    const Block& block = p.blocks[b];
    ArenaBlock& placed = (block.scratch ? plan.scratch : plan.tensors)[at(block.step)];
    placed.offset = offsets[b];
    plan.size = std::max(plan.size, Bytes(offsets[b] + block.size));
  }
  return plan;
}

}  // namespace nas
