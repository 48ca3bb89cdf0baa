#include "results/measurements.h"

#include "results/samples.h"
#include "results/tables.h"

namespace nas::results {
namespace {

Result<Id> op_id(Database& database, const std::string& signature) {
  NAS_TRY(known, database.value<Id>("SELECT id FROM op WHERE signature=?", signature));
  if (known) return *known;
  NAS_CHECK(database.run("INSERT INTO op(signature) VALUES(?)", signature));
  return database.last_id();
}

Result<std::vector<std::int64_t>> samples_of(const Statement& row, int column, bool wanted) {
  if (!wanted) return std::vector<std::int64_t>();
  return unpack_samples(row.blob(column));
}

}  // namespace

Result<Id> open_session(Store& store, Session record) {
  if (record.uid.empty()) record.uid = new_uid();
  if (record.started == 0) record.started = store.now();
  NAS_TRY(transaction, store.begin());
  NAS_TRY(id, insert(store.db(), record));
  NAS_CHECK(transaction.commit());
  return id;
}

Result<void> close_session(Store& store, Id session, const std::string& state,
                           std::optional<double> celsius_end) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(store.db().run("UPDATE session SET state=?, ended=?, celsius_end=? WHERE id=?", state,
                           store.now(), celsius_end, session));
  return transaction.commit();
}

Result<std::vector<Session>> list_sessions(Store& store, std::optional<Id> device) {
  return select<Session>(store.db(), "WHERE ?1 IS NULL OR device_id=?1 ORDER BY id", device);
}

Result<Session> get_session(Store& store, Id id) {
  NAS_TRY(found, (select_one<Session>(store.db(), "WHERE id=?", id)));
  if (found) return *std::move(found);
  return usage_error("there is no session " + std::to_string(id), store.file().string());
}

Result<void> add_kernel_times(Store& store, const std::vector<KernelTime>& rows) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(statement,
          store.db().prepare("INSERT OR REPLACE INTO kernel_time(session_id, op_id, n, median, mean, "
                             "deviation, p05, p90, least, energy_nj, steady, samples) "
                             "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const KernelTime& row : rows) {
    NAS_TRY(op, op_id(store.db(), row.signature));
    statement.bind_all(row.session_id, op, row.n, row.median, row.mean, row.deviation, row.p05, row.p90,
                       row.least, row.energy_nj, row.steady, pack_samples(row.samples));
    NAS_CHECK(statement.run());
  }
  return transaction.commit();
}

Result<void> add_network_times(Store& store, const std::vector<NetworkTime>& rows) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(statement,
          store.db().prepare("INSERT OR REPLACE INTO network_time(session_id, arch_id, precision, n, "
                             "median, mean, deviation, p05, p90, least, ram_bytes, flash_bytes, "
                             "energy_nj, steady, layers, samples) "
                             "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const NetworkTime& row : rows) {
    statement.bind_all(row.session_id, row.arch_id, row.precision, row.n, row.median, row.mean, row.deviation,
                       row.p05, row.p90, row.least, row.ram_bytes, row.flash_bytes, row.energy_nj, row.steady,
                       row.layers, pack_samples(row.samples));
    NAS_CHECK(statement.run());
  }
  return transaction.commit();
}

Result<std::vector<KernelTime>> kernel_times(Store& store, Id session, bool with_samples) {
  NAS_TRY(statement,
          store.db().prepare("SELECT session_id, signature, n, median, mean, deviation, p05, p90, least, "
                             "energy_nj, steady, samples FROM kernel_time JOIN op ON op.id=op_id "
                             "WHERE session_id=? ORDER BY signature"));
  statement.bind_all(session);
  std::vector<KernelTime> rows;
  while (true) {
    NAS_TRY(found, statement.step());
    if (!found) return rows;
    KernelTime row;
    int column = 0;
    const auto read = [&](auto&... fields) { (statement.read(column++, fields), ...); };
    read(row.session_id, row.signature, row.n, row.median, row.mean, row.deviation, row.p05, row.p90,
         row.least, row.energy_nj, row.steady);
    NAS_TRY(samples, samples_of(statement, column, with_samples));
    row.samples = std::move(samples);
    rows.push_back(std::move(row));
  }
}

Result<std::vector<NetworkTime>> network_times(Store& store, Id session, bool with_samples) {
  NAS_TRY(statement,
          store.db().prepare("SELECT session_id, arch_id, precision, n, median, mean, deviation, p05, "
                             "p90, least, ram_bytes, flash_bytes, energy_nj, steady, layers, samples "
                             "FROM network_time WHERE session_id=? ORDER BY arch_id, precision"));
  statement.bind_all(session);
  std::vector<NetworkTime> rows;
  while (true) {
    NAS_TRY(found, statement.step());
    if (!found) return rows;
    NetworkTime row;
    int column = 0;
    const auto read = [&](auto&... fields) { (statement.read(column++, fields), ...); };
    read(row.session_id, row.arch_id, row.precision, row.n, row.median, row.mean, row.deviation, row.p05,
         row.p90, row.least, row.ram_bytes, row.flash_bytes, row.energy_nj, row.steady, row.layers);
    NAS_TRY(samples, samples_of(statement, column, with_samples));
    row.samples = std::move(samples);
    rows.push_back(std::move(row));
  }
}

}  // namespace nas::results
