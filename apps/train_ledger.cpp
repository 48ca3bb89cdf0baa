#include "apps/train_ledger.h"

#include <algorithm>
#include <fstream>

#include "results/catalog.h"
#include "results/runs.h"
#include "results/tables.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using results::Id;
using results::Store;

Result<Id> keep_dataset(Store& store, const TrainConfig& config, const TrainJob& job) {
  const auto count = [&](data::Split split) {
    return static_cast<std::int64_t>(job.feeds.splits()[split].size());
  };
  std::error_code failed;
  results::Dataset record;
  const bool made = config.data.starts_with("procedural:");
  record.name = job.feeds.store().description();
  record.kind = made ? "procedural" : "files";
  record.root = made ? config.data : fs::absolute(config.data, failed).string();
  record.train = count(data::Split::train);
  record.recalibration = count(data::Split::recalibration);
  record.validation = count(data::Split::validation);
  record.test = count(data::Split::test);
  record.classes = Json(job.feeds.store().classes()).dump();
  record.fingerprint = job.feeds.fingerprint();
  return results::keep(store, record);
}

Result<Id> keep_weights(Store& store, Id run_id, const TrainConfig& config, const TrainJob& job) {
  NAS_TRY(run, results::get_run(store, run_id));
  NAS_TRY(dataset, keep_dataset(store, config, job));
  NAS_TRY(space, keep_space(store, job.space));
  return results::keep(store, results::Supernet{.uid = run.uid,
                                                .name = run.name,
                                                .space_id = space,
                                                .dataset_id = dataset,
                                                .config = run.config,
                                                .seed = run.seed});
}

std::int64_t recalibration_images(const TrainJob& job) {
  return std::min<std::int64_t>(supernet::FeedOptions().recalibration_images,
                                std::ssize(job.feeds.splits()[data::Split::recalibration]));
}

// Every tenth step's loss and rate, and the validation scores.
std::vector<results::CurvePoint> read_curves(const fs::path& metrics, Id run) {
  std::vector<results::CurvePoint> points;
  std::ifstream file(metrics);
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step")) continue;  // a line torn by a kill
    const auto put = [&](const std::string& name, const Json& value) {
      if (value.is_number())
        points.push_back({.owner = results::CurveOwner::run,
                          .owner_id = run,
                          .name = name,
                          .step = json["step"].get<std::int64_t>(),
                          .value = value.get<double>()});
    };
    if (json.contains("score"))
      put("validation/top1/" + json["score"].value("network", ""), json["score"]["top1"]);
    if (!json.contains("paths") || json["paths"].empty()) continue;
    put("train/loss", json["paths"][0]["loss"]);
    put("train/accuracy", json["paths"][0]["accuracy"]);
    put("train/learning_rate", json["learning_rate"]);
  }
  return points;
}

Result<void> add_scores(Store& store, const TrainJob& job, Id checkpoint, data::Split split,
                        const ScoredNetworks& scored) {
  std::vector<Genotype> genotypes;
  for (const std::string& name : scored.names) {
    NAS_TRY(genotype, genotype_named(job.space, name));
    genotypes.push_back(genotype);
  }
  NAS_TRY(ids, keep_networks(store, job.space, genotypes));
  std::vector<results::Evaluation> rows;
  for (std::size_t i = 0; i < ids.size(); ++i)
    rows.push_back({.arch_id = ids[i],
                    .checkpoint_id = checkpoint,
                    .split = data::to_string(split),
                    .resolution = job.space.lower(genotypes[i]).layers.front().out.height,
                    .bn_samples = recalibration_images(job),
                    .accuracy = scored.scores[i].top1,
                    .loss = scored.scores[i].loss,
                    .n = scored.scores[i].images,
                    .seconds = scored.seconds / static_cast<double>(ids.size())});
  return results::add_evaluations(store, rows);
}

}  // namespace

