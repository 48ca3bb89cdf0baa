#pragma once
#include <memory>
#include <string>

#include "apps/command.h"
#include "devices/profile.h"
#include "latency/measure/session.h"
#include "results/store.h"

namespace nas::apps {

// A session of measuring in the project's store: opened (or found again by its id), filled record by record,
// each in a transaction of its own, closed.
class StoredSession {
 public:
  static Result<StoredSession> open(const Context& context, const devices::DeviceProfile& device,
                                    const latency::SessionInfo& info);
  // Kernels without a number are not in the store: a failure is no time. Anything in the session file that
  // the store lacks (it was deleted, or a kill came between the two) is added by add_missing().
  Result<void> add(const latency::KernelRecord& record);
  Result<void> add_missing(const latency::Session& session);
  Result<void> close(bool complete);

 private:
  explicit StoredSession(results::Store store) : store_(std::make_unique<results::Store>(std::move(store))) {}
  std::unique_ptr<results::Store> store_;
  results::Id id_ = 0;
};

}  // namespace nas::apps
