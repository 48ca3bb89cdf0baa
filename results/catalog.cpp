#include "results/catalog.h"

#include "results/tables.h"
#include "space/base/file.h"

namespace nas::results {
namespace {

// Inserts unless `column` = `value` is there; the id of the row that is.
template <class Record, class Value>
Result<Id> keep_by(Store& store, const Record& record, const std::string& column, const Value& value) {
  NAS_TRY(transaction, store.begin());
  const std::string query =
      std::string("SELECT id FROM ") + TableOf<Record>::kName + " WHERE " + column + "=?";
  NAS_TRY(known, store.db().template value<Id>(query, value));
  if (known) return *known;
  NAS_TRY(id, insert(store.db(), record));
  NAS_CHECK(transaction.commit());
  return id;
}

template <class Record>
Result<Record> get(Store& store, Id id) {
  NAS_TRY(found, (select_one<Record>(store.db(), "WHERE id=?", id)));
  if (found) return *std::move(found);
  return usage_error(
      std::string("there is no ") + TableOf<Record>::kName + " with the id " + std::to_string(id),
      store.file().string());
}

template <class Record>
void fill(const Store& store, Record& record) {
  if (record.created == 0) record.created = store.now();
}

}  // namespace

Result<Id> keep(Store& store, Dataset record) {
  fill(store, record);
  return keep_by(store, record, "fingerprint", record.fingerprint);
}

Result<Id> keep(Store& store, Space record) {
  if (record.sha256.empty()) record.sha256 = sha256(record.json);
  return keep_by(store, record, "sha256", record.sha256);
}

Result<Id> keep(Store& store, Supernet record) {
  fill(store, record);
  if (record.uid.empty()) record.uid = new_uid();
  return keep_by(store, record, "uid", record.uid);
}

Result<Id> keep(Store& store, Checkpoint record) {
  fill(store, record);
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(
      insert(store.db(), record,
             " ON CONFLICT(supernet_id, stage, step) DO UPDATE SET object=excluded.object, "
             "bytes=excluded.bytes, validation_accuracy=excluded.validation_accuracy, rng=excluded.rng"));
  NAS_TRY(id, store.db().value<Id>("SELECT id FROM checkpoint WHERE supernet_id=? AND stage=? AND step=?",
                                   record.supernet_id, record.stage, record.step));
  NAS_CHECK(transaction.commit());
  return id.value_or(0);
}

Result<Id> keep(Store& store, Device record) {
  NAS_TRY(transaction, store.begin());
  NAS_CHECK(insert(store.db(), record,
                   " ON CONFLICT(name) DO UPDATE SET kind=excluded.kind, transport=excluded.transport, "
                   "spec=excluded.spec, tags=excluded.tags"));
  NAS_TRY(id, store.db().value<Id>("SELECT id FROM device WHERE name=?", record.name));
  NAS_CHECK(transaction.commit());
  return id.value_or(0);
}

Result<Id> keep(Store& store, Predictor record) {
  fill(store, record);
  if (record.uid.empty()) record.uid = new_uid();
  return keep_by(store, record, "uid", record.uid);
}

Result<Id> keep(Store& store, Export record, const std::vector<Artifact>& artifacts,
                const std::vector<Parity>& parity) {
  fill(store, record);
  NAS_TRY(transaction, store.begin());
  NAS_TRY(id, keep_by(store, record, "manifest_sha256", record.manifest_sha256));
  for (Artifact artifact : artifacts) {
    artifact.export_id = id;
    NAS_CHECK(insert(store.db(), artifact, " ON CONFLICT DO NOTHING"));
  }
  for (Parity row : parity) {
    row.export_id = id;
    NAS_CHECK(insert(store.db(), row, " ON CONFLICT DO NOTHING"));
  }
  NAS_CHECK(transaction.commit());
  return id;
}

Result<std::vector<Dataset>> list_datasets(Store& store) {
  return select<Dataset>(store.db(), "ORDER BY id");
}
Result<std::vector<Space>> list_spaces(Store& store) { return select<Space>(store.db(), "ORDER BY id"); }
Result<std::vector<Supernet>> list_supernets(Store& store) {
  return select<Supernet>(store.db(), "ORDER BY id");
}
Result<std::vector<Checkpoint>> list_checkpoints(Store& store, std::optional<Id> supernet) {
  return select<Checkpoint>(store.db(), "WHERE ?1 IS NULL OR supernet_id=?1 ORDER BY id", supernet);
}
Result<std::vector<Device>> list_devices(Store& store) { return select<Device>(store.db(), "ORDER BY name"); }
Result<std::vector<Predictor>> list_predictors(Store& store, const std::string& target) {
  return select<Predictor>(store.db(), "WHERE ?1='' OR target=?1 ORDER BY id", target);
}
Result<std::vector<Export>> list_exports(Store& store) { return select<Export>(store.db(), "ORDER BY id"); }
Result<std::vector<Artifact>> list_artifacts(Store& store, Id id) {
  return select<Artifact>(store.db(), "WHERE export_id=? ORDER BY path", id);
}
Result<std::vector<Parity>> list_parity(Store& store, Id id) {
  return select<Parity>(store.db(), "WHERE export_id=? ORDER BY form_a, form_b", id);
}

Result<Dataset> get_dataset(Store& store, Id id) { return get<Dataset>(store, id); }
Result<Space> get_space(Store& store, Id id) { return get<Space>(store, id); }
Result<Supernet> get_supernet(Store& store, Id id) { return get<Supernet>(store, id); }
Result<Checkpoint> get_checkpoint(Store& store, Id id) { return get<Checkpoint>(store, id); }
Result<Predictor> get_predictor(Store& store, Id id) { return get<Predictor>(store, id); }

Result<std::optional<Checkpoint>> latest_checkpoint(Store& store, Id supernet) {
  return select_one<Checkpoint>(store.db(), "WHERE supernet_id=? ORDER BY id DESC", supernet);
}

Result<Device> get_device(Store& store, const std::string& name) {
  NAS_TRY(devices, list_devices(store));
  std::string known;
  for (Device& device : devices) {
    if (device.name == name) return std::move(device);
    known += (known.empty() ? "" : ", ") + device.name;
  }
  return usage_error(
      "there is no device \"" + name + "\" in this project; known: " + (known.empty() ? "none" : known),
      store.file().string());
}

}  // namespace nas::results
