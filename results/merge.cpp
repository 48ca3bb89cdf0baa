#include <map>

#include "results/catalog.h"
#include "results/exchange.h"
#include "results/measurements.h"
#include "results/queue_rules.h"
#include "results/runs.h"
#include "results/tables.h"

namespace nas::results {
namespace {

namespace fs = std::filesystem;
using Ids = std::map<Id, Id>;  // there -> here

// Takes the records of one store over into another. Called inside a transaction of the latter.
class Merger {
 public:
  Merger(Store& here, Store& there) : here_(here), there_(there) {}

  Result<Merged> run() {
    NAS_CHECK(catalogue());
    NAS_CHECK(measurements());
    NAS_CHECK(weights());
    NAS_CHECK(all_runs());
    NAS_CHECK(exports());
    return merged_;
  }

 private:
  static Id at(const Ids& ids, Id id) {
    const auto found = ids.find(id);
    return found == ids.end() ? 0 : found->second;
  }
  static void move(const Ids& ids, std::optional<Id>& id) {
    if (id) id = at(ids, *id);
  }

  // Keeps every record of a table after `prepare` translated its references.
  template <class Record, class Prepare>
  Result<void> keep_all(Ids& ids, Prepare prepare) {
    NAS_TRY(records, select<Record>(there_.db(), "ORDER BY id"));
    for (Record& record : records) {
      const Id old = std::exchange(record.id, 0);
      prepare(record);
      NAS_TRY(id, keep(here_, std::move(record)));
      ids[old] = id;
    }
    return {};
  }

  Result<void> catalogue() {
    NAS_CHECK(keep_all<Dataset>(datasets_, [](Dataset&) {}));
    NAS_CHECK(keep_all<Space>(spaces_, [](Space&) {}));
    NAS_TRY(devices, list_devices(there_));
    for (Device& device : devices) {
      // A device that is known here keeps what is said of it here.
      NAS_TRY(known, here_.db().value<Id>("SELECT id FROM device WHERE name=?", device.name));
      const Id old = std::exchange(device.id, 0);
      if (known) {
        devices_[old] = *known;
        continue;
      }
      NAS_TRY(id, keep(here_, std::move(device)));
      devices_[old] = id;
    }
    NAS_TRY(archs, select<Architecture>(there_.db(), "ORDER BY id"));
    std::vector<Id> old;
    for (Architecture& arch : archs) {
      old.push_back(std::exchange(arch.id, 0));
      arch.space_id = at(spaces_, arch.space_id);
    }
    NAS_TRY(ids, keep_architectures(here_, archs));
    for (std::size_t i = 0; i < ids.size(); ++i) archs_[old[i]] = ids[i];
    return {};
  }

  Result<void> measurements() {
    NAS_TRY(sessions, list_sessions(there_));
    for (Session& session : sessions) {
      const Id old = std::exchange(session.id, 0);
      NAS_TRY(known, here_.db().value<Id>("SELECT id FROM session WHERE uid=?", session.uid));
      session.device_id = at(devices_, session.device_id);
      if (!known) {
        NAS_TRY(id, open_session(here_, session));
        known = id;
      }
      sessions_[old] = *known;
      NAS_TRY(kernels, kernel_times(there_, old, true));
      for (KernelTime& row : kernels) row.session_id = *known;
      NAS_TRY(before, here_.db().value<std::int64_t>("SELECT count(*) FROM kernel_time"));
      NAS_CHECK(add_kernel_times(here_, kernels));
      NAS_TRY(after, here_.db().value<std::int64_t>("SELECT count(*) FROM kernel_time"));
      merged_.kernel_times += *after - *before;
      NAS_TRY(networks, network_times(there_, old, true));
      for (NetworkTime& row : networks) row.session_id = *known, row.arch_id = at(archs_, row.arch_id);
      NAS_CHECK(add_network_times(here_, networks));
    }
    return {};
  }

  Result<void> take_object(const std::string& name) {
    if (name.empty() || fs::exists(here_.object_path(name)) || !fs::exists(there_.object_path(name)))
      return {};
    NAS_CHECK(here_.put_object_file(there_.object_path(name)));
    ++merged_.objects;
    return {};
  }

