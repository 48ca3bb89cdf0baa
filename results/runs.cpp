#include "results/runs.h"

#include <algorithm>

#include "results/queue_rules.h"
#include "results/tables.h"
#include "space/base/file.h"

namespace nas::results {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 18 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<Id> store_run(Store& store, Run& record) {
  const bool unnamed = record.name.empty();
  if (unnamed) record.name = "new " + record.uid;
  NAS_TRY(id, insert(store.db(), record));
  if (unnamed) NAS_CHECK(store.db().run("UPDATE run SET name = kind || '-' || id WHERE id=?", id));
  return id;
}

}  // namespace

Result<Id> add_run(Store& store, Run record) {
  if (record.uid.empty()) record.uid = new_uid();
  if (record.created == 0) record.created = store.now();
  if (record.config_sha256.empty()) record.config_sha256 = sha256(record.config);
  if (record.host.empty()) record.host = host_name();
  NAS_TRY(transaction, store.begin());
  NAS_TRY(taken, store.db().value<Id>("SELECT id FROM run WHERE name=?", record.name));
  if (taken)
    return usage_error("a run named \"" + record.name + "\" exists (number " + std::to_string(*taken) +
                           "); choose another name or remove it with `hwnas rm`",
                       store.file().string());
  if (is_number(record.name))
    return usage_error("the name of a run must not be a number, found \"" + record.name + "\"",
                       store.file().string());
  NAS_TRY(id, store_run(store, record));
  NAS_CHECK(transaction.commit());
  return id;
}

Result<Run> get_run(Store& store, Id id) {
  NAS_TRY(found, (select_one<Run>(store.db(), "WHERE id=?", id)));
  if (found) return *std::move(found);
  return usage_error("there is no run " + std::to_string(id) + "; `hwnas ls` lists them",
                     store.file().string());
}

Result<Run> find_run(Store& store, const std::string& name_or_id) {
  if (is_number(name_or_id)) return get_run(store, std::stoll(name_or_id));
  if (name_or_id == "latest") {
    NAS_TRY(newest, (select_one<Run>(store.db(), "ORDER BY id DESC")));
    if (newest) return *std::move(newest);
    return usage_error("there is no run yet", store.file().string());
  }
  NAS_TRY(found, (select_one<Run>(store.db(), "WHERE name=?", name_or_id)));
  if (found) return *std::move(found);
  NAS_TRY(near, (select<Run>(store.db(), "WHERE instr(name, ?)>0 ORDER BY id DESC LIMIT 5", name_or_id)));
  std::string names;
  for (const Run& run : near) names += (names.empty() ? "; did you mean " : ", ") + run.name;
  return usage_error(
      "there is no run \"" + name_or_id + "\"" + (names.empty() ? "; `hwnas ls` lists them" : names),
      store.file().string());
}

Result<std::vector<Run>> list_runs(Store& store, std::int64_t limit) {
  return select<Run>(store.db(), "ORDER BY id DESC LIMIT ?", limit);
}

Result<void> set_run_state(Store& store, Id run, RunState state, const std::string& error) {
  const bool begun = state == RunState::running;
  const bool over = state == RunState::done || state == RunState::failed || state == RunState::cancelled ||
                    state == RunState::partial;
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(store.db().run(
      "UPDATE run SET state=?1, error=?2, started=CASE WHEN ?3 THEN coalesce(started, ?5) ELSE "
      "started END, ended=CASE WHEN ?4 THEN ?5 ELSE NULL END WHERE id=?6",
      state, error, begun, over, store.now(), run));
  return transaction.commit();
}

Result<void> remove_run(Store& store, Id run) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(busy, store.db().value<Id>("SELECT id FROM task WHERE run_id=? AND state='running'", run));
  if (busy)
    return Error{"task " + std::to_string(*busy) + " of the run is running: `hwnas cancel` it first",
                 store.file().string(), ErrorKind::store};
  NAS_CHECK(store.db().run("UPDATE export SET run_id=NULL WHERE run_id=?", run));
  NAS_CHECK(store.db().run("UPDATE run SET parent_id=NULL WHERE parent_id=?", run));
  NAS_CHECK(store.db().run("DELETE FROM curve WHERE owner='run' AND owner_id=?", run));
  NAS_CHECK(store.db().run(
      "DELETE FROM curve WHERE owner='task' AND owner_id IN (SELECT id FROM task WHERE run_id=?)", run));
  NAS_CHECK(store.db().run("DELETE FROM run WHERE id=?", run));
  return transaction.commit();
}

// ---- snapshots, curves, events ----

Result<void> add_snapshot(Store& store, Id run, std::int64_t step, const Bytes8& state, int keep) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(insert(store.db(), Snapshot{run, step, state, store.now()},
                   " ON CONFLICT DO UPDATE SET state=excluded.state, created=excluded.created"));
  NAS_CHECK(
      store.db().run("DELETE FROM snapshot WHERE run_id=?1 AND step NOT IN "
                     "(SELECT step FROM snapshot WHERE run_id=?1 ORDER BY step DESC LIMIT ?2)",
                     run, keep));
  return transaction.commit();
}

Result<std::optional<Snapshot>> latest_snapshot(Store& store, Id run) {
  return select_one<Snapshot>(store.db(), "WHERE run_id=? ORDER BY step DESC", run);
}

Result<void> add_curve(Store& store, std::span<const CurvePoint> points) {
  NAS_TRY(transaction, store.begin());
  {
    NAS_TRY(statement, store.db().prepare(insert_sql<CurvePoint>(
                           " ON CONFLICT DO UPDATE SET value=excluded.value, created=excluded.created")));
    for (CurvePoint point : points) {
      if (point.created == 0) point.created = store.now();
      bind_record(statement, point);
      NAS_CHECK(statement.run());
    }
  }
  return transaction.commit();
}

Result<std::vector<CurvePoint>> list_curve(Store& store, CurveOwner owner, Id id, const std::string& name) {
  return select<CurvePoint>(store.db(),
                            "WHERE owner=?1 AND owner_id=?2 AND (?3='' OR name=?3) ORDER BY name, step",
                            owner, id, name);
}

Result<void> add_event(Store& store, Event record) {
  if (record.time == 0) record.time = store.now();
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(insert(store.db(), record));
  return transaction.commit();
}

Result<std::vector<Event>> list_events(Store& store, Id after, std::optional<Id> run, std::int64_t limit) {
  if (run)
    return select<Event>(store.db(), "WHERE run_id=? AND id>? ORDER BY id LIMIT ?", *run, after, limit);
  return select<Event>(store.db(), "WHERE id>? ORDER BY id LIMIT ?", after, limit);
}

Result<Id> last_event(Store& store) {
  NAS_TRY(id, store.db().value<Id>("SELECT max(id) FROM event"));
  return id.value_or(0);
}

}  // namespace nas::results
