#include <tbb/global_control.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "apps/accuracy_file.h"
#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/progress.h"
#include "apps/rank_launcher.h"
#include "apps/train_job.h"
#include "apps/train_ledger.h"
#include "search/accuracy_surrogate.h"
#include "search/run_folder.h"
#include "space/base/file.h"
#include "space/json/document.h"
#include "space/learn/metrics.h"
#include "supernet/evaluate.h"
#include "supernet/feeds.h"
#include "supernet/runtime.h"
#include "supernet/train.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

Record score_record(const std::string& name, const Score& s) {
  return {{"network", name}, {"top1", s.top1}, {"top1_low", s.top1_low}, {"top1_high", s.top1_high},
          {"top5", s.top5},  {"loss", s.loss}, {"images", s.images}};
}

const std::vector<Column> kScoreColumns = {
    {"network", "network"}, {"top1", "top-1"}, {"top1_low", "95 % from"}, {"top1_high", "to"},
    {"top5", "top-5"},      {"loss", "loss"},  {"images", "images"}};

Result<ScoredNetworks> score_all(const TrainJob& job, const Supernet& supernet,
                                 const std::vector<std::string>& names, data::Split split) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Network> networks;
  for (const std::string& name : names) {
    NAS_TRY(network, network_named(job.space, name));
    networks.push_back(std::move(network));
  }
  NAS_TRY(scores, evaluate(supernet, networks, job.feeds.recalibration(), job.feeds.scoring(split)));
  return ScoredNetworks{names, std::move(scores),
                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

std::vector<Record> to_records(const ScoredNetworks& scored) {
  std::vector<Record> records;
  for (std::size_t i = 0; i < scored.names.size(); ++i)
    records.push_back(score_record(scored.names[i], scored.scores[i]));
  return records;
}

// One line of JSON a step, appended; a continued run appends on.
class MetricsFile {
 public:
  explicit MetricsFile(const std::filesystem::path& path)
      : file_(std::fopen(path.c_str(), "a"), &std::fclose) {}
  void write(const Record& record) {
    if (!file_) return;
    std::fputs((record.dump() + "\n").c_str(), file_.get());
    std::fflush(file_.get());
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

Record step_record(const TrainProgress& p) {
  Record paths = Record::array();
  for (const PathProgress& path : p.paths)
    paths.push_back({{"genotype", path.genotype}, {"loss", path.loss}, {"accuracy", path.accuracy}});
  return {{"step", p.step},
          {"phase", p.phase_name},
          {"epoch", p.epoch},
          {"learning_rate", p.learning_rate},
          {"gradient_norm", p.gradient_norm},
          {"images_per_second", p.images_per_second},
          {"paths", paths}};
}

// What a run needs besides what it trains.
struct Prepared {
  Recipe recipe;
  std::string kernels;
};

Result<Prepared> prepare(const TrainConfig& config, bool warn) {
  prepare_runtime();
  const RuntimeReport runtime = inspect_runtime();
  if (warn)
    for (const std::string& warning : runtime.warnings)
      std::fprintf(stderr, "warning: %s\n", warning.c_str());
  NAS_TRY(recipe, load_recipe(config.recipe));
  Prepared prepared{scaled(std::move(recipe), config.length), runtime.kernels};
  if (config.shards > 0) prepared.recipe.shards = config.shards;
  prepared.recipe.bf16 = prepared.recipe.bf16 && runtime.bf16_is_fast;
  return prepared;
}

bool leads(const Ranks* ranks) { return !ranks || ranks->rank() == 0; }

Result<TrainJob> open_part(const TrainConfig& config, const Ranks* ranks) {
  return open_train_job(config, ranks ? ranks->rank() : 0, ranks ? ranks->world() : 1);
}

Result<void> keep_config(const TrainConfig& config, const Ranks* ranks) {
  if (!leads(ranks)) return {};
  return write_file(std::filesystem::path(config.out) / "config.json", to_record(config).dump(2) + "\n");
}

constexpr int kStopped = 75;
int say_stopped(const Context& context, const TrainOutcome& outcome) {
  if (!context.quiet)
    std::fprintf(stderr, "stopped after step %lld as asked; the same command continues\n",
                 static_cast<long long>(outcome.steps));
  return kStopped;
}

// Shows and records the steps of a run.
class RunWatch {
 public:
  RunWatch(const Context& context, const std::filesystem::path& folder, Ranks* ranks)
      : quiet_(context.quiet),
        ranks_(ranks),
        metrics_(leads(ranks) ? folder / "metrics.jsonl" : "/dev/null") {}

  TrainOptions options(const TrainConfig& config, const TrainJob& job) {
    TrainOptions o;
    o.seed = config.seed;
    o.folder = std::filesystem::path(config.out) / "checkpoints";
    o.checkpoint_every = config.checkpoint_every;
    o.data_fingerprint = job.feeds.fingerprint();
    o.on_step = [this](const TrainProgress& p) { show(p); };
    o.stop = stop_requested;
    o.ranks = ranks_;
    return o;
  }
  void finish(std::int64_t steps, const std::vector<Record>& scores) {
    progress_.reset();
    if (ranks_ && !quiet_)
      std::fprintf(stderr, "%d ranks; each handed on %.1f MB\n", ranks_->world(),
                   static_cast<double>(ranks_->bytes()) / 1e6);
    for (const Record& r : scores) metrics_.write({{"step", steps}, {"split", "validation"}, {"score", r}});
  }

 private:
  void show(const TrainProgress& p) {
    if (!progress_)
      progress_ = std::make_unique<Progress>("train", static_cast<std::uint64_t>(p.total_steps), quiet_);
    char note[160];
    std::snprintf(note, sizeof note, "%s epoch %.2f loss %.3f accuracy %.3f %.0f images/s",
                  p.phase_name.c_str(), p.epoch, p.paths.front().loss, p.paths.front().accuracy,
                  p.images_per_second);
    progress_->update(static_cast<std::uint64_t>(p.step), note);
    if (p.step % 10 == 0 || p.step == p.total_steps) metrics_.write(step_record(p));
  }

  bool quiet_;
  Ranks* ranks_;
  MetricsFile metrics_;
  std::unique_ptr<Progress> progress_;
};

void describe(const Context& context, const TrainConfig& config, const TrainJob& job,
              const Supernet& supernet, const std::string& what, const std::string& kernels) {
  if (context.quiet) return;
  std::fprintf(stderr, "%s: %s; %zu classes; %s with %zu parameters; %s kernels\n", config.data.c_str(),
               job.feeds.store().description().c_str(), job.feeds.store().classes().size(), what.c_str(),
               supernet.parameter_count(), kernels.c_str());
}

Result<int> train_supernet_of(const Context& context, const TrainConfig& config, const TrainJob& job,
                              const Prepared& prepared, Ranks* ranks, TrainLedger& ledger) {
  NAS_TRY(supernet, Supernet::make(job.space, {config.seed, config.device}));
  const std::filesystem::path out = config.out;
  NAS_CHECK(keep_config(config, ranks));
  describe(context, config, job, supernet, "supernet of " + job.space.name(), prepared.kernels);
  RunWatch watch(context, out, ranks);
  NAS_TRY(outcome,
          train(supernet, job.space, prepared.recipe, job.feeds.training(), watch.options(config, job)));
  if (!outcome.finished) return say_stopped(context, outcome);
  if (!leads(ranks)) return 0;
  NAS_CHECK(save_supernet(
      out / "supernet.safetensors", supernet, job.space,
      {job.space.name(), "", "", prepared.recipe.name, job.feeds.fingerprint(), outcome.steps, ""}));
  NAS_TRY(scored, score_all(job, supernet, {"smallest", "middle", "largest"}, data::Split::validation));
  const std::vector<Record> records = to_records(scored);
  watch.finish(outcome.steps, records);
  ledger.finish(out / "supernet.safetensors", outcome.steps, prepared.recipe.name, scored);
  print_records(context, kScoreColumns, records);
  return 0;
}

// One process of a run writes its folder, and no other run does.
Result<std::optional<FolderLock>> lock_run(const TrainConfig& config, Ranks* ranks) {
  if (!leads(ranks)) return std::optional<FolderLock>();
  NAS_TRY(lock, FolderLock::take(config.out));
  return std::optional<FolderLock>(std::move(lock));
}

Result<int> train_supernet(const Context& context, const TrainConfig& config, Ranks* ranks) {
  NAS_TRY(prepared, prepare(config, leads(ranks)));
  NAS_TRY(job, open_part(config, ranks));
  NAS_TRY(lock, lock_run(config, ranks));  // what is refused leaves no folder
  TrainLedger ledger(context, config, job, "supernet", leads(ranks));
  return ledger.end(train_supernet_of(context, config, job, prepared, ranks, ledger));
}

// One network: from scratch where `which` names a genotype, else further from a file's weights.
Result<int> train_network(const Context& context, TrainConfig config, const std::string& which,
                          Ranks* ranks) {
  NAS_TRY(prepared, prepare(config, leads(ranks)));
  const bool further = which.ends_with(".safetensors");
  TrainedNetwork start;
  if (further) {
    NAS_TRY(loaded, load_trained(which));
    start = std::move(loaded);
  } else {
    SpaceOverrides change;
    change.resolutions = config.resolutions;
    NAS_TRY(space, load_space(config.space, change));
    NAS_TRY(network, network_named(space, which));
    start.network = std::move(network);
  }
  // Every batch has the network's own resolution.
  config.resolutions = {start.network.layers.front().out.height};
  NAS_TRY(job, open_part(config, ranks));
  NAS_TRY(lock, lock_run(config, ranks));  // what is refused leaves no folder
  Provenance provenance = start.provenance;
  if (!further) {
    NAS_TRY(network, network_named(job.space, which));  // now with the images' number of classes
    start.network = std::move(network);
    start.batch_norm_epsilon = job.space.traits().bn_eps;
    provenance = {job.space.name(), to_string(job.space.fingerprint()), which, "", "", 0, "trained alone"};
  }
  const auto classes = static_cast<std::size_t>(start.network.layers.back().out.channels);
  if (classes != job.feeds.store().classes().size())
    return usage_error("the network tells " + std::to_string(classes) + " classes apart, the images have " +
                       std::to_string(job.feeds.store().classes().size()));
  NAS_TRY(single, further
                      ? Supernet::of(start, config.device)
                      : Supernet::of(start.network, start.batch_norm_epsilon, {config.seed, config.device}));
  const std::filesystem::path out = config.out;
  TrainLedger ledger(context, config, job, which, leads(ranks));
  NAS_CHECK(keep_config(config, ranks));
  describe(context, config, job, single, "network " + which, prepared.kernels);
  RunWatch watch(context, out, ranks);
  NAS_TRY(outcome,
          train(single, start.network, prepared.recipe, job.feeds.training(), watch.options(config, job)));
  if (!outcome.finished) return ledger.end(say_stopped(context, outcome));
  if (!leads(ranks)) return 0;
  provenance.recipe = prepared.recipe.name;
  provenance.data_fingerprint = job.feeds.fingerprint();
  provenance.steps += outcome.steps;
  if (further) provenance.note += ", fine-tuned " + std::to_string(outcome.steps) + " steps";
  NAS_TRY(trained, extract(single, start.network, job.feeds.recalibration(), provenance));
  NAS_CHECK(save(out / "network.safetensors", trained));
  NAS_TRY(score, evaluate(trained, job.feeds.scoring(data::Split::validation)));
  const std::vector<Record> records{score_record(which, score)};
  watch.finish(outcome.steps, records);
  // Weights tuned further belong to a network, not to a place in the space.
  ledger.finish(out / "network.safetensors", outcome.steps, prepared.recipe.name,
                further ? ScoredNetworks{} : ScoredNetworks{{which}, {score}, 0});
  print_records(context, kScoreColumns, records);
  return ledger.end(0);
}

Result<int> run_train(Context context, TrainConfig config, const std::string& config_file,
                      const std::string& network, int processes) {
  if (processes > 0) return launch_ranks(context.arguments, processes);
  if (!config_file.empty()) NAS_CHECK(read_train_config(config_file, config));
  if (!network.empty() && config.recipe == TrainConfig().recipe)
    config.recipe = network.ends_with(".safetensors") ? "fine-tune" : "plain";
  if (config.out.empty()) config.out = context.project + "/runs/" + config.space + "-" + config.recipe;
  NAS_TRY(ranks, join_ranks());
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads_of_a_rank());
  watch_for_stop();
  Ranks* const all = ranks ? &*ranks : nullptr;
  context.quiet = context.quiet || !leads(all);
  return network.empty() ? train_supernet(context, config, all)
                         : train_network(context, config, network, all);
}

struct EvaluateOptions {
  std::vector<std::string> networks;
  std::string run, data, split = "validation", extract;
};

Result<int> run_evaluate(const Context& context, const EvaluateOptions& o) {
  prepare_runtime();
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  if (!o.data.empty()) config.data = o.data;
  NAS_TRY(job, open_train_job(config));
  const data::Split split = o.split == "test" ? data::Split::test : data::Split::validation;
  const std::string weights = o.run + "/supernet.safetensors";
  NAS_TRY(loaded, load_supernet(weights, job.space, {config.seed, config.device}));
  if (!o.extract.empty()) {
    if (o.networks.size() != 1)
      return usage_error("--extract takes one network, found " + std::to_string(o.networks.size()));
    NAS_TRY(network, network_named(job.space, o.networks.front()));
    Provenance p = loaded.provenance;
    p.genotype = o.networks.front();
    p.note = "extracted";
    NAS_TRY(trained, extract(loaded.supernet, network, job.feeds.recalibration(), p));
    NAS_CHECK(save(o.extract, trained));
  }
  std::vector<std::string> inherited;
  std::vector<Record> records;
  for (const std::string& name : o.networks) {
    if (!name.ends_with(".safetensors")) {
      inherited.push_back(name);
      continue;
    }
    NAS_TRY(trained, load_trained(name));
    NAS_TRY(score, evaluate(trained, job.feeds.scoring(split)));
    records.push_back(score_record(name, score));
  }
  NAS_TRY(scored, score_all(job, loaded.supernet, inherited, split));
  const std::vector<Record> first = to_records(scored);
  records.insert(records.begin(), first.begin(), first.end());
  if (o.data.empty()) {
    NAS_TRY(digest, sha256_file(weights));
    Ledger ledger(context, o.run);
    keep_scores(ledger, job, digest, split, scored);
  }
  print_records(context, kScoreColumns, records);
  return 0;
}

struct SweepOptions {
  std::string run, out = "accuracy.jsonl";
  std::size_t networks = 200, chunk = 8;
  std::uint64_t seed = 1;
};

// Measures what neither the file nor the project's store holds yet, some networks at a time, and appends all
// to the file in the order of the sample. Returns how many were measured.
Result<std::size_t> sweep_all(const Context& context, const SweepOptions& o, const TrainJob& job,
                              const Supernet& supernet, const std::vector<std::string>& open,
                              const std::string& weights, Ledger& ledger) {
  const auto known = known_scores(context, job, weights, data::Split::validation);
  Progress progress("sweep", open.size(), context.quiet);
  std::size_t measured = 0;
  for (std::size_t start = 0; start < open.size(); start += o.chunk) {
    const std::vector<std::string> some(
        open.begin() + static_cast<std::ptrdiff_t>(start),
        open.begin() + static_cast<std::ptrdiff_t>(std::min(start + o.chunk, open.size())));
    std::vector<std::string> fresh;
    for (const std::string& name : some)
      if (!known.contains(name)) fresh.push_back(name);
    NAS_TRY(scored, score_all(job, supernet, fresh, data::Split::validation));
    keep_scores(ledger, job, weights, data::Split::validation, scored);
    std::vector<double> top1;
    for (std::size_t i = 0; const std::string& name : some)
      top1.push_back(known.contains(name) ? known.at(name) : scored.scores[i++].top1);
    NAS_CHECK(append_accuracies(o.out, some, top1));
    measured += fresh.size();
    progress.update(start + some.size());
  }
  return measured;
}

Record sweep_config(const SweepOptions& o) {
  return {{"run", o.run}, {"out", o.out}, {"networks", o.networks}, {"seed", o.seed}};
}

// Accuracy of a designed sample of sub-networks; what the file holds already is not measured again.
Result<int> run_sweep(const Context& context, const SweepOptions& o) {
  prepare_runtime();
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  NAS_TRY(job, open_train_job(config));
  const std::string weights = o.run + "/supernet.safetensors";
  NAS_TRY(loaded, load_supernet(weights, job.space, {config.seed, config.device}));
  NAS_TRY(digest, sha256_file(weights));
  AccuracyFile header{config.space,
                      static_cast<int>(job.feeds.store().classes().size()),
                      config.resolutions,
                      digest,
                      "validation",
                      {},
                      {}};
  NAS_TRY(file, open_accuracy_file(o.out, header));
  const std::set<std::string> in_file(file.networks.begin(), file.networks.end());
  std::vector<std::string> open;
  for (const Genotype& g : search::designed_sample(job.space, o.networks, o.seed))
    if (!in_file.contains(job.space.text(g))) open.push_back(job.space.text(g));
  Ledger ledger(context, o.out);
  begin_scoring(
      ledger,
      scoring_run("sweep", std::filesystem::path(o.out).stem().string(), job, digest, sweep_config(o)), job,
      digest);
  const auto measured = sweep_all(context, o, job, loaded.supernet, open, digest, ledger);
  NAS_CHECK(ledger.end(measured ? Result<int>(0) : Result<int>(measured.error())));
  print_record(context,
               {{"file", "accuracies in"},
                {"networks", "networks"},
                {"measured", "measured now"},
                {"reused", "from the store"}},
               {{"file", o.out},
                {"networks", in_file.size() + open.size()},
                {"measured", *measured},
                {"reused", open.size() - *measured}});
  return 0;
}

struct FrontOptions {
  std::string run, front, split = "test";
  std::size_t networks = 0;  // at most; 0: all
};
constexpr std::size_t kMostRows = 12;  // of a table that people read

// `most` of them (0: all), evenly, the first and the last included.
template <class T>
std::vector<T> spread(const std::vector<T>& all, std::size_t most) {
  if (most == 0 || all.size() <= most) return all;
  std::vector<T> some;
  for (std::size_t i = 0; i < most; ++i)
    some.push_back(all[most < 2 ? 0 : i * (all.size() - 1) / (most - 1)]);
  return some;
}

// One line a network, as `hwnas report` reads them.
std::string prediction_lines(const std::vector<Record>& records, const std::string& split) {
  std::string text;
  for (const Record& r : records) {
    Record line{{"arch", r["network"]},
                {"device", "supernet, " + split + " split"},
                {"metric", "top1"},
                {"unit", "share"}};
    if (r.contains("top1_predicted")) line["predicted"] = r["top1_predicted"];
    line["measured"] = r["top1"];
    text += line.dump() + "\n";
  }
  return text;
}

// The front of a search on the supernet itself: what was predicted beside what is measured.
Result<int> run_check(const Context& context, const FrontOptions& o) {
  prepare_runtime();
  const std::filesystem::path folder = run_folder(context.project, o.front);
  NAS_TRY(found, search::load_run(folder));
  TrainConfig config;
  NAS_CHECK(read_train_config(o.run + "/config.json", config));
  NAS_TRY(job, open_train_job(config));
  NAS_TRY(loaded, load_supernet(o.run + "/supernet.safetensors", job.space, {config.seed, config.device}));
  std::vector<std::string> names;
  const auto front = spread(found.history.front(), o.networks);
  for (const search::Row row : front) names.push_back(found.texts[row]);
  if (names.empty()) return Error{"the front is empty", folder.string(), ErrorKind::infeasible};
  const data::Split split = o.split == "test" ? data::Split::test : data::Split::validation;
  NAS_TRY(digest, sha256_file(o.run + "/supernet.safetensors"));
  Ledger ledger(context, folder);
  begin_scoring(ledger,
                scoring_run("check", folder.filename().string() + "-check", job, digest,
                            {{"search", o.front}, {"run", o.run}, {"split", o.split}}),
                job, digest);
  NAS_TRY(scored, score_all(job, loaded.supernet, names, split));
  keep_scores(ledger, job, digest, split, scored);
  std::vector<Record> records = to_records(scored);
  std::vector<double> predicted, measured;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto values = found.history.values(front[i]);
    for (std::size_t m = 0; m < values.size(); ++m) {
      const std::string& name = found.record.metrics[m].name;
      records[i][name == "top1" ? "top1_predicted" : name] = values[m];
      if (name == "top1") predicted.push_back(values[m]);
    }
    measured.push_back(records[i]["top1"].get<double>());
  }
  NAS_CHECK(write_file(folder / "predictions.jsonl", prediction_lines(records, o.split)));
  NAS_CHECK(ledger.end(0));
  std::vector<Column> columns = kScoreColumns;
  if (!predicted.empty()) columns.insert(columns.begin() + 1, {"top1_predicted", "top-1 predicted"});
  const bool table = context.format == "table";
  print_records(context, columns, spread(records, table ? kMostRows : 0));
  if (table && !context.quiet && records.size() > kMostRows)
    std::fprintf(stderr, "%zu of %zu networks; all are in %s\n", kMostRows, records.size(),
                 (folder / "predictions.jsonl").c_str());
  if (predicted.size() < 2 || context.quiet) return 0;
  NAS_TRY(score, learn::evaluate(measured, predicted));
  std::fprintf(
      stderr, "predicted against measured on the %s split: rmse %.4f, Kendall's tau %.3f over %zu networks\n",
      o.split.c_str(), score.rmse, score.kendall, measured.size());
  return 0;
}

}  // namespace

