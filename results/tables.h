#pragma once
#include <string>
#include <tuple>
#include <vector>

#include "results/records.h"
#include "results/sqlite.h"

// The one place that says which field is which column; inserting, reading and printing follow from it.
namespace nas::results {

template <class Record, class Field>
struct ColumnOf {
  const char* name;
  Field Record::*field;
};

template <class Record>
struct TableOf;  // static constexpr const char* kName; static constexpr auto columns();

#define NAS_TABLE(Record, table, ...)                                   \
  template <>                                                           \
  struct TableOf<Record> {                                              \
    using R = Record;                                                   \
    static constexpr const char* kName = table;                         \
    static constexpr auto columns() { return std::tuple(__VA_ARGS__); } \
  };
#define NAS_COLUMN(field) \
  ColumnOf<R, decltype(R::field)> { #field, &R::field }
#define C NAS_COLUMN

NAS_TABLE(Dataset, "dataset", C(id), C(name), C(kind), C(root), C(train), C(recalibration), C(validation),
          C(test), C(classes), C(fingerprint), C(created))
NAS_TABLE(Space, "space", C(id), C(name), C(json), C(sha256))
NAS_TABLE(Supernet, "supernet", C(id), C(uid), C(name), C(space_id), C(dataset_id), C(config), C(seed),
          C(created))
NAS_TABLE(Checkpoint, "checkpoint", C(id), C(supernet_id), C(stage), C(step), C(object), C(bytes),
          C(validation_accuracy), C(rng), C(created))
NAS_TABLE(Device, "device", C(id), C(name), C(kind), C(transport), C(spec), C(tags))
NAS_TABLE(Session, "session", C(id), C(uid), C(device_id), C(unit), C(source), C(started), C(ended),
          C(tool_version), C(firmware_sha256), C(clock_hz), C(governor), C(threads), C(affinity),
          C(celsius_start), C(celsius_end), C(load), C(info), C(state))
NAS_TABLE(Predictor, "predictor", C(id), C(uid), C(name), C(target), C(device_id), C(session_id),
          C(checkpoint_id), C(algorithm), C(features), C(object), C(n_train), C(mape), C(within10),
          C(kendall), C(info), C(created))
NAS_TABLE(Run, "run", C(id), C(uid), C(name), C(kind), C(batch), C(parent_id), C(space_id), C(checkpoint_id),
          C(device_id), C(session_id), C(config), C(config_sha256), C(origin), C(seed), C(objectives),
          C(constraints), C(budget), C(priority), C(max_failures), C(state), C(created), C(started), C(ended),
          C(tool_version), C(host), C(best), C(candidates), C(feasible), C(error), C(note), C(process))
NAS_TABLE(Architecture, "arch", C(id), C(space_id), C(hash), C(genes), C(text), C(params), C(macs))
NAS_TABLE(Candidate, "candidate", C(run_id), C(number), C(arch_id), C(generation), C(parent_a), C(parent_b),
          C(made_by), C(state), C(violation), C(on_front), C(accuracy), C(latency_ms), C(latency_low),
          C(latency_high), C(ram_bytes), C(flash_bytes), C(energy_mj), C(params), C(macs), C(source),
          C(extra), C(error), C(created))
NAS_TABLE(Evaluation, "evaluation", C(arch_id), C(checkpoint_id), C(split), C(resolution), C(precision),
          C(bn_samples), C(accuracy), C(loss), C(n), C(seconds))
NAS_TABLE(Snapshot, "snapshot", C(run_id), C(step), C(state), C(created))
NAS_TABLE(CurvePoint, "curve", C(owner), C(owner_id), C(name), C(step), C(value), C(created))
NAS_TABLE(Task, "task", C(id), C(run_id), C(number), C(stage), C(kind), C(payload), C(needs), C(device_id),
          C(priority), C(state), C(attempt), C(failures), C(max_failures), C(limit_s), C(worker_id),
          C(lease_until), C(lease_boot), C(not_before), C(stop), C(queued), C(started), C(ended), C(wait_ms),
          C(run_ms), C(result), C(error))
NAS_TABLE(Attempt, "attempt", C(task_id), C(attempt), C(worker_id), C(started), C(ended), C(wait_ms),
          C(run_ms), C(outcome), C(error), C(log))
NAS_TABLE(Worker, "worker", C(id), C(name), C(host), C(pid), C(process), C(tags), C(version), C(first_seen),
          C(last_seen), C(state))
NAS_TABLE(Event, "event", C(id), C(time), C(level), C(run_id), C(task_id), C(code), C(text), C(data))
NAS_TABLE(Export, "export", C(id), C(arch_id), C(run_id), C(path), C(manifest_sha256), C(created))
NAS_TABLE(Artifact, "artifact", C(export_id), C(path), C(kind), C(bytes), C(sha256))
NAS_TABLE(Parity, "parity", C(export_id), C(form_a), C(form_b), C(n), C(top1_agreement), C(max_difference),
          C(mean_difference), C(accuracy_a), C(accuracy_b))

#undef C
#undef NAS_COLUMN
#undef NAS_TABLE

// Calls visit(name, value) for every field in column order.
template <class Record, class Visit>
void for_each_field(const Record& record, Visit&& visit) {
  std::apply([&](const auto&... column) { (visit(column.name, record.*column.field), ...); },
             TableOf<Record>::columns());
}

// "id, name, …"; with a prefix "t." for joins: "t.id, t.name, …".
template <class Record>
std::string column_list(const std::string& prefix = {}) {
  std::string text;
  std::apply(
      [&](const auto&... column) { ((text += (text.empty() ? "" : ", ") + prefix + column.name), ...); },
      TableOf<Record>::columns());
  return text;
}

// Binds every field, the id 0 as NULL, so that SQLite gives one.
template <class Record>
void bind_record(Statement& statement, const Record& record) {
  int index = 0;
  for_each_field(record, [&](const std::string_view name, const auto& value) {
    ++index;
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Id>)
      if (name == "id" && value == 0) return statement.bind(index, std::nullopt);
    statement.bind(index, value);
  });
}

template <class Record>
Record read_record(const Statement& statement, int first_column = 0) {
  Record record;
  int column = first_column;
  std::apply([&](const auto&... c) { (statement.read(column++, record.*c.field), ...); },
             TableOf<Record>::columns());
  return record;
}

// "INSERT INTO t(a, b) VALUES(?, ?)" + tail, e.g. " ON CONFLICT DO NOTHING".
template <class Record>
std::string insert_sql(const std::string& tail = {}) {
  std::string marks;
  for (std::size_t i = 0; i < std::tuple_size_v<decltype(TableOf<Record>::columns())>; ++i)
    marks += i == 0 ? "?" : ", ?";
  return std::string("INSERT INTO ") + TableOf<Record>::kName + "(" + column_list<Record>() + ") VALUES(" +
         marks + ")" + tail;
}

// The new row's id (meaningless for tables without one).
template <class Record>
Result<Id> insert(Database& database, const Record& record, const std::string& tail = {}) {
  NAS_TRY(statement, database.prepare(insert_sql<Record>(tail)));
  bind_record(statement, record);
  NAS_CHECK(statement.run());
  return database.last_id();
}

// Rows of one table; `tail` continues "SELECT … FROM table", e.g. "WHERE run_id=? ORDER BY number".
template <class Record, class... Args>
Result<std::vector<Record>> select(Database& database, const std::string& tail, const Args&... args) {
  NAS_TRY(statement, database.prepare("SELECT " + column_list<Record>() + " FROM " + TableOf<Record>::kName +
                                      " " + tail));
  statement.bind_all(args...);
  std::vector<Record> records;
  while (true) {
    NAS_TRY(row, statement.step());
    if (!row) return records;
    records.push_back(read_record<Record>(statement));
  }
}

template <class Record, class... Args>
Result<std::optional<Record>> select_one(Database& database, const std::string& tail, const Args&... args) {
  NAS_TRY(records, (select<Record>(database, tail + " LIMIT 1", args...)));
  if (records.empty()) return std::optional<Record>();
  return std::optional<Record>(std::move(records.front()));
}

}  // namespace nas::results
