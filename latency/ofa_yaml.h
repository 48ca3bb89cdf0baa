#pragma once
#include <string>

#include "latency/measure/session.h"
#include "space/base/result.h"

namespace nas::latency {

// The entries of once-for-all's lookup_table.yaml as kernels (nanoseconds; their keys are no signatures of
// ours): keys at the margin, "mean: milliseconds" and "count: n" below or in braces. Fails naming file and
// line on a mean that is no time above 0, and on a key without one.
Result<Session> read_ofa_yaml(const std::string& text, const std::string& where);

}  // namespace nas::latency
