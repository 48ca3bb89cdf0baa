#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/store.h"

// Runs and what they find: architectures, candidates, evaluations, snapshots, curves, events.
namespace nas::results {

// Stores the run, filling in uid, name, created, config_sha256 and host where they are empty. A name that is
// taken is an error.
Result<Id> add_run(Store& store, Run record);
// By name, number, or "latest"; the error of an unknown one lists near names.
Result<Run> find_run(Store& store, const std::string& name_or_id);
Result<Run> get_run(Store& store, Id id);
// Newest first.
Result<std::vector<Run>> list_runs(Store& store, std::int64_t limit = 1000);
// Sets the state and, as it follows from it, started, ended and error.
Result<void> set_run_state(Store& store, Id run, RunState state, const std::string& error = "");
// With everything that belongs to it alone. Refused while a task of it is running.
Result<void> remove_run(Store& store, Id run);

// The ids of the architectures, new ones stored; one transaction.
Result<std::vector<Id>> keep_architectures(Store& store, std::span<const Architecture> records);
Result<Architecture> get_architecture(Store& store, Id id);
// By the first hexadecimal digits of the hash (4 at least); errors when none or several match.
Result<Architecture> find_architecture(Store& store, const std::string& hash_prefix);

// One transaction; also counts candidates and feasible ones in the run. A number that is there already is
// left as it is (a resumed search repeats its last step).
Result<void> add_candidates(Store& store, Id run, std::span<const Candidate> records);
// What the front is now: exactly these numbers, and the best of them.
Result<void> set_front(Store& store, Id run, std::span<const std::int64_t> numbers,
                       std::optional<std::int64_t> best);
// In order of number, starting with `first`.
Result<std::vector<Candidate>> list_candidates(Store& store, Id run, std::int64_t first = 0,
                                               std::int64_t limit = 1000);
Result<std::vector<Candidate>> front(Store& store, Id run);
// The feasible candidates of the highest accuracy.
Result<std::vector<Candidate>> best_candidates(Store& store, Id run, std::int64_t limit);
Result<Candidate> get_candidate(Store& store, Id run, std::int64_t number);

// The cache of evaluations: what is known is left as it is.
Result<void> add_evaluations(Store& store, std::span<const Evaluation> records);
// The same key as `key` except its results.
Result<std::optional<Evaluation>> find_evaluation(Store& store, const Evaluation& key);
// All evaluations with one checkpoint, for filling a cache at the start of a run.
Result<std::vector<Evaluation>> list_evaluations(Store& store, Id checkpoint);

// Keeps the state of an algorithm after `step`, and of older ones the last `keep` - 1.
Result<void> add_snapshot(Store& store, Id run, std::int64_t step, const Bytes8& state, int keep = 3);
Result<std::optional<Snapshot>> latest_snapshot(Store& store, Id run);

// Points of one transaction; a step that is there is replaced.
Result<void> add_curve(Store& store, std::span<const CurvePoint> points);
Result<std::vector<CurvePoint>> list_curve(Store& store, CurveOwner owner, Id id,
                                           const std::string& name = "");

Result<void> add_event(Store& store, Event record);
// Events with an id above `after`, oldest first; of one run if given.
Result<std::vector<Event>> list_events(Store& store, Id after = 0, std::optional<Id> run = {},
                                       std::int64_t limit = 1000);
Result<Id> last_event(Store& store);

}  // namespace nas::results
