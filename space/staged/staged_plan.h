#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/genotype.h"
#include "space/network.h"

namespace nas {

// A property that is fixed (gene < 0) or chosen by a gene: values[choice].
template <class T>
struct Elastic {
  int gene = -1;
  std::vector<T> values;
  T at(const Genotype& g) const { return gene < 0 ? values[0] : values[g[static_cast<std::size_t>(gene)]]; }
};

enum class BlockKind : std::uint8_t { mbconv, conv, separable, basic, bottleneck };

// One alternative of an operation gene ("k5_e6", "skip").
struct Operation {
  bool skip = false;
  std::int32_t kernel = 3;
  double expand = 1;
  std::int32_t groups = 1;  // of the 1x1 convolutions, FBNet's group choice
  bool squeeze_excite = false;
};

struct Bits {
  Elastic<std::int32_t> weights{-1, {0}};
  Elastic<std::int32_t> activations{-1, {0}};
};

struct BlockPlan {
  Elastic<std::int32_t> kernel;
  Elastic<double> expand;
  Elastic<bool> squeeze_excite;
  Elastic<Activation> activation;
  Elastic<Operation> operation;  // empty values: kernel, expand and squeeze_excite hold
  // One entry for the block, or three (expand, depthwise, project) where bits are chosen per layer.
  std::vector<Bits> bits;
  Elastic<double> rank{-1, {1}};  // share of the full one that 1x1 convolutions keep (space/low_rank.h)
};

struct StagePlan {
  BlockKind kind = BlockKind::mbconv;
  Elastic<std::int32_t> depth;
  Elastic<std::int32_t> channels;
  Elastic<std::int32_t> stride;
  std::vector<BlockPlan> blocks;
};

struct StemPlan {
  Elastic<std::int32_t> channels;
  std::int32_t kernel = 3;
  std::int32_t stride = 2;
  Activation activation = Activation::relu;
  Bits bits;
};

enum class HeadKind : std::uint8_t { conv, pool };
enum class HeadScale : std::uint8_t { always, above_one, never };

struct HeadPlan {
  HeadKind kind = HeadKind::pool;
  Elastic<std::int32_t> channels;
  double expand = 0;  // when positive: channels follow from the input's
  bool batch_norm = true;
  bool bias = false;
  Activation activation = Activation::none;
  HeadScale scale = HeadScale::never;
  Bits bits;
  Elastic<double> rank{-1, {1}};
};

// A chain of stages of blocks between a stem and a head, with every elastic property resolved to a gene.
struct StagedPlan {
  std::int32_t input_channels = 3;
  std::int32_t classes = 1000;
  Elastic<std::int32_t> resolution;
  Elastic<double> width;  // multiplies stem and stage channels, rounded by make_divisible
  StemPlan stem;
  std::vector<StagePlan> stages;
  std::vector<HeadPlan> head;
  Bits classifier_bits;
  Elastic<double> classifier_rank{-1, {1}};
  Activation squeeze_excite_gate = Activation::hard_sigmoid;
  bool squeeze_from_input = false;  // reduced to a quarter of the block's input, not of its middle (MnasNet)
};

void lower(const StagedPlan& plan, const Genotype& g, Network& network);

}  // namespace nas
