#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "latency/measure/session.h"
#include "space/base/result.h"
#include "space/cost.h"
#include "space/kernel.h"

namespace nas::latency {

// Every entry is a multiple of this share of the unit (a nanosecond, an instruction). Sums of such numbers
// are exact in any order while they stay below 2^43 units, so a compiled form of a table (search/additive.h)
// gives the very bits that estimate() gives.
inline constexpr double kGrain = 1.0 / 1024;

enum class EntrySource { measured, interpolated, predicted };
std::string_view to_string(EntrySource source);

// One kernel of a network in a table, in the table's unit.
struct KernelEstimate {
  std::string signature;
  std::vector<std::int32_t> layers;  // of the network, anchor first
  double value = 0;
  double low = 0, high = 0;  // measured: the measurement's interval; interpolated: 90 % by leave-one-out
  EntrySource source = EntrySource::measured;
};

// The sum of a network's kernels. What happens between kernels (overlap, caches warmed by the one before) is
// not in it: latency/calibration.h corrects for that.
struct TableEstimate {
  double value = 0;
  double low = 0, high = 0;  // kernels taken as independent
  std::size_t interpolated = 0;
  std::vector<KernelEstimate> kernels;
};

// What one session measured, as a function of the network: kernels that were measured are looked up, others
// are interpolated among measured ones of their family (equal kind, window, stride, function and bits).
//
// Interpolation: time = c0 + c1 MACs + c2 input + c3 output + c4 weights, c >= 0, fitted to relative errors;
// times the ratio by which the nearest measured kernels differ from that; never below a measured kernel that
// is smaller in every dimension, never above one that is larger in every dimension. Only inside the box that
// the family's measured kernels span.
class LatencyTable {
 public:
  // Fails when nothing was measured, or a time is not finite and positive.
  static Result<LatencyTable> make(const Session& session);

  const SessionInfo& info() const;
  std::size_t size() const;  // measured kernels
  // The network at the table's precision, kernels as `rules` fuse them. Fails (usage) naming the first kernel
  // that was not measured and lies outside of what was.
  Result<TableEstimate> estimate(const Network& network, const FusionRules& rules) const;
  // Only its value; the same number to the last bit.
  Result<double> value(const Network& network, const FusionRules& rules) const;
  // One kernel; `layers` stays empty.
  Result<KernelEstimate> estimate(const Kernel& kernel) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// Bits of a session's precision word.
Precision precision_of(const std::string& word);

}  // namespace nas::latency
