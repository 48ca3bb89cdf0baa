#include "results/schema.h"

#include <array>

namespace nas::results {
namespace {

// What is shared by runs: data, spaces, weights, devices, measurements, predictors.
constexpr const char* kCatalog = R"sql(
CREATE TABLE dataset(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, root TEXT NOT NULL,
  train INTEGER NOT NULL, recalibration INTEGER NOT NULL, validation INTEGER NOT NULL, test INTEGER NOT NULL,
  classes TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
CREATE TABLE space(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, json TEXT NOT NULL, sha256 TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE supernet(
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  space_id INTEGER NOT NULL REFERENCES space(id), dataset_id INTEGER REFERENCES dataset(id),
  config TEXT NOT NULL, seed INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
CREATE TABLE checkpoint(
  id INTEGER PRIMARY KEY, supernet_id INTEGER NOT NULL REFERENCES supernet(id), stage TEXT NOT NULL,
  step INTEGER NOT NULL, object TEXT NOT NULL, bytes INTEGER NOT NULL, validation_accuracy REAL,
  rng TEXT NOT NULL, created INTEGER NOT NULL, UNIQUE(supernet_id, stage, step)) STRICT;
CREATE TABLE device(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, transport TEXT NOT NULL,
  spec TEXT NOT NULL, tags TEXT NOT NULL) STRICT;
CREATE TABLE session(
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, device_id INTEGER NOT NULL REFERENCES device(id),
  unit TEXT NOT NULL, source TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER, tool_version TEXT NOT NULL,
  firmware_sha256 TEXT NOT NULL, clock_hz REAL, governor TEXT NOT NULL, threads INTEGER NOT NULL,
  affinity TEXT NOT NULL, celsius_start REAL, celsius_end REAL, load REAL, info TEXT NOT NULL,
  state TEXT NOT NULL) STRICT;
CREATE INDEX session_of_device ON session(device_id, started);
CREATE TABLE op(id INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE kernel_time(
  session_id INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE, op_id INTEGER NOT NULL REFERENCES op(id),
  n INTEGER NOT NULL, median REAL NOT NULL, mean REAL NOT NULL, deviation REAL NOT NULL, p05 REAL NOT NULL,
  p90 REAL NOT NULL, least REAL NOT NULL, energy_nj REAL, steady INTEGER NOT NULL, samples BLOB NOT NULL,
  PRIMARY KEY(session_id, op_id)) STRICT, WITHOUT ROWID;
CREATE TABLE network_time(
  session_id INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
  arch_id INTEGER NOT NULL REFERENCES arch(id), precision TEXT NOT NULL,
  n INTEGER NOT NULL, median REAL NOT NULL, mean REAL NOT NULL, deviation REAL NOT NULL, p05 REAL NOT NULL,
  p90 REAL NOT NULL, least REAL NOT NULL, ram_bytes INTEGER, flash_bytes INTEGER, energy_nj REAL,
  steady INTEGER NOT NULL, layers TEXT NOT NULL, samples BLOB NOT NULL,
  PRIMARY KEY(session_id, arch_id, precision)) STRICT, WITHOUT ROWID;
CREATE TABLE predictor(
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, target TEXT NOT NULL,
  device_id INTEGER REFERENCES device(id), session_id INTEGER REFERENCES session(id),
  checkpoint_id INTEGER REFERENCES checkpoint(id), algorithm TEXT NOT NULL, features TEXT NOT NULL,
  object TEXT NOT NULL, n_train INTEGER NOT NULL, mape REAL, within10 REAL, kendall REAL, info TEXT NOT NULL,
  created INTEGER NOT NULL) STRICT;
)sql";

// Runs and what they find. Architectures and evaluations belong to no run.
constexpr const char* kRuns = R"sql(
CREATE TABLE arch(
  id INTEGER PRIMARY KEY, space_id INTEGER NOT NULL REFERENCES space(id), hash BLOB NOT NULL,
  genes BLOB NOT NULL, text TEXT NOT NULL, params INTEGER, macs INTEGER, UNIQUE(hash, space_id)) STRICT;
CREATE TABLE run(
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
  batch TEXT NOT NULL, parent_id INTEGER REFERENCES run(id), space_id INTEGER REFERENCES space(id),
  checkpoint_id INTEGER REFERENCES checkpoint(id), device_id INTEGER REFERENCES device(id),
  session_id INTEGER REFERENCES session(id), config TEXT NOT NULL, config_sha256 TEXT NOT NULL,
  origin TEXT NOT NULL, seed INTEGER NOT NULL, objectives TEXT NOT NULL, constraints TEXT NOT NULL,
  budget TEXT NOT NULL, priority INTEGER NOT NULL, max_failures INTEGER NOT NULL, state TEXT NOT NULL,
  created INTEGER NOT NULL, started INTEGER, ended INTEGER, tool_version TEXT NOT NULL,
  host TEXT NOT NULL, best INTEGER, candidates INTEGER NOT NULL, feasible INTEGER NOT NULL,
  error TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', process TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX run_of_batch ON run(batch) WHERE batch <> '';
CREATE TABLE candidate(
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  arch_id INTEGER NOT NULL REFERENCES arch(id), generation INTEGER NOT NULL, parent_a INTEGER, parent_b INTEGER,
  made_by TEXT NOT NULL, state TEXT NOT NULL, violation REAL NOT NULL, on_front INTEGER NOT NULL,
  accuracy REAL, latency_ms REAL, latency_low REAL, latency_high REAL, ram_bytes INTEGER, flash_bytes INTEGER,
  energy_mj REAL, params INTEGER, macs INTEGER, source TEXT NOT NULL, extra TEXT NOT NULL, error TEXT NOT NULL,
  created INTEGER NOT NULL, PRIMARY KEY(run_id, number)) STRICT, WITHOUT ROWID;
CREATE INDEX candidate_accuracy ON candidate(run_id, accuracy) WHERE state = 'ok';
CREATE INDEX candidate_front ON candidate(run_id) WHERE on_front = 1;
CREATE TABLE evaluation(
  arch_id INTEGER NOT NULL REFERENCES arch(id), checkpoint_id INTEGER NOT NULL REFERENCES checkpoint(id),
  split TEXT NOT NULL, resolution INTEGER NOT NULL, precision TEXT NOT NULL, bn_samples INTEGER NOT NULL,
  accuracy REAL NOT NULL, loss REAL NOT NULL, n INTEGER NOT NULL, seconds REAL NOT NULL,
  PRIMARY KEY(checkpoint_id, arch_id, split, resolution, precision, bn_samples)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot(
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, step INTEGER NOT NULL, state BLOB NOT NULL,
  created INTEGER NOT NULL, PRIMARY KEY(run_id, step)) STRICT;
CREATE TABLE curve(
  owner TEXT NOT NULL, owner_id INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
  created INTEGER NOT NULL, PRIMARY KEY(owner, owner_id, name, step)) STRICT, WITHOUT ROWID;
CREATE TABLE export(
  id INTEGER PRIMARY KEY, arch_id INTEGER NOT NULL REFERENCES arch(id), run_id INTEGER REFERENCES run(id),
  path TEXT NOT NULL, manifest_sha256 TEXT NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
CREATE TABLE artifact(
  export_id INTEGER NOT NULL REFERENCES export(id) ON DELETE CASCADE, path TEXT NOT NULL, kind TEXT NOT NULL,
  bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY(export_id, path)) STRICT, WITHOUT ROWID;
CREATE TABLE parity(
  export_id INTEGER NOT NULL REFERENCES export(id) ON DELETE CASCADE, form_a TEXT NOT NULL, form_b TEXT NOT NULL,
  n INTEGER NOT NULL, top1_agreement REAL NOT NULL, max_difference REAL NOT NULL, mean_difference REAL NOT NULL,
  accuracy_a REAL, accuracy_b REAL, PRIMARY KEY(export_id, form_a, form_b)) STRICT, WITHOUT ROWID;
)sql";

// The queue. The partial indices keep claiming at constant cost however many tasks are done.
constexpr const char* kQueue = R"sql(
CREATE TABLE worker(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, host TEXT NOT NULL, pid INTEGER NOT NULL,
  process TEXT NOT NULL, tags TEXT NOT NULL, version TEXT NOT NULL, first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
CREATE TABLE task(
  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  stage INTEGER NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, needs TEXT NOT NULL,
  device_id INTEGER REFERENCES device(id), priority INTEGER NOT NULL, state TEXT NOT NULL,
  attempt INTEGER NOT NULL, failures INTEGER NOT NULL, max_failures INTEGER NOT NULL, limit_s REAL,
  worker_id INTEGER REFERENCES worker(id), lease_until INTEGER NOT NULL, lease_boot TEXT NOT NULL,
  not_before INTEGER NOT NULL, stop TEXT NOT NULL, queued INTEGER NOT NULL, started INTEGER, ended INTEGER,
  wait_ms INTEGER NOT NULL, run_ms INTEGER NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL,
  UNIQUE(run_id, number)) STRICT;
CREATE INDEX task_queue ON task(priority, id) WHERE state = 'queued';
CREATE INDEX task_running ON task(lease_until) WHERE state = 'running';
CREATE INDEX task_device ON task(device_id) WHERE state = 'running' AND device_id IS NOT NULL;
CREATE INDEX task_open ON task(run_id, stage) WHERE state IN ('waiting', 'queued', 'held', 'running');
CREATE INDEX task_state ON task(run_id, state);
CREATE TABLE attempt(
  task_id INTEGER NOT NULL REFERENCES task(id) ON DELETE CASCADE, attempt INTEGER NOT NULL,
  worker_id INTEGER NOT NULL REFERENCES worker(id), started INTEGER NOT NULL, ended INTEGER,
  wait_ms INTEGER NOT NULL, run_ms INTEGER NOT NULL, outcome TEXT NOT NULL, error TEXT NOT NULL,
  log TEXT NOT NULL, PRIMARY KEY(task_id, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE event(
  id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, level TEXT NOT NULL,
  run_id INTEGER REFERENCES run(id) ON DELETE CASCADE, task_id INTEGER REFERENCES task(id) ON DELETE CASCADE,
  code TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE INDEX event_of_run ON event(run_id, id);
CREATE INDEX event_of_task ON event(task_id) WHERE task_id IS NOT NULL;
)sql";

// Step i brings format i + 1 to format i + 2. A step that has been released is never changed.
constexpr std::array<const char*, kSchemaVersion - 1> kSteps{
    // Notes of users on runs; the best candidates of a long run without a scan.
    "ALTER TABLE run ADD COLUMN note TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX candidate_accuracy ON candidate(run_id, accuracy) WHERE state = 'ok';",
    // The process of a run that is no job, so that an interrupted one is told from a running one.
    // `git` was never written.
    "ALTER TABLE run ADD COLUMN process TEXT NOT NULL DEFAULT ''; ALTER TABLE run DROP COLUMN git;",
};

// "<stem>.bak", or with a number where that exists.
std::filesystem::path free_name(const std::string& stem) {
  std::filesystem::path name = stem + ".bak";
  for (int i = 2; std::filesystem::exists(name); ++i) name = stem + "-" + std::to_string(i) + ".bak";
  return name;
}

}  // namespace

std::string schema_sql() {
  return std::string(kCatalog) + kRuns + kQueue +
         "PRAGMA application_id = " + std::to_string(kApplicationId) +
         ";\nPRAGMA user_version = " + std::to_string(kSchemaVersion) + ";\n";
}

Result<std::filesystem::path> migrate(Database& database) {
  NAS_TRY(found, database.value<std::int64_t>("PRAGMA user_version"));
  const auto from = found.value_or(0);
  if (from == kSchemaVersion) return std::filesystem::path();
  if (from < 1 || from > kSchemaVersion)
    return Error{"no way leads from format " + std::to_string(from) + " to " + std::to_string(kSchemaVersion),
                 database.path().string(), ErrorKind::store};
  const std::filesystem::path copy = free_name(database.path().string() + ".v" + std::to_string(from));
  NAS_CHECK(database.copy_to(copy));
  NAS_TRY(transaction, Transaction::begin(database));
  NAS_TRY(now, database.value<std::int64_t>("PRAGMA user_version"));
  for (std::int64_t version = now.value_or(0); version < kSchemaVersion; ++version) {
    NAS_CHECK(database.script(kSteps[static_cast<std::size_t>(version - 1)]));
    NAS_CHECK(database.script("PRAGMA user_version = " + std::to_string(version + 1)));
  }
  NAS_CHECK(transaction.commit());
  return copy;
}

}  // namespace nas::results
