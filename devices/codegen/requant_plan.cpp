#include "devices/codegen/requant_plan.h"

#include <algorithm>
#include <cstdlib>

namespace nas::devices::codegen {
namespace {

// True when every accumulator in the bounds becomes 0 under both roundings, whatever the mantissa.
bool always_zero(const Interval& bounds, const Multiplier& m) {
  const std::int64_t largest = std::max(std::llabs(bounds.low), std::llabs(bounds.high));
  return m.mantissa == 0 || (m.exponent < -2 && largest + 2 < std::int64_t{1} << (-m.exponent - 1));
}

// The zero point may ride in the rounding constant only while it and the product's high word stay in 32 bits.
bool zero_fits(int shift, std::int32_t zero) {
  return (std::int64_t{std::abs(zero)} + 1) << shift < std::int64_t{1} << 30;
}

}  // namespace

std::optional<LayerRequant> plan_requant(const KernelSpec& spec, const Int8Params& params) {
  constexpr int kLargestShift = 22;  // 1 << (k + 8) must stay below 2^31
  const std::vector<Interval> bounds = accumulator_bounds(spec, params);
  LayerRequant plan;
  plan.extra = 8 - spec.weight_bits;
  plan.fused_high = plan.extra == 0;
  for (std::size_t c = 0; c < bounds.size(); ++c) {
    const Multiplier& m = params.multipliers[c];
    if (always_zero(bounds[c], m)) {
      plan.channels.push_back({});
    } else {
      const int shift = -1 - m.exponent;
      if (shift + plan.extra < 1 || shift > kLargestShift) return std::nullopt;
      plan.single_only = plan.single_only || shift < 1;
      plan.channels.push_back({m.mantissa, shift});
    }
    constexpr std::int64_t kHighLimit = std::int64_t{1} << 22;
    if (bounds[c].low < -kHighLimit || bounds[c].high > kHighLimit) plan.fused_high = false;
    const std::int64_t limit = std::int64_t{1} << (31 - plan.extra);
    if (plan.extra > 0 && (bounds[c].low <= -limit || bounds[c].high >= limit)) return std::nullopt;
  }
  for (const ChannelRequant& channel : plan.channels)
    if (!zero_fits(channel.shift + (plan.fused_high ? 8 : std::max(plan.extra, 1)), params.output_zero))
      plan.late_zero = true;
  return plan;
}

bool needs_single_rounding(const KernelSpec& spec, const Int8Params& params) {
  if (spec.weight_bits == 8 || params.weights.empty()) return false;
  const auto plan = plan_requant(spec, params);
  return plan && plan->single_only;
}

std::string requant_text(const ChannelRequant& channel, int extra_shift, std::int32_t zero) {
  return "NAS_RQ(" + std::to_string(channel.mantissa) + "," + std::to_string(channel.shift) + "," +
         std::to_string(extra_shift) + "," + std::to_string(zero) + ")";
}

}  // namespace nas::devices::codegen
