#include "apps/trained_run.h"

#include "space/base/file.h"
#include "supernet/runtime.h"
#include "supernet/trained_network.h"

namespace nas::apps {

namespace {

Result<supernet::LoadedSupernet> load_one(const std::filesystem::path& file, const std::string& device) {
  NAS_TRY(trained, supernet::load_trained(file));
  NAS_TRY(one, supernet::Supernet::of(trained, device));
  return supernet::LoadedSupernet{std::move(one), std::move(trained.provenance)};
}

}  // namespace

Result<TrainedRun> open_trained_run(const std::filesystem::path& folder, const std::string& data) {
  supernet::prepare_runtime();
  TrainConfig config;
  NAS_CHECK(read_train_config((folder / "config.json").string(), config));
  if (!data.empty()) config.data = data;
  std::filesystem::path weights = folder / "supernet.safetensors";
  std::error_code ignored;
  const bool one = !std::filesystem::exists(weights, ignored);
  if (one) weights = folder / "network.safetensors";
  if (one && !std::filesystem::exists(weights, ignored))
    return usage_error(
        "this training run has not finished: it has no supernet.safetensors; `hwnas train` with the same "
        "--out continues it",
        folder.string());
  NAS_TRY(digest, sha256_file(weights));
  NAS_TRY(job, open_train_job(config));
  NAS_TRY(loaded, one ? load_one(weights, config.device)
                      : supernet::load_supernet(weights, job.space, {config.seed, config.device}));
  return TrainedRun{std::move(config), std::move(job), std::move(loaded), weights, std::move(digest)};
}

Result<void> use_space(TrainedRun& run, const std::string& name) {
  if (name.empty()) return {};
  AccuracyFile header = accuracy_header(run);
  header.space = name;
  if (name.ends_with(".jsonl")) {
    NAS_TRY(file, read_accuracy_file(name));
    header = std::move(file);
  }
  NAS_TRY(space, header.load_space());
  if (auto held = run.loaded.supernet.holds(space.lower(space.largest())); !held)
    return Error{held.error().message, name, held.error().kind};
  run.config.space = header.space;
  run.loaded.provenance.space = space.name();
  run.loaded.provenance.space_fingerprint = to_string(space.fingerprint());
  run.job.space = std::move(space);
  return {};
}

AccuracyFile accuracy_header(const TrainedRun& run) {
  return {run.config.space,
          static_cast<int>(run.job.feeds.store().classes().size()),
          run.config.resolutions,
          run.digest,
          "validation",
          {},
          {}};
}

}  // namespace nas::apps
