#include <algorithm>

#include "space/network_builder.h"
#include "space/rounding.h"
#include "space/staged/staged_plan.h"

namespace nas {
namespace {

// What the blocks of one lowering share.
struct Lowering {
  const StagedPlan& plan;
  const Genotype& g;
  NetworkBuilder builder;
  double width;

  std::int32_t scaled(std::int32_t channels) const {
    return width == 1 ? channels : make_divisible(channels * width);
  }

  void use(const Bits& bits) {
    builder.set_bits(static_cast<std::uint8_t>(bits.weights.at(g)),
                     static_cast<std::uint8_t>(bits.activations.at(g)));
  }
  void use(const BlockPlan& block, std::size_t part) {
    use(block.bits[std::min(part, block.bits.size() - 1)]);
  }
};

struct BlockShape {
  std::int16_t stage, block;
  std::int32_t out_channels, stride;
  std::uint8_t variant = 0;
  Site site(Role role) const { return {stage, block, role, variant}; }
};

std::int32_t add_shortcut(Lowering& l, std::int32_t from, std::int32_t to, const BlockShape& shape) {
  return l.builder.shape(from) == l.builder.shape(to) ? l.builder.add(to, from, shape.site(Role::join)) : to;
}

std::int32_t mbconv(Lowering& l, std::int32_t from, const BlockPlan& block, const Operation& op,
                    const BlockShape& shape) {
  NetworkBuilder& b = l.builder;
  const Activation act = block.activation.at(l.g);
  std::int32_t at = from;
  std::int32_t middle = b.shape(from).channels;
  l.use(block, 0);
  if (op.expand != 1) {
    middle = expanded_channels(middle, op.expand);
    at = b.conv_bn_act(at, shape.site(Role::expand), middle, 1, 1, op.groups, act);
  }
  l.use(block, 1);
  at = b.conv_bn_act(at, shape.site(Role::depthwise), middle, op.kernel, shape.stride, middle, act);
  if (op.squeeze_excite) {
    const std::int32_t hidden =
        l.plan.squeeze_from_input ? std::max(1, b.shape(from).channels / 4) : squeezed_channels(middle);
    at = b.squeeze_excite(at, shape.site(Role::squeeze_excite), hidden, l.plan.squeeze_excite_gate);
  }
  l.use(block, 2);
  at = b.conv_bn_act(at, shape.site(Role::project), shape.out_channels, 1, 1, op.groups, Activation::none);
  return shape.stride == 1 ? add_shortcut(l, from, at, shape) : at;
}

// A skip where shapes allow none is a 1x1 convolution that gives the block its shape (FBNet).
std::int32_t skip(Lowering& l, std::int32_t from, const BlockPlan& block, const BlockShape& shape) {
  if (shape.stride == 1 && l.builder.shape(from).channels == shape.out_channels) return from;
  return l.builder.conv_bn_act(from, shape.site(Role::shortcut), shape.out_channels, 1, shape.stride, 1,
                               block.activation.at(l.g));
}

// The identity, or a strided 1x1 convolution with batch norm where the shape changes (He et al. 2016).
std::int32_t residual(Lowering& l, std::int32_t from, const BlockShape& shape) {
  if (shape.stride == 1 && l.builder.shape(from).channels == shape.out_channels) return from;
  return l.builder.conv_bn_act(from, shape.site(Role::shortcut), shape.out_channels, 1, shape.stride, 1,
                               Activation::none);
}

std::int32_t resnet_block(Lowering& l, std::int32_t from, const BlockPlan& block, const Operation& op,
                          const BlockShape& shape, bool bottleneck) {
  NetworkBuilder& b = l.builder;
  const Activation act = block.activation.at(l.g);
  l.use(block, 0);
  const std::int32_t identity = residual(l, from, shape);
  std::int32_t at = from;
  if (bottleneck) {
    const std::int32_t middle = expanded_channels(shape.out_channels, op.expand);
    at = b.conv_bn_act(at, shape.site(Role::conv1), middle, 1, 1, 1, act);
    at = b.conv_bn_act(at, shape.site(Role::conv2), middle, op.kernel, shape.stride, 1, act);
    at = b.conv_bn_act(at, shape.site(Role::conv3), shape.out_channels, 1, 1, 1, Activation::none);
  } else {
    at = b.conv_bn_act(at, shape.site(Role::conv1), expanded_channels(shape.out_channels, op.expand),
                       op.kernel, shape.stride, 1, act);
    at = b.conv_bn_act(at, shape.site(Role::conv2), shape.out_channels, op.kernel, 1, 1, Activation::none);
  }
  return b.activation(b.add(at, identity, shape.site(Role::join)), act);
}

std::int32_t lower_block(Lowering& l, BlockKind kind, std::int32_t from, const BlockPlan& block,
                         BlockShape shape) {
  l.builder.set_rank(block.rank.at(l.g));
  Operation op;
  if (block.operation.values.empty()) {
    op = {false, block.kernel.at(l.g), block.expand.at(l.g), 1, block.squeeze_excite.at(l.g)};
  } else {
    op = block.operation.at(l.g);
    shape.variant = block.operation.gene < 0
                        ? std::uint8_t{1}
                        : static_cast<std::uint8_t>(l.g[static_cast<std::size_t>(block.operation.gene)] + 1);
    if (op.skip) return skip(l, from, block, shape);
  }
  NetworkBuilder& b = l.builder;
  switch (kind) {
    case BlockKind::mbconv:
      return mbconv(l, from, block, op, shape);
    case BlockKind::separable:
      op.expand = 1;
      return mbconv(l, from, block, op, shape);
    case BlockKind::conv:
      l.use(block, 0);
      return b.conv_bn_act(from, shape.site(Role::conv1), shape.out_channels, op.kernel, shape.stride, 1,
                           block.activation.at(l.g));
    case BlockKind::basic:
      return resnet_block(l, from, block, op, shape, false);
    case BlockKind::bottleneck:
      return resnet_block(l, from, block, op, shape, true);
  }
  return from;
}

std::int32_t lower_head(Lowering& l, std::int32_t at, const HeadPlan& head, std::int16_t number) {
  NetworkBuilder& b = l.builder;
  l.use(head.bits);
  b.set_rank(head.rank.at(l.g));
  if (head.kind == HeadKind::pool) return b.global_pool(at, {0, number, Role::pool});
  std::int32_t channels =
      head.expand > 0 ? expanded_channels(b.shape(at).channels, head.expand) : head.channels.at(l.g);
  if (head.scale == HeadScale::always || (head.scale == HeadScale::above_one && l.width > 1))
    channels = l.scaled(channels);
  at = b.conv(at, {0, number, Role::head}, channels, 1, 1, 1, head.bias);
  if (head.batch_norm) at = b.batch_norm(at);
  return b.activation(at, head.activation);
}

}  // namespace

void lower(const StagedPlan& plan, const Genotype& g, Network& network) {
  Lowering l{plan, g, NetworkBuilder(network), plan.width.at(g)};
  NetworkBuilder& b = l.builder;
  const std::int32_t side = plan.resolution.at(g);
  std::int32_t at = b.input({plan.input_channels, side, side});
  l.use(plan.stem.bits);
  at = b.conv_bn_act(at, {0, 0, Role::stem}, l.scaled(plan.stem.channels.at(g)), plan.stem.kernel,
                     plan.stem.stride, 1, plan.stem.activation);
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    const std::int32_t channels = l.scaled(stage.channels.at(g));
    const auto depth = static_cast<std::size_t>(stage.depth.at(g));
    for (std::size_t k = 0; k < depth; ++k) {
      const BlockShape shape{static_cast<std::int16_t>(s + 1), static_cast<std::int16_t>(k + 1), channels,
                             k == 0 ? stage.stride.at(g) : 1};
      at = lower_block(l, stage.kind, at, stage.blocks[k], shape);
    }
  }
  for (std::size_t h = 0; h < plan.head.size(); ++h)
    at = lower_head(l, at, plan.head[h], static_cast<std::int16_t>(h + 1));
  l.use(plan.classifier_bits);
  b.set_rank(plan.classifier_rank.at(g));
  b.linear(at, {0, 0, Role::classifier}, plan.classes, true);
}

}  // namespace nas
