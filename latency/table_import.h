#pragma once
#include <string>

#include "latency/measure/session.h"
#include "space/base/result.h"

namespace nas::latency {

// A table that others made, as a session: where it states no interval, low = high = median, one sample. The
// caller names the session; unit, device and precision are the table's, else "ns", "imported", "fp32".
// Failures are named with file and line; two entries of one key are an error.
//
// CSV with a header. Needs `signature` and a time: `median` (in `unit`, ns when there is no such column) or
// `ms`. Reads every column that `hwnas table export` writes, so that export and import give the same numbers.
Result<Session> read_table_csv(const std::string& text, const std::string& where);

// As CSV; numbers survive to the last bit.
std::string to_csv(const Session& session);

}  // namespace nas::latency
