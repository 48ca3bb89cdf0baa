#include "space/memory_order.h"

#include <algorithm>
#include <cassert>

namespace nas {
namespace {

using Index = std::int32_t;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// The readers of every step, and whether it is the result.
struct Uses {
  std::vector<std::vector<Index>> readers;
  explicit Uses(const MemoryProgram& program) : readers(program.steps.size()) {
    for (std::size_t i = 0; i < program.steps.size(); ++i) {
      const auto& inputs = program.steps[i].inputs;
      for (std::size_t k = 0; k < 2; ++k)
        if (inputs[k] >= 0 && (k == 0 || inputs[1] != inputs[0]))
          readers[at(inputs[k])].push_back(static_cast<Index>(i));
    }
  }
};

// Step v is a cut when every earlier step reaches it and every later one is reached from it. Returns the
// index behind each cut (and the end): the segments between them are independent.
std::vector<Index> segment_ends(const MemoryProgram& program) {
  const auto n = static_cast<Index>(program.steps.size());
  std::vector<char> all_before(at(n), 0), all_after(at(n), 0);
  std::vector<char> mark(at(n));
  for (Index v = 0; v < n; ++v) {
    std::fill(mark.begin(), mark.end(), 0);
    mark[at(v)] = 1;
    Index found = 0;
    for (Index u = v; u >= 0; --u) {
      if (!mark[at(u)]) continue;
      ++found;
      for (const Index from : program.steps[at(u)].inputs)
        if (from >= 0) mark[at(from)] = 1;
    }
    all_before[at(v)] = found == v + 1;
    std::fill(mark.begin(), mark.end(), 0);
    mark[at(v)] = 1;
    found = 0;
    for (Index u = v; u < n; ++u) {
      for (const Index from : program.steps[at(u)].inputs)
        if (from >= 0 && mark[at(from)]) mark[at(u)] = 1;
      if (mark[at(u)]) ++found;
    }
    all_after[at(v)] = found == n - v;
  }
  std::vector<Index> ends;
  for (Index v = 0; v < n; ++v)
    if (all_before[at(v)] && all_after[at(v)]) ends.push_back(v + 1);
  if (ends.empty() || ends.back() != n) ends.push_back(n);
  return ends;
}

// A set of executed steps of one segment with the best way found to it.
struct State {
  std::int64_t peak = 0;
  std::int64_t resident = 0;  // bytes alive after the last executed step
  Index parent = -1;          // in the level before
  Index step = -1;            // executed last
};

struct Level {
  std::vector<State> states;
  std::vector<std::uint64_t> sets;  // `words` per state
};

class Segment {
 public:
  Segment(const MemoryProgram& program, const Uses& uses, Index begin, Index end)
      : program_(program), uses_(uses), begin_(begin), end_(end), words_((at(end - begin) + 63) / 64) {}

  // Appends the best order found; returns whether it is proven best. `resident`: bytes alive before.
  bool solve(const OrderLimits& limits, std::int64_t resident, std::vector<Index>& order) {
    const std::int64_t bound = given_peak(resident);
    levels_.assign(1, Level{{State{0, resident, -1, -1}}, std::vector<std::uint64_t>(words_, 0)});
    bool exact = true;
    for (Index k = 0; k < end_ - begin_; ++k) {
      Level next;
      expand(levels_.back(), bound, next);
      exact = keep_best(next, limits.states) && exact;
      if (next.states.empty()) break;  // nothing beats the given order
      levels_.push_back(std::move(next));
    }
    if (static_cast<Index>(levels_.size()) <= end_ - begin_) {
      for (Index i = begin_; i < end_; ++i) order.push_back(i);
      return exact;
    }
    const std::size_t start = order.size();
    for (std::size_t level = levels_.size() - 1, state = 0; level > 0; --level) {
      const State& s = levels_[level].states[state];
      order.push_back(s.step);
      state = at(s.parent);
    }
    std::reverse(order.begin() + static_cast<std::ptrdiff_t>(start), order.end());
    return exact;
  }

 private:
  bool inside(Index i) const { return i >= begin_ && i < end_; }
  bool has(const std::uint64_t* set, Index i) const {
    return set[at(i - begin_) / 64] >> (at(i - begin_) % 64) & 1;
  }

  bool executed(const std::uint64_t* set, Index i) const { return i < begin_ || (i < end_ && has(set, i)); }

  // The result waits for everything, also for steps that nobody reads.
  bool ready(const std::uint64_t* set, Index i) const {
    if (is_result(i))
      for (Index other = begin_; other < i; ++other)
        if (!has(set, other)) return false;
    const auto& inputs = program_.steps[at(i)].inputs;
    return (inputs[0] < 0 || executed(set, inputs[0])) && (inputs[1] < 0 || executed(set, inputs[1]));
  }

  bool is_result(Index i) const { return at(i) + 1 == program_.steps.size(); }

  // After `step` (already in the set) no reader of `tensor` is left.
  bool dead(const std::uint64_t* set, Index step, Index tensor) const {
    if (is_result(tensor)) return false;
    return std::ranges::all_of(uses_.readers[at(tensor)],
                               [&](Index r) { return r == step || executed(set, r); });
  }

