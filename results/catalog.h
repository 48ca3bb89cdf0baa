#pragma once
#include <optional>
#include <string>
#include <vector>

#include "results/store.h"

// What runs share: data sets, spaces, supernets and their checkpoints, devices, predictors, exports.
// `keep` stores a record unless its identity is known already, and returns the id either way.
namespace nas::results {

Result<Id> keep(Store& store, Dataset record);   // identity: fingerprint
Result<Id> keep(Store& store, Space record);     // identity: sha256 of json, computed when empty
Result<Id> keep(Store& store, Supernet record);  // identity: uid
Result<Id> keep(Store& store,
                Checkpoint record);            // identity: supernet, stage, step; a repeat replaces the rest
Result<Id> keep(Store& store, Device record);  // identity: name; a repeat replaces the rest
Result<Id> keep(Store& store, Predictor record);  // identity: uid
Result<Id> keep(Store& store, Export record, const std::vector<Artifact>& artifacts,
                const std::vector<Parity>& parity);  // identity: manifest_sha256

Result<std::vector<Dataset>> list_datasets(Store& store);
Result<std::vector<Space>> list_spaces(Store& store);
Result<std::vector<Supernet>> list_supernets(Store& store);
Result<std::vector<Checkpoint>> list_checkpoints(Store& store, std::optional<Id> supernet = {});
Result<std::vector<Device>> list_devices(Store& store);
Result<std::vector<Predictor>> list_predictors(Store& store, const std::string& target = "");
Result<std::vector<Export>> list_exports(Store& store);
Result<std::vector<Artifact>> list_artifacts(Store& store, Id export_id);
Result<std::vector<Parity>> list_parity(Store& store, Id export_id);

// By id, or an error that names the table and the id.
Result<Dataset> get_dataset(Store& store, Id id);
Result<Space> get_space(Store& store, Id id);
Result<Supernet> get_supernet(Store& store, Id id);
Result<Checkpoint> get_checkpoint(Store& store, Id id);
// The furthest checkpoint of a supernet: last stored.
Result<std::optional<Checkpoint>> latest_checkpoint(Store& store, Id supernet);
// An unknown name's error lists the known ones.
Result<Device> get_device(Store& store, const std::string& name);
Result<Predictor> get_predictor(Store& store, Id id);

}  // namespace nas::results
