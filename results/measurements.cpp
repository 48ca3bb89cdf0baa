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

// The columns of a Timing, as both tables have them.
constexpr const char* kTiming = "n, median, mean, deviation, p05, p90, least, energy_nj, steady, samples";

void bind_timing(Statement& statement, int first, const Timing& time) {
  const auto bind = [&](const auto&... fields) { (statement.bind(first++, fields), ...); };
  bind(time.n, time.median, time.mean, time.deviation, time.p05, time.p90, time.least, time.energy_nj,
       time.steady, pack_samples(time.samples));
}

Result<Timing> read_timing(const Statement& row, int first, bool with_samples) {
  Timing time;
  const auto read = [&](auto&... fields) { (row.read(first++, fields), ...); };
  read(time.n, time.median, time.mean, time.deviation, time.p05, time.p90, time.least, time.energy_nj,
       time.steady);
  if (!with_samples) return time;
  NAS_TRY(samples, unpack_samples(row.blob(first)));
  time.samples = std::move(samples);
  return time;
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
          store.db().prepare(std::string("INSERT OR REPLACE INTO kernel_time(session_id, op_id, ") + kTiming +
                             ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const KernelTime& row : rows) {
    NAS_TRY(op, op_id(store.db(), row.signature));
    statement.bind_all(row.session_id, op);
    bind_timing(statement, 3, row.time);
    NAS_CHECK(statement.run());
  }
  return transaction.commit();
}

Result<void> add_network_times(Store& store, const std::vector<NetworkTime>& rows) {
  NAS_TRY(transaction, store.begin());
  NAS_TRY(statement,
          store.db().prepare(std::string("INSERT OR REPLACE INTO network_time(session_id, arch_id, "
                                         "precision, ram_bytes, flash_bytes, layers, ") +
                             kTiming + ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const NetworkTime& row : rows) {
    statement.bind_all(row.session_id, row.arch_id, row.precision, row.ram_bytes, row.flash_bytes,
                       row.layers);
    bind_timing(statement, 7, row.time);
    NAS_CHECK(statement.run());
  }
  return transaction.commit();
}

Result<std::vector<KernelTime>> kernel_times(Store& store, Id session, bool with_samples) {
  NAS_TRY(statement, store.db().prepare(std::string("SELECT session_id, signature, ") + kTiming +
                                        " FROM kernel_time JOIN op ON op.id=op_id WHERE session_id=? "
                                        "ORDER BY signature"));
  statement.bind_all(session);
  std::vector<KernelTime> rows;
  while (true) {
    NAS_TRY(found, statement.step());
    if (!found) return rows;
    KernelTime row{.session_id = statement.integer(0), .signature = statement.text(1)};
    NAS_TRY(time, read_timing(statement, 2, with_samples));
    row.time = std::move(time);
    rows.push_back(std::move(row));
  }
}

Result<std::vector<NetworkTime>> network_times(Store& store, Id session, bool with_samples) {
  NAS_TRY(statement,
          store.db().prepare(std::string("SELECT session_id, arch_id, precision, ram_bytes, flash_bytes, "
                                         "layers, ") +
                             kTiming + " FROM network_time WHERE session_id=? ORDER BY arch_id, precision"));
  statement.bind_all(session);
  std::vector<NetworkTime> rows;
  while (true) {
    NAS_TRY(found, statement.step());
    if (!found) return rows;
    NetworkTime row;
    int column = 0;
    const auto read = [&](auto&... fields) { (statement.read(column++, fields), ...); };
    read(row.session_id, row.arch_id, row.precision, row.ram_bytes, row.flash_bytes, row.layers);
    NAS_TRY(time, read_timing(statement, column, with_samples));
    row.time = std::move(time);
    rows.push_back(std::move(row));
  }
}

}  // namespace nas::results