void add_train_commands(CLI::App& app, Context& context) {
  CLI::App* train_command =
      add_command(app, "train", "Train a once-for-all supernet, or one network",
                  {"hwnas train --space tiny --data procedural: --recipe sandwich --out runs/demo",
                   "hwnas train run.json", "hwnas train --space tiny --network smallest --out runs/alone",
                   "hwnas train --network best.safetensors --out runs/tuned"});
  auto config = std::make_shared<TrainConfig>();
  auto file = std::make_shared<std::string>();
  auto network = std::make_shared<std::string>();
  train_command->add_option("CONFIG", *file, "A run as JSON: space, data, recipe, out, ...");
  train_command->add_option("--space", config->space, "Built-in space or JSON file");
  train_command->add_option("--data", config->data, "Folder, CIFAR or IDX files, or procedural:...");
  train_command->add_option("--recipe", config->recipe, "Built-in recipe or JSON file");
  train_command->add_option("--network", *network,
                            "Train only this: smallest, middle, largest, a genotype, or a .safetensors file");
  train_command->add_option("--out", config->out, "Folder of the run");
  train_command->add_option("--device", config->device, "cpu or cuda");
  train_command->add_option("--seed", config->seed, "Of everything random");
  train_command->add_option("--batch", config->batch, "Images a step")->check(CLI::Range(2, 65536));
  train_command
      ->add_option("--shards", config->shards, "Parts of a batch with their own batch norm (the recipe's)")
      ->check(CLI::PositiveNumber);
  auto processes = std::make_shared<int>(0);
  train_command
      ->add_option("--nproc", *processes,
                   "Processes on this machine that share every batch; torchrun, srun and "
                   "mpirun may start them instead (docs/ranks.md)")
      ->check(CLI::Range(1, 1024));
  train_command->add_option("--length", config->length, "Multiplies all epochs of the recipe");
  train_command->add_option("--checkpoint-every", config->checkpoint_every, "Steps")
      ->check(CLI::PositiveNumber);
  train_command->add_option("--resolutions", config->resolutions, "Instead of the space's own")
      ->delimiter(',');
  train_command->add_flag("--skip-bad", config->skip_bad, "Leave out images that cannot be read");
  train_command->callback([&context, config, file, network, processes] {
    context.action = [&context, config, file, network, processes] {
      return run_train(context, *config, *file, *network, *processes);
    };
  });

  CLI::App* evaluate_command = add_command(
      app, "evaluate", "Accuracy of sub-networks of a trained supernet",
      {"hwnas evaluate smallest largest --run runs/demo", "hwnas evaluate r=24:d=1,2 --run runs/demo"});
  auto options = std::make_shared<EvaluateOptions>();
  evaluate_command
      ->add_option("NETWORK", options->networks,
                   "smallest, middle, largest, a genotype's text, or a .safetensors file of one network")
      ->required();
  evaluate_command->add_option("--run", options->run, "Folder of a training run")->required();
  evaluate_command->add_option("--data", options->data, "Other images than the run's");
  evaluate_command->add_option("--split", options->split, "validation or test")
      ->check(CLI::IsMember({"validation", "test"}));
  evaluate_command->add_option("--extract", options->extract,
                               "Also write the network with its own weights here");
  evaluate_command->callback([&context, options] {
    context.action = [&context, options] { return run_evaluate(context, *options); };
  });

  CLI::App* sweep_command = add_command(
      app, "sweep", "Measure the accuracy of a spread of sub-networks, once for all devices",
      {"hwnas sweep --run runs/demo --networks 200 --out accuracy.jsonl", "hwnas sweep --run runs/demo"});
  auto sweep = std::make_shared<SweepOptions>();
  sweep_command->add_option("--run", sweep->run, "Folder of a training run")->required();
  sweep_command->add_option("--out", sweep->out, "File of accuracies; one that exists is continued");
  sweep_command->add_option("--networks", sweep->networks, "How many, evenly over the space")
      ->check(CLI::Range(1, 1000000));
  sweep_command->add_option("--seed", sweep->seed, "Of the choice of networks");
  sweep_command->callback(
      [&context, sweep] { context.action = [&context, sweep] { return run_sweep(context, *sweep); }; });

  CLI::App* check_command = add_command(
      app, "check", "Measure the front of a search on the supernet, beside what was predicted",
      {"hwnas check mcu --run runs/supernet", "hwnas check mcu --run runs/supernet --split validation"});
  auto check = std::make_shared<FrontOptions>();
  check_command->add_option("SEARCH", check->front, "Name or folder of a search")->required();
  check_command->add_option("--run", check->run, "Folder of the training run")->required();
  check_command->add_option("--split", check->split, "validation or test")
      ->check(CLI::IsMember({"validation", "test"}));
  check_command->add_option("--networks", check->networks,
                            "At most so many, evenly over the front; 0: all of it");
  check_command->callback(
      [&context, check] { context.action = [&context, check] { return run_check(context, *check); }; });
}

}  // namespace nas::apps
