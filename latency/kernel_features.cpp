#include "latency/kernel_features.h"

#include <cmath>

#include "space/cost.h"

namespace nas::latency {

std::string kernel_kind(const Kernel& kernel) {
  const Layer& l = kernel.anchor;
  const auto few = [](std::uint8_t bits) { return bits > 0 && bits < 8; };
  std::string kind(to_string(l.kind));
  if (is_depthwise(l)) kind = "depthwise conv";
  if (l.kind == LayerKind::conv && l.kernel == 1) kind = "pointwise conv";
  if (few(l.weight_bits)) kind += ", " + std::to_string(l.weight_bits) + "-bit weights";
  if (few(l.activation_bits)) kind += ", " + std::to_string(l.activation_bits) + "-bit results";
  return kind;
}

std::array<double, 3> kernel_work(const Kernel& kernel) {
  const Layer& l = kernel.anchor;
  const std::int64_t side = l.side.channels > 0 ? l.side.elements() : 0;
  return {static_cast<double>(macs(l).count()),
          static_cast<double>(l.in.elements() + side + l.out.elements()), 1};
}

std::vector<double> kernel_features(const Kernel& kernel) {
  const Layer& l = kernel.anchor;
  const auto of = [](auto v) { return static_cast<double>(v); };
  const auto log = [](double v) { return std::log1p(v); };
  const auto w = kernel_work(kernel);
  return {log(of(l.in.height) * of(l.in.width)),
          log(of(l.in.channels)),
          log(of(l.out.channels)),
          of(l.kernel),
          of(l.stride),
          log(w[0]),
          log(of(params(l).count())),
          log(of(l.out.height) * of(l.out.width)),
          log(of(l.hidden)),
          log(w[0] / w[1]),
          of(l.out.channels % 4 == 0) + of(l.out.channels % 8 == 0) + of(l.in.channels % 4 == 0),
          of(kernel.activation != Activation::none) + of(kernel.add) + of(kernel.batch_norm)};
}

}  // namespace nas::latency
