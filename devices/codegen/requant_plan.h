#pragma once
#include <optional>
#include <string>
#include <vector>

#include "devices/codegen/kernel_spec.h"

namespace nas::devices::codegen {

// How the DSP kernels bring a channel's 32-bit accumulator back to 8 bits in three or four instructions.
// The documented y = (acc*m + 2^(30-s)) >> (31-s) has, for s <= -2 and k = -1-s, the same value as
//   ((acc*m >> 32) + 2^(k-1)) >> k
// because the rounding constant is a multiple of 2^32: the low word of the product cannot carry into it.
// SMMLA computes the bracket in one instruction; the output's zero point rides along as Z << k.
struct ChannelRequant {
  std::int32_t mantissa = 0;
  int shift = 1;  // k
};

struct LayerRequant {
  std::vector<ChannelRequant> channels;
  bool late_zero = false;  // Z << k does not fit for some channel: add Z after the shift
  // Accumulators arrive 2^extra times too large (weights of fewer bits at the tops of bytes), so that k may
  // be as small as 1 - extra; below 1 only single rounding has the short form.
  int extra = 0;
  bool single_only = false;
  bool fused_high = false;  // 256 times every accumulator fits in 32 bits, and so do the shifts k + 8
};

// Empty when some channel's multiplier is outside what the short form can do; the portable code serves then.
std::optional<LayerRequant> plan_requant(const KernelSpec& spec, const Int8Params& params);
// Is the DSP code of this kernel for single rounding only?
bool needs_single_rounding(const KernelSpec& spec, const Int8Params& params);

// "NAS_RQ(mantissa, k, extra, zero)": mantissa, rounding constant and shift, for either rounding.
std::string requant_text(const ChannelRequant& channel, int extra_shift, std::int32_t zero);

}  // namespace nas::devices::codegen
