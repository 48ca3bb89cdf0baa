#include <tbb/global_control.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "apps/command.h"
#include "apps/progress.h"
#include "apps/rank_launcher.h"
#include "apps/scores.h"
#include "apps/stop_signal.h"
#include "apps/train_job.h"
#include "apps/train_ledger.h"
#include "space/base/file.h"
#include "supernet/evaluate.h"
#include "supernet/feeds.h"
#include "supernet/runtime.h"
#include "supernet/supernet_file.h"
#include "supernet/train.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

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
          {"seconds", p.seconds},
          {"bytes_sent", p.bytes_sent},
          {"paths", paths}};
}

// What a run needs besides what it trains.
struct Prepared {
  Recipe recipe;
  ExchangeOptions exchange;
  std::string kernels;
};

Result<Prepared> prepare(const TrainConfig& config, bool warn) {
  prepare_runtime();
  const RuntimeReport runtime = inspect_runtime();
  if (warn)
    for (const std::string& warning : runtime.warnings)
      std::fprintf(stderr, "warning: %s\n", warning.c_str());
  NAS_TRY(recipe, load_recipe(config.recipe));
  NAS_TRY(exchange, parse_compression(config.compress));
  exchange.local_steps = config.local_steps;
  if (config.local_steps > 1 && exchange.compression != Compression::none)
    return usage_error("local steps exchange weights, not gradients: required --compress none, found " +
                       config.compress);
  Prepared prepared{scaled(std::move(recipe), config.length), exchange, runtime.kernels};
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

int say_stopped(const Context& context, const TrainOutcome& outcome) {
  if (!context.quiet)
    std::fprintf(stderr, "stopped after step %lld as asked; the same command continues\n",
                 static_cast<long long>(outcome.steps));
  return stopped_code();
}

// Shows and records the steps of a run.
class RunWatch {
 public:
  RunWatch(const Context& context, const std::filesystem::path& folder, Ranks* ranks)
      : quiet_(context.quiet),
        ranks_(ranks),
        metrics_(leads(ranks) ? folder / "metrics.jsonl" : "/dev/null") {}

  TrainOptions options(const TrainConfig& config, const TrainJob& job, const Prepared& prepared) {
    TrainOptions o;
    o.seed = config.seed;
    o.folder = std::filesystem::path(config.out) / "checkpoints";
    o.checkpoint_every = config.checkpoint_every;
    o.data_fingerprint = job.feeds.fingerprint();
    o.on_step = [this](const TrainProgress& p) { show(p); };
    o.stop = stop_requested;
    o.ranks = ranks_;
    o.exchange = exchange_ = prepared.exchange;
    o.recompute = config.recompute;
    return o;
  }
  void finish(std::int64_t steps, const std::vector<Record>& scores) {
    progress_.reset();
    if (ranks_ && !quiet_)
      std::fprintf(stderr, "%d ranks, %s; each sent %.1f MB\n", ranks_->world(), to_string(exchange_).c_str(),
                   static_cast<double>(ranks_->bytes_sent()) / 1e6);
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
  ExchangeOptions exchange_;
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
  if (!context.quiet &&
      std::ranges::any_of(job.space.genes(), [](const Gene& g) { return g.family == "rank"; }))
    std::fprintf(stderr,
                 "the space's rank genes stay out of training: all layers train whole; evaluate, sweep, "
                 "search and export factor the weights\n");
  RunWatch watch(context, out, ranks);
  NAS_TRY(outcome, train(supernet, job.space, prepared.recipe, job.feeds.training(),
                         watch.options(config, job, prepared)));
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
  NAS_TRY(outcome, train(single, start.network, prepared.recipe, job.feeds.training(),
                         watch.options(config, job, prepared)));
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
  if (processes > 0) return launch_ranks(arguments_inside(context), processes);
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
  add_processes(*train_command, *processes);
  train_command->add_option("--compress", config->compress,
                            "How gradients travel between ranks: none, fp32, fp16, bf16, topk[:SHARE], "
                            "powersgd[:RANK] (docs/several-machines.md)");
  train_command
      ->add_option("--local-steps", config->local_steps,
                   "Steps that every rank makes alone before weights are averaged")
      ->check(CLI::Range(1, 1000000));
  train_command->add_flag(
      "--recompute", config->recompute,
      "Make activations again for the backward pass instead of keeping them: less memory, "
      "the same weights");
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
}

}  // namespace nas::apps
