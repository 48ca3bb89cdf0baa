// Memory models and arena plans against networks that run byte by byte (arena_machine.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "space/memory_order.h"
#include "space/network_builder.h"
#include "space/patch.h"
#include "space/search_space.h"
#include "tests/space/arena_machine.h"

namespace nas {
namespace {

using oracle::at;

std::int32_t draw(Rng& rng, std::int32_t low, std::int32_t high) {
  return low + static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
}

// Any combination of what the models know, but overlap=full: that is a bound, no kernel.
MemoryOptions random_options(Rng& rng) {
  MemoryOptions o;
  o.fusion.add = rng.chance(0.5);
  o.fusion.activation = rng.chance(0.8);
  o.count_input = rng.chance(0.7);
  o.in_place_elementwise = rng.chance(0.6);
  o.depthwise = static_cast<DepthwiseInPlace>(rng.below(4));
  o.overlap = static_cast<ConvOverlap>(rng.below(2));
  o.fold_padding = rng.chance(0.7);
  o.im2col_columns = draw(rng, 0, 2);
  o.alignment = std::int64_t{1} << (2 * rng.below(3));
  return o;
}

// Windows of all kinds, residuals from further back, squeeze-excites, a head.
Network random_network(Rng& rng) {
  Network network;
  NetworkBuilder b(network);
  std::vector<std::int32_t> made{b.input({draw(rng, 1, 4), draw(rng, 3, 9), draw(rng, 3, 9)})};
  for (std::int16_t i = 1; i <= 9; ++i) {
    const std::int32_t from = made[made.size() - 1 - rng.below(std::min<std::size_t>(2, made.size()))];
    const Shape s = b.shape(from);
    const std::int32_t kernel = 1 + 2 * draw(rng, 0, 2),
                       stride = s.height > 2 && s.width > 2 ? draw(rng, 1, 2) : 1;
    const Site site{i, 1, Role::conv1};
    const auto act = rng.chance(0.7) ? Activation::relu : Activation::none;
    switch (rng.below(7)) {
      case 0:
        made.push_back(b.conv_bn_act(from, site, draw(rng, 1, 9), kernel, stride, 1, act));
        break;
      case 1:
        made.push_back(b.conv_bn_act(from, site, 2 * s.channels, 1, 1, s.channels % 2 == 0 ? 2 : 1, act));
        break;
      case 2:
        made.push_back(b.squeeze_excite(from, site, 2, Activation::hard_sigmoid));
        break;
      case 3:
        made.push_back(b.max_pool(from, site, 3, stride, 1));
        break;
      case 4: {
        const auto other =
            std::ranges::find_if(made, [&](std::int32_t m) { return m != from && b.shape(m) == s; });
        if (other != made.end()) made.push_back(b.activation(b.add(from, *other, site), act));
        break;
      }
      default:  // depthwise most often
        made.push_back(b.conv_bn_act(from, site, s.channels, kernel, stride, s.channels, act));
        break;
    }
  }
  b.linear(b.global_pool(made.back(), {0, 0, Role::pool}), {0, 0, Role::classifier}, 5, true);
  return network;
}

// Runs in the plan's arena, and never holds fewer bytes than the model says nor more than the arena.
void expect_runs(const Network& network, const MemoryOptions& options, const MemoryProgram& program,
                 const std::string& what) {
  const ArenaPlan plan = plan_arena(program);
  const oracle::Run run =
      oracle::run(network, oracle::whole_parts(network), options, program, plan, oracle::reference(network));
  ASSERT_EQ(run.problem, "") << what;
  ASSERT_LE(run.peak, plan.size.count()) << what;
  ASSERT_GE(run.peak, plan.bound.count()) << what;
}

TEST(MemoryModel, PlansRunRandomNetworksByteByByteUnderEveryOption) {
  for (std::uint64_t i = 0; i < 1500; ++i) {
    Rng rng(1, "arena machine", 0, i);
    const Network network = random_network(rng);
    ASSERT_TRUE(validate(network));
    const MemoryOptions options = random_options(rng);
    const MemoryProgram program = memory_program(network, options);
    expect_runs(network, options, program, "network " + std::to_string(i));
    if (HasFatalFailure()) return;
    expect_runs(network, options, reordered(program, best_order(program).steps),
                "network " + std::to_string(i) + " in its best order");
    if (HasFatalFailure()) return;
  }
}

TEST(MemoryModel, PlansRunNetworksOfTheSpaces) {
  const std::pair<const char*, int> kSpaces[] = {
      {"tiny", 16}, {"cifar-mbv3", 24}, {"nasbench201", 4}, {"mnasnet-accel", 32}};
  for (const auto& [name, side] : kSpaces) {
    const SearchSpace space = *load_space(name, {.classes = 10, .resolutions = {side}});
    Rng rng(2, "arena machine spaces");
    const Network network = space.lower(space.sample(rng));
    for (const char* model :
         {"plain", "in-place", "tinyengine", "plain,overlap=rows,depthwise=lines,align=16",
          "in-place,padding=copied,im2col=1,residual=fused"}) {
      const MemoryOptions options = *memory_model(model);
      expect_runs(network, options, memory_program(network, options), std::string(name) + " " + model);
      if (HasFatalFailure()) return;
    }
  }
}

// The two-step network of one window, its output `before` bytes before its input.
oracle::Run run_placed(const Network& network, const MemoryOptions& options, std::int64_t before,
                       oracle::Walk walk) {
  const MemoryProgram program = memory_program(network, options);
  ArenaPlan plan = plan_arena(program);
  ArenaBlock &in = plan.tensors[0], &out = plan.tensors[1];
  in.offset = std::max<std::int64_t>(0, before);
  out.offset = std::max<std::int64_t>(0, -before);
  plan.size = Bytes(std::max(in.offset + in.size, out.offset + out.size));
  return oracle::run(network, oracle::whole_parts(network), options, program, plan,
                     oracle::reference(network), walk);
}

TEST(MemoryModel, RowOverlapIsTheSmallestThatRowsAllowUpwardsAndDownwards) {
  int tight_up = 0, tight_down = 0;
  for (std::uint64_t i = 0; i < 600; ++i) {
    Rng rng(3, "row lead", 0, i);
    Network network;
    NetworkBuilder b(network);
    const std::int32_t in = b.input({draw(rng, 1, 4), draw(rng, 1, 8), draw(rng, 1, 8)});
    const std::int32_t kernel = 1 + 2 * draw(rng, 0, 3);
    b.conv(in, {1, 1, Role::conv1}, draw(rng, 1, 6), kernel, draw(rng, 1, 3));
    MemoryOptions options;
    options.overlap = ConvOverlap::rows;
    const MemoryStep step = memory_program(network, options).steps[1];
    for (const std::int64_t more : {0, 1, 5}) {
      ASSERT_EQ(run_placed(network, options, step.lead[0] + more, oracle::Walk::up).problem, "") << i;
      ASSERT_EQ(run_placed(network, options, -step.lag - more, oracle::Walk::down).problem, "") << i;
    }
    const std::int64_t input = network.layers[0].out.elements();
    const std::int64_t up = std::max(step.lead[0] + input, step.output);
    const std::int64_t down = std::max(input, step.lag + step.output);
    ASSERT_EQ(peak_memory(network, options).bytes.count(), std::min(up, down)) << i;
    if (step.lead[0] > 0) {
      ++tight_up;
      ASSERT_NE(run_placed(network, options, step.lead[0] - 1, oracle::Walk::up).problem, "") << i;
    }
    // The output ends behind the input, and the windows reach the end of the rows.
    const Layer& l = network.layers[1];
    if (step.lag + step.output > input && (l.out.width - 1) * l.stride - l.padding + l.kernel >= l.in.width) {
      ++tight_down;
      ASSERT_NE(run_placed(network, options, -step.lag + 1, oracle::Walk::down).problem, "") << i;
    }
  }
  EXPECT_GT(tight_up, 300);
  EXPECT_GT(tight_down, 300);
}

// What no runtime can beat: a window's input lies there whole before, its output after; and what rows can do
// is never less.
TEST(MemoryModel, FullOverlapIsABoundThatNoRowwiseKernelBeats) {
  for (std::uint64_t i = 0; i < 500; ++i) {
    Rng rng(4, "full overlap", 0, i);
    const Network network = random_network(rng);
    MemoryOptions options = random_options(rng);
    options.overlap = ConvOverlap::rows;
    const Bytes rows = peak_memory(network, options).bytes;
    options.overlap = ConvOverlap::full;
    const std::vector<std::int64_t> live = live_bytes(memory_program(network, options));
    ASSERT_LE(*std::ranges::max_element(live), rows.count()) << i;
    const MemoryProgram program = memory_program(network, options);
    for (std::size_t s = 0; s < live.size(); ++s) {
      std::int64_t largest = program.steps[s].output;
      for (const std::int32_t from : program.steps[s].inputs)
        if (from >= 0) largest = std::max(largest, program.steps[at(from)].output);
      ASSERT_GE(live[s], largest) << i;
    }
  }
}

TEST(MemoryModel, BuffersHaveTheSizesThatTheReferencesName) {
  Network network;
  NetworkBuilder b(network);
  const std::int32_t in = b.input({8, 10, 12});
  const std::int32_t wide = b.conv(in, {1, 1, Role::conv1}, 16, 5, 1);
  b.conv(wide, {1, 2, Role::depthwise}, 16, 3, 1, 16);
  const auto steps = [&](const char* model) { return memory_program(network, *memory_model(model)).steps; };
  EXPECT_EQ(steps("plain,im2col=2")[1].scratch, 2 * 2 * 5 * 5 * 8);               // two int16 columns
  EXPECT_EQ(steps("plain,depthwise=plane")[2].scratch, 2 * (10 + 2) * (12 + 2));  // TinyEngine
  EXPECT_EQ(steps("plain,depthwise=lines")[2].scratch, 2 * 12 * 16);              // padding + 1 rows
  EXPECT_EQ(steps("plain,depthwise=free")[2].scratch, 0);
  EXPECT_EQ(peak_memory(network, *memory_model("plain")).bytes.count(), 2 * 16 * 120);
  EXPECT_EQ(peak_memory(network, *memory_model("in-place")).bytes.count(), (8 + 16) * 120);
  EXPECT_EQ(peak_memory(network, *memory_model("overlap")).bytes.count(), 16 * 120);
  const auto copied = steps("plain,padding=copied");
  ASSERT_EQ(copied.size(), 5u);
  EXPECT_EQ(copied[1].output, 8 * (10 + 4) * (12 + 4));
  EXPECT_EQ(copied[3].output, 16 * (10 + 2) * (12 + 2));
  EXPECT_EQ(steps("plain,input=outside")[0].output, 0);
  EXPECT_EQ(steps("plain,align=64")[2].output, 1920);
  EXPECT_EQ(steps("plain,align=128")[0].output, 1024);
}

// Rows and columns of every layer that output pixels [top, bottom) x [left, right) of the split need: pixel
// sets.
std::vector<oracle::Part> patch_parts(const Network& network, const PatchPlan& plan, std::int32_t row,
                                      std::int32_t column) {
  std::vector<std::set<std::int32_t>> rows(at(plan.split) + 1), columns = rows;
  const Shape& out = network.layers[at(plan.split)].out;
  for (std::int32_t y = out.height * row / plan.grid; y < out.height * (row + 1) / plan.grid; ++y)
    rows[at(plan.split)].insert(y);
  for (std::int32_t x = out.width * column / plan.grid; x < out.width * (column + 1) / plan.grid; ++x)
    columns[at(plan.split)].insert(x);
  const auto spread = [](const Layer& l, const std::set<std::int32_t>& need, std::int32_t extent,
                         std::set<std::int32_t>& into) {
    const bool window = l.kind == LayerKind::conv || l.kind == LayerKind::max_pool;
    for (const std::int32_t p : need)
      for (std::int32_t k = 0; k < (window ? l.kernel : 1); ++k) {
        const std::int32_t q = window ? p * l.stride - l.padding + k : p;
        if (q >= 0 && q < extent) into.insert(q);
      }
  };
  for (std::int32_t i = plan.split; i > 0; --i)
    for (const std::int32_t from : network.layers[at(i)].inputs) {
      if (from < 0) continue;
      const Shape& in = network.layers[at(from)].out;
      spread(network.layers[at(i)], rows[at(i)], in.height, rows[at(from)]);
      spread(network.layers[at(i)], columns[at(i)], in.width, columns[at(from)]);
    }
  std::vector<oracle::Part> parts;
  for (std::size_t l = 0; l < rows.size(); ++l)
    parts.push_back({rows[l].empty() ? 0 : *rows[l].begin(), columns[l].empty() ? 0 : *columns[l].begin(),
                     network.layers[l].out});
  return parts;
}

// Every patch runs byte by byte in an arena no larger than the patch peak, and together they are the output
// of the whole layers.
TEST(Patches, RunByteByByteAndGiveTheWholeOutput) {
  int grids = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    Rng rng(5, "patch machine", 0, i);
    const Network network = random_network(rng);
    const auto splits = patch_splits(network);
    if (splits.empty()) continue;
    PatchPlan plan{splits[rng.below(splits.size())], 1};
    const Shape& out = network.layers[at(plan.split)].out;
    plan.grid = draw(rng, 1, std::min({3, out.height, out.width}));
    PatchOptions options;
    options.memory = random_options(rng);
    options.memory.fusion.activation = true;  // a split may stand between a layer and an activation apart
    const auto cost = patch_cost(network, plan, options);
    ASSERT_TRUE(cost) << cost.error().message;
    const std::vector<oracle::Tokens> expected = oracle::reference(network);
    std::int64_t highest = 0;
    for (std::int32_t row = 0; row < plan.grid; ++row)
      for (std::int32_t column = 0; column < plan.grid; ++column) {
        const Network patch = patch_network(network, plan, row, column);
        const MemoryProgram program = patch_program(patch, options.memory);
        const ArenaPlan arena = plan_arena(program);
        const oracle::Run run = oracle::run(patch, patch_parts(network, plan, row, column), options.memory,
                                            program, arena, expected);
        ASSERT_EQ(run.problem, "") << i;
        highest = std::max(highest, arena.bound.count());
      }
    const std::int64_t align = options.memory.alignment;
    ASSERT_EQ(cost->patch_peak.count(), highest + (out.elements() + align - 1) / align * align) << i;
    grids += plan.grid > 1;
  }
  EXPECT_GT(grids, 100);
}

}  // namespace
}  // namespace nas
