#include "apps/run_origin.h"

#include "results/catalog.h"

namespace nas::apps {
namespace {

using Json = nlohmann::ordered_json;

// The weights' own data, where the run names weights that the store knows.
Result<void> add_weights(Json& record, results::Store& store, results::Id id) {
  NAS_TRY(checkpoint, results::get_checkpoint(store, id));
  NAS_TRY(supernet, results::get_supernet(store, checkpoint.supernet_id));
  record["weights"] = checkpoint.object;
  record["trained_by"] = supernet.name;
  if (!supernet.dataset_id) return {};
  NAS_TRY(dataset, results::get_dataset(store, *supernet.dataset_id));
  record["data"] = dataset.fingerprint;
  record["data_root"] = dataset.root;
  return {};
}

}  // namespace

Result<void> add_origin(Json& record, results::Store& store, const results::Run& run) {
  const Json origin = Json::parse(run.origin, nullptr, false);
  for (const char* key : {"space_name", "data", "data_root", "weights", "trained_by", "sessions"})
    record[key] = nullptr;
  if (run.space_id) {
    NAS_TRY(space, results::get_space(store, *run.space_id));
    record["space_name"] = space.name;
  }
  if (origin.is_object()) {
    if (origin.contains("data")) record["data"] = origin["data"];
    if (origin.contains("supernet")) record["weights"] = origin["supernet"];
    if (origin.contains("accuracy")) record["weights"] = origin["accuracy"].value("supernet", "");
    std::string sessions;
    for (const Json& s : origin.value("sessions", Json::array()))
      sessions += (sessions.empty() ? "" : ", ") + s.value("id", "") + " on " + s.value("device", "");
    if (!sessions.empty()) record["sessions"] = sessions;
  }
  return run.checkpoint_id ? add_weights(record, store, *run.checkpoint_id) : Result<void>();
}

std::vector<Column> origin_columns() {
  return {{"seed", "seed"},
          {"config_sha256", "config (SHA-256)"},
          {"space_name", "space"},
          {"data", "data (fingerprint)"},
          {"data_root", "  from"},
          {"weights", "weights (SHA-256)"},
          {"trained_by", "  trained by"},
          {"sessions", "sessions"}};
}

}  // namespace nas::apps