  Result<void> weights() {
    NAS_CHECK(keep_all<Supernet>(supernets_, [this](Supernet& record) {
      record.space_id = at(spaces_, record.space_id);
      move(datasets_, record.dataset_id);
    }));
    NAS_CHECK(keep_all<Checkpoint>(checkpoints_, [this](Checkpoint& record) {
      record.supernet_id = at(supernets_, record.supernet_id);
    }));
    NAS_CHECK(keep_all<Predictor>(predictors_, [this](Predictor& record) {
      move(devices_, record.device_id);
      move(sessions_, record.session_id);
      move(checkpoints_, record.checkpoint_id);
    }));
    NAS_TRY(checkpoints, list_checkpoints(there_));
    for (const Checkpoint& record : checkpoints) NAS_CHECK(take_object(record.object));
    NAS_TRY(predictors, list_predictors(there_));
    for (const Predictor& record : predictors) NAS_CHECK(take_object(record.object));
    NAS_TRY(rows, select<Evaluation>(there_.db(), ""));
    for (Evaluation& row : rows) {
      row.arch_id = at(archs_, row.arch_id);
      row.checkpoint_id = at(checkpoints_, row.checkpoint_id);
    }
    NAS_TRY(before, here_.db().value<std::int64_t>("SELECT count(*) FROM evaluation"));
    NAS_CHECK(add_evaluations(here_, rows));
    NAS_TRY(after, here_.db().value<std::int64_t>("SELECT count(*) FROM evaluation"));
    merged_.evaluations = *after - *before;
    return {};
  }

  Result<Id> keep_run(results::Run run) {
    const Id old = std::exchange(run.id, 0);
    NAS_TRY(known, here_.db().value<Id>("SELECT id FROM run WHERE uid=?", run.uid));
    if (known) return *known;
    move(runs_, run.parent_id);
    move(spaces_, run.space_id);
    move(checkpoints_, run.checkpoint_id);
    move(devices_, run.device_id);
    move(sessions_, run.session_id);
    run.best.reset();
    run.candidates = run.feasible = 0;
    if (run.state == RunState::queued || run.state == RunState::running || run.state == RunState::paused)
      run.state = RunState::cancelled;
    const std::string name = run.name;
    for (int i = 2;; ++i) {
      NAS_TRY(taken, here_.db().value<Id>("SELECT id FROM run WHERE name=?", run.name));
      if (!taken) break;
      run.name = name + "~" + std::to_string(i);
    }
    NAS_TRY(id, add_run(here_, std::move(run)));
    ++merged_.runs;
    NAS_CHECK(run_extras(old, id));
    return id;
  }

  // What a run has besides candidates; taken over once, when the run is new here.
  Result<void> run_extras(Id old, Id id) {
    NAS_TRY(points, list_curve(there_, CurveOwner::run, old));
    for (CurvePoint& point : points) point.owner_id = id;
    NAS_CHECK(add_curve(here_, points));
    NAS_TRY(events, list_events(there_, 0, old, INT64_MAX));
    for (Event& event : events) {
      event.id = 0;
      event.run_id = id;
      event.task_id.reset();
      NAS_CHECK(add_event(here_, std::move(event)));
    }
    NAS_TRY(snapshot, latest_snapshot(there_, old));
    return snapshot ? add_snapshot(here_, id, snapshot->step, snapshot->state) : Result<void>();
  }

  Result<void> all_runs() {
    NAS_TRY(runs, select<results::Run>(there_.db(), "ORDER BY id"));
    for (const results::Run& run : runs) {
      NAS_TRY(id, keep_run(run));
      runs_[run.id] = id;
      NAS_TRY(before, get_run(here_, id));
      std::vector<std::int64_t> front_numbers;
      for (std::int64_t first = 0;;) {
        NAS_TRY(page, list_candidates(there_, run.id, first, 1000));
        if (page.empty()) break;
        first = page.back().number + 1;
        for (Candidate& row : page) {
          row.arch_id = at(archs_, row.arch_id);
          if (row.on_front) front_numbers.push_back(row.number);
          row.on_front = false;
        }
        NAS_CHECK(add_candidates(here_, id, page));
      }
      NAS_TRY(after, get_run(here_, id));
      merged_.candidates += after.candidates - before.candidates;
      if (after.candidates > before.candidates) NAS_CHECK(set_front(here_, id, front_numbers, run.best));
    }
    return {};
  }

  Result<void> exports() {
    NAS_TRY(rows, list_exports(there_));
    for (Export& row : rows) {
      NAS_TRY(artifacts, list_artifacts(there_, row.id));
      NAS_TRY(parity, list_parity(there_, row.id));
      row.id = 0;
      row.arch_id = at(archs_, row.arch_id);
      move(runs_, row.run_id);
      if (!fs::path(row.path).is_absolute()) row.path = fs::absolute(there_.project() / row.path).string();
      NAS_CHECK(keep(here_, std::move(row), artifacts, parity));
    }
    return {};
  }

  Store& here_;
  Store& there_;
  Merged merged_;
  Ids datasets_, spaces_, devices_, archs_, sessions_, supernets_, checkpoints_, predictors_, runs_;
};

}  // namespace

Result<Merged> merge(Store& store, const fs::path& other_project) {
  std::error_code failed;
  if (fs::equivalent(other_project / kStoreFile, store.file(), failed))
    return usage_error("a store cannot be merged with itself", other_project.string());
  NAS_TRY(other, Store::open(other_project, {.access = Access::read}));
  NAS_TRY(transaction, store.begin());
  NAS_TRY(merged, Merger(store, other).run());
  NAS_CHECK(transaction.commit());
  return merged;
}

}  // namespace nas::results