TrainLedger::TrainLedger(const Context& context, const TrainConfig& config, const TrainJob& job,
                         const std::string& what, bool leads)
    : config_(config), job_(job), ledger_(context, config.out) {
  if (!leads) return;
  results::Run run;
  run.name = fs::path(config.out).filename().string();
  run.kind = "train";
  run.config = to_record(config).dump();
  run.seed = static_cast<std::int64_t>(config.seed);
  run.origin =
      Json{{"data", job.feeds.fingerprint()}, {"space", to_string(job.space.fingerprint())}, {"trains", what}}
          .dump();
  ledger_.write([&](Store& store) -> Result<void> {
    NAS_TRY(space, keep_space(store, job.space));
    run.space_id = space;
    NAS_CHECK(keep_dataset(store, config, job));
    return {};
  });
  ledger_.begin(run);
}

void TrainLedger::finish(const fs::path& weights, std::int64_t steps, const std::string& recipe,
                         const ScoredNetworks& scored) {
  if (!ledger_.has_run()) return;
  const auto keep = [&](Store& store) -> Result<void> {
    NAS_TRY(supernet, keep_weights(store, ledger_.run(), config_, job_));
    NAS_TRY(object, store.put_object_file(weights));
    std::error_code failed;
    results::Checkpoint checkpoint{.supernet_id = supernet, .stage = recipe, .step = steps, .object = object};
    checkpoint.bytes = static_cast<std::int64_t>(fs::file_size(weights, failed));
    if (!scored.scores.empty()) checkpoint.validation_accuracy = scored.scores.back().top1;
    // Draws are keyed by seed and step: these are all of the generators' state.
    checkpoint.rng = Json{{"seed", config_.seed}, {"step", steps}}.dump();
    NAS_TRY(id, results::keep(store, checkpoint));
    NAS_CHECK(store.db().run("UPDATE run SET checkpoint_id=? WHERE id=?", id, ledger_.run()));
    NAS_CHECK(results::add_curve(store, read_curves(weights.parent_path() / "metrics.jsonl", ledger_.run())));
    return add_scores(store, job_, id, data::Split::validation, scored);
  };
  ledger_.write(keep, true);
}

void keep_scores(Ledger& ledger, const TrainJob& job, const std::string& weights, data::Split split,
                 const ScoredNetworks& scored) {
  ledger.write([&](Store& store) -> Result<void> {
    NAS_TRY(checkpoint, checkpoint_of(store, weights));
    return checkpoint ? add_scores(store, job, checkpoint->id, split, scored) : Result<void>();
  });
}

std::map<std::string, double> known_scores(const Context& context, const TrainJob& job,
                                           const std::string& weights, data::Split split) {
  std::map<std::string, double> known;
  auto store = Store::open(context.project, {.access = results::Access::read});
  if (!store) return known;
  auto statement = store->db().prepare(
      "SELECT a.text, e.accuracy FROM evaluation e JOIN checkpoint c ON c.id=e.checkpoint_id JOIN arch a ON "
      "a.id=e.arch_id JOIN space s ON s.id=a.space_id WHERE c.object=? AND e.split=? AND e.bn_samples=? AND "
      "e.precision='fp32' AND s.json=?");
  if (!statement) return known;
  results::Statement rows = *std::move(statement);
  rows.bind_all(weights, data::to_string(split), recalibration_images(job), job.space.json());
  for (auto row = rows.step(); row && *row; row = rows.step()) known[rows.text(0)] = rows.real(1);
  return known;
}

results::Run scoring_run(const std::string& kind, const std::string& name, const TrainJob& job,
                         const std::string& weights, const Json& config) {
  results::Run run;
  run.name = name;
  run.kind = kind;
  run.config = config.dump();
  run.seed = config.value("seed", std::int64_t{0});
  run.origin = Json{
      {"data", job.feeds.fingerprint()},
      {"space", to_string(job.space.fingerprint())},
      {"supernet",
       weights}}.dump();
  return run;
}

void begin_scoring(Ledger& ledger, results::Run run, const TrainJob& job, const std::string& weights) {
  ledger.write([&](Store& store) -> Result<void> {
    NAS_TRY(space, keep_space(store, job.space));
    run.space_id = space;
    NAS_TRY(checkpoint, checkpoint_of(store, weights));
    if (checkpoint) run.checkpoint_id = checkpoint->id;
    return {};
  });
  ledger.begin(std::move(run));
}

}  // namespace nas::apps
