#include <algorithm>
#include <set>

#include "results/schema.h"
#include "results/store.h"
#include "space/base/file.h"

// The half of store.h that looks after a store: info, check, backup, vacuum.
namespace nas::results {
namespace {

namespace fs = std::filesystem;

Result<std::vector<std::string>> texts(Database& database, const std::string& sql) {
  NAS_TRY(statement, database.prepare(sql));
  std::vector<std::string> lines;
  while (true) {
    NAS_TRY(row, statement.step());
    if (!row) return lines;
    lines.push_back(statement.text(0));
  }
}

// Each query returns one line per violation of something that every transaction of ours keeps true.
constexpr const char* kInvariants[] = {
    "SELECT 'foreign key: row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' points to a missing ' || "
    "parent "
    "FROM pragma_foreign_key_check",
    "SELECT 'run ' || r.name || ': counts ' || r.candidates || ' candidates, holds ' || n FROM run r JOIN "
    "(SELECT r2.id, (SELECT count(*) FROM candidate c WHERE c.run_id=r2.id) AS n FROM run r2) k ON k.id=r.id "
    "WHERE n <> r.candidates",
    "SELECT 'run ' || name || ': its best candidate ' || best || ' is not on the front' FROM run WHERE best "
    "IS NOT "
    "NULL AND NOT EXISTS(SELECT 1 FROM candidate c WHERE c.run_id=run.id AND c.number=best AND on_front=1)",
    "SELECT 'run ' || run_id || ', candidate ' || number || ': on the front but ' || state FROM candidate "
    "WHERE on_front=1 AND state<>'ok'",
    "SELECT 'task ' || t.id || ': state ' || t.state || ' at attempt ' || t.attempt || ', whose record says "
    "\"' || "
    "coalesce(a.outcome, 'missing') || '\"' FROM task t LEFT JOIN attempt a ON a.task_id=t.id AND "
    "a.attempt=t.attempt "
    "WHERE t.attempt>0 AND (a.task_id IS NULL OR (t.state='running') <> (a.outcome=''))",
    "SELECT 'task ' || id || ': done ' || n || ' times' FROM (SELECT t.id, (SELECT count(*) FROM attempt a "
    "WHERE "
    "a.task_id=t.id AND a.outcome='done') AS n FROM task t WHERE t.state='done') WHERE n <> 1",
    "SELECT 'task ' || id || ': ' || state || ' while an earlier stage of its run is open' FROM task t WHERE "
    "state IN "
    "('running', 'queued') AND EXISTS(SELECT 1 FROM task p WHERE p.run_id=t.run_id AND p.stage<t.stage AND "
    "p.state IN "
    "('waiting', 'queued', 'held', 'running'))",
    "SELECT 'run ' || name || ': ' || state || ' with open tasks' FROM run WHERE state IN ('done', 'failed', "
    "'cancelled', 'partial') AND EXISTS(SELECT 1 FROM task t WHERE t.run_id=run.id AND t.state IN "
    "('waiting', "
    "'queued', 'held', 'running'))",
};

// Every column that names a file under objects/.
constexpr const char* kObjectNames =
    "SELECT object FROM checkpoint WHERE object<>'' UNION SELECT object FROM predictor WHERE object<>''";

Result<void> check_objects(Store& store, std::vector<std::string>& problems) {
  NAS_TRY(names, texts(store.db(), kObjectNames));
  for (const std::string& name : names) {
    const Result<std::string> hash = sha256_file(store.object_path(name));
    if (!hash)
      problems.push_back("object " + name + ": " + hash.error().message);
    else if (*hash != name)
      problems.push_back("object " + name + ": its content has the SHA-256 " + *hash);
  }
  return {};
}

}  // namespace

Result<StoreInfo> info(Store& store) {
  StoreInfo result;
  result.path = store.file();
  NAS_TRY(version, store.db().value<std::int64_t>("PRAGMA user_version"));
  result.version = static_cast<int>(version.value_or(0));
  std::error_code failed;
  for (const char* suffix : {"", "-wal"}) {
    const auto bytes = fs::file_size(store.file().string() + suffix, failed);
    if (!failed) result.bytes += static_cast<std::int64_t>(bytes);
  }
  for (fs::recursive_directory_iterator entry(store.project() / "objects", failed), end;
       !failed && entry != end; entry.increment(failed)) {
    if (!entry->is_regular_file(failed)) continue;
    ++result.objects;
    result.object_bytes += static_cast<std::int64_t>(entry->file_size(failed));
  }
  NAS_TRY(tables, texts(store.db(),
                        "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%' "
                        "ORDER BY name"));
  for (const std::string& table : tables) {
    NAS_TRY(rows, store.db().value<std::int64_t>("SELECT count(*) FROM \"" + table + "\""));
    result.rows.emplace_back(table, rows.value_or(0));
  }
  return result;
}

Result<std::vector<std::string>> check(Store& store, bool objects) {
  std::vector<std::string> problems;
  const auto structure = texts(store.db(), "PRAGMA integrity_check(20)");
  if (!structure) {
    problems.push_back(structure.error().message);
    return problems;
  }
  for (const std::string& line : *structure)
    if (line != "ok") problems.push_back(line);
  if (!problems.empty()) return problems;
  for (const char* sql : kInvariants) {
    NAS_TRY(lines, texts(store.db(), sql));
    problems.insert(problems.end(), lines.begin(), lines.end());
  }
  if (objects) NAS_CHECK(check_objects(store, problems));
  return problems;
}

Result<void> backup(Store& store, const fs::path& target) { return store.db().copy_to(target); }

Result<void> vacuum(Store& store) {
  NAS_CHECK(store.db().run("VACUUM"));
  return store.db().run("PRAGMA wal_checkpoint(TRUNCATE)");
}

Result<std::int64_t> remove_unused_objects(Store& store) {
  NAS_TRY(names, texts(store.db(), kObjectNames));
  const std::set<std::string> used(names.begin(), names.end());
  const auto limit = fs::file_time_type::clock::now() - std::chrono::hours(1);
  std::int64_t removed = 0;
  std::error_code failed;
  for (fs::recursive_directory_iterator entry(store.project() / "objects", failed), end;
       !failed && entry != end; entry.increment(failed)) {
    if (!entry->is_regular_file(failed) || used.contains(entry->path().filename().string())) continue;
    if (entry->last_write_time(failed) > limit) continue;
    removed += fs::remove(entry->path(), failed) ? 1 : 0;
  }
  return removed;
}

}  // namespace nas::results
