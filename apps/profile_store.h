#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "apps/ledger.h"
#include "devices/profile.h"
#include "latency/measure/session.h"

namespace nas::apps {

// A session of measuring in the project's store: opened (or found again by its id), filled record by record,
// each in a transaction of its own, closed. Measuring goes on where the store cannot be written
// (apps/ledger.h).
class StoredSession {
 public:
  static Result<StoredSession> open(const Context& context, const devices::DeviceProfile& device,
                                    const latency::SessionInfo& info);
  // Records without a number are not in the store: a failure is no time. Anything in the session file that
  // the store lacks (it was deleted, or a kill came between the two) is added by add_missing().
  Result<void> add(const latency::KernelRecord& record);
  Result<void> add_missing(const latency::Session& session);
  Result<void> close(bool complete);

 private:
  explicit StoredSession(const Context& context)
      : ledger_(std::make_unique<Ledger>(context, context.project)) {}
  Result<void> put(results::Store& store) const;
  std::unique_ptr<Ledger> ledger_;
  results::Id id_ = 0;
  std::optional<SearchSpace> space_;               // of the session's whole networks
  std::vector<latency::KernelRecord> not_stored_;  // yet
};

}  // namespace nas::apps
