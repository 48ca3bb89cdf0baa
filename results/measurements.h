#pragma once
#include <optional>
#include <vector>

#include "results/store.h"

// Sessions of measuring, and what they found.
namespace nas::results {

Result<Id> open_session(Store& store, Session record);  // uid and start are filled in when empty
// `state`: done or failed.
Result<void> close_session(Store& store, Id session, const std::string& state,
                           std::optional<double> celsius_end = {});
Result<std::vector<Session>> list_sessions(Store& store, std::optional<Id> device = {});
Result<Session> get_session(Store& store, Id id);

// All in one transaction; a kernel measured again in its session replaces the older row.
Result<void> add_kernel_times(Store& store, const std::vector<KernelTime>& rows);
Result<void> add_network_times(Store& store, const std::vector<NetworkTime>& rows);
// In order of signature; `with_samples` unpacks the raw ones.
Result<std::vector<KernelTime>> kernel_times(Store& store, Id session, bool with_samples = false);
Result<std::vector<NetworkTime>> network_times(Store& store, Id session, bool with_samples = false);

}  // namespace nas::results
