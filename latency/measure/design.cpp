#include "latency/measure/design.h"

#include <map>
#include <set>

#include "latency/measure/kernel_set.h"
#include "latency/table.h"

namespace nas::latency {
namespace {

enum class State { measured, sure, unsure, unknown };

// Measured ones by the session itself: a kernel with a failure counts, measuring it again tells nothing new.
std::vector<State> states_of(std::span<const Kernel> kernels, const Session& session, double sure) {
  std::set<std::string> known;
  for (const KernelRecord& r : session.kernels) known.insert(r.signature);
  const auto table = LatencyTable::make(session);
  std::vector<State> states;
  for (const Kernel& kernel : kernels) {
    if (known.contains(signature(kernel))) {
      states.push_back(State::measured);
      continue;
    }
    const auto guess = table ? table->estimate(kernel) : Result<KernelEstimate>(table.error());
    if (!guess)
      states.push_back(State::unknown);
    else
      states.push_back(guess->high <= (1 + sure) * guess->value ? State::sure : State::unsure);
  }
  return states;
}

}  // namespace

Coverage coverage_of(std::span<const Kernel> kernels, const Session& session, double sure) {
  Coverage coverage;
  coverage.kernels = kernels.size();
  for (const State state : states_of(kernels, session, sure)) {
    coverage.measured += state == State::measured;
    coverage.sure += state == State::sure;
    coverage.unsure += state == State::unsure;
    coverage.unknown += state == State::unknown;
  }
  return coverage;
}

std::vector<Kernel> refine(std::span<const Kernel> kernels, const Session& session, std::size_t count,
                           double sure) {
  const std::vector<State> states = states_of(kernels, session, sure);
  std::vector<Kernel> measured, chosen;
  for (std::size_t i = 0; i < kernels.size(); ++i)
    if (states[i] == State::measured) measured.push_back(kernels[i]);
  for (const State wanted : {State::unknown, State::unsure}) {
    std::vector<Kernel> open;
    for (std::size_t i = 0; i < kernels.size(); ++i)
      if (states[i] == wanted) open.push_back(kernels[i]);
    for (Kernel& kernel : farthest_from(open, measured, count - chosen.size())) {
      measured.push_back(kernel);
      chosen.push_back(std::move(kernel));
    }
  }
  return chosen;
}

}  // namespace nas::latency