  // Live bytes while `step` runs, and the bytes that stay after it.
  std::pair<std::int64_t, std::int64_t> run(const std::uint64_t* set, Index step,
                                            std::int64_t resident) const {
    const MemoryStep& s = program_.steps[at(step)];
    std::int64_t shared = 0, freed = 0;
    for (std::size_t k = 0; k < 2; ++k) {
      if (s.inputs[k] < 0 || !dead(set, step, s.inputs[k])) continue;
      shared = std::max(shared, s.shared[k]);
      if (k == 0 || s.inputs[1] != s.inputs[0]) freed += program_.steps[at(s.inputs[k])].output;
    }
    const bool unread = uses_.readers[at(step)].empty() && !is_result(step);
    return {resident + s.output + s.scratch - shared, resident + (unread ? 0 : s.output) - freed};
  }

  std::int64_t given_peak(std::int64_t resident) const {
    std::vector<std::uint64_t> set(words_, 0);
    std::int64_t peak = 0;
    for (Index i = begin_; i < end_; ++i) {
      const auto [live, after] = run(set.data(), i, resident);
      peak = std::max(peak, live);
      resident = after;
      set[at(i - begin_) / 64] |= std::uint64_t{1} << (at(i - begin_) % 64);
    }
    return peak;
  }

  void expand(const Level& from, std::int64_t bound, Level& to) const {
    for (std::size_t s = 0; s < from.states.size(); ++s) {
      const std::uint64_t* set = from.sets.data() + s * words_;
      for (Index i = begin_; i < end_; ++i) {
        if (has(set, i) || !ready(set, i)) continue;
        const auto [live, after] = run(set, i, from.states[s].resident);
        const std::int64_t peak = std::max(from.states[s].peak, live);
        if (peak >= bound) continue;
        to.states.push_back({peak, after, static_cast<Index>(s), i});
        to.sets.insert(to.sets.end(), set, set + words_);
        to.sets[to.sets.size() - words_ + at(i - begin_) / 64] |= std::uint64_t{1} << (at(i - begin_) % 64);
      }
    }
  }

  // One state per set, the lowest peaks first; false when some had to go.
  bool keep_best(Level& level, std::size_t limit) const {
    std::vector<std::size_t> index(level.states.size());
    for (std::size_t i = 0; i < index.size(); ++i) index[i] = i;
    const auto set = [&](std::size_t i) { return level.sets.data() + i * words_; };
    const auto order = [&](std::size_t a, std::size_t b) {
      return std::lexicographical_compare_three_way(set(a), set(a) + words_, set(b), set(b) + words_);
    };
    std::ranges::stable_sort(index, [&](std::size_t a, std::size_t b) {
      const auto c = order(a, b);
      return c != 0 ? c < 0 : level.states[a].peak < level.states[b].peak;
    });
    const auto twins =
        std::ranges::unique(index, [&](std::size_t a, std::size_t b) { return order(a, b) == 0; });
    index.erase(twins.begin(), twins.end());
    const bool whole = index.size() <= limit;
    if (!whole) {
      std::ranges::stable_sort(index, [&](std::size_t a, std::size_t b) {
        const State &x = level.states[a], &y = level.states[b];
        return x.peak != y.peak ? x.peak < y.peak : x.resident < y.resident;
      });
      index.resize(limit);
    }
    Level kept;
    for (const std::size_t i : index) {
      kept.states.push_back(level.states[i]);
      kept.sets.insert(kept.sets.end(), set(i), set(i) + words_);
    }
    level = std::move(kept);
    return whole;
  }

  const MemoryProgram& program_;
  const Uses& uses_;
  Index begin_, end_;
  std::size_t words_;
  std::vector<Level> levels_;
};

// Bytes alive between the steps before `end` and the rest.
std::int64_t resident_before(const MemoryProgram& program, const Uses& uses, Index end) {
  std::int64_t bytes = 0;
  for (Index t = 0; t < end; ++t) {
    const auto& readers = uses.readers[at(t)];
    if (std::ranges::any_of(readers, [&](Index r) { return r >= end; })) bytes += program.steps[at(t)].output;
  }
  return bytes;
}

}  // namespace

MemoryOrder best_order(const MemoryProgram& program, const OrderLimits& limits) {
  const Uses uses(program);
  MemoryOrder best;
  best.exact = true;
  Index begin = 0;
  for (const Index end : segment_ends(program)) {
    if (end - begin == 1)
      best.steps.push_back(begin);
    else if (!Segment(program, uses, begin, end)
                  .solve(limits, resident_before(program, uses, begin), best.steps))
      best.exact = false;
    begin = end;
  }
  MemoryWorkspace workspace;
  best.peak = peak_memory(reordered(program, best.steps), workspace).bytes;
  return best;
}

MemoryProgram reordered(const MemoryProgram& program, const std::vector<std::int32_t>& order) {
  assert(order.size() == program.steps.size());
  std::vector<Index> place(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) place[at(order[i])] = static_cast<Index>(i);
  MemoryProgram result;
  for (const Index old : order) {
    MemoryStep step = program.steps[at(old)];
    for (Index& from : step.inputs)
      if (from >= 0) from = place[at(from)];
    result.steps.push_back(step);
  }
  return result;
}

}  // namespace nas
