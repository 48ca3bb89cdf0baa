#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "apps/command.h"
#include "apps/export.h"
#include "apps/progress.h"
#include "apps/train_job.h"
#include "apps/verify.h"
#include "search/genetic.h"
#include "search/run.h"
#include "space/base/file.h"
#include "space/cost.h"
#include "space/memory.h"
#include "supernet/evaluate.h"
#include "supernet/runtime.h"
#include "supernet/train.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

struct DemoOptions {
  std::string out = "hwnas-demo";
  double ram_kb = 12;
  std::size_t evaluations = 120;
  double length = 0.6;
};

class Stage {
 public:
  Stage(int number, std::string what) : start_(std::chrono::steady_clock::now()) {
    std::fprintf(stderr, "[%d/4] %s\n", number, what.c_str());
  }
  ~Stage() {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
    std::fprintf(stderr, "      %s\n", duration_text(took.count()).c_str());
  }

 private:
  std::chrono::steady_clock::time_point start_;
};

Result<void> train_tiny(const TrainConfig& config, const TrainJob& job, Supernet& supernet) {
  NAS_TRY(plain, load_recipe(config.recipe));
  const Recipe recipe = scaled(plain, config.length);
  TrainOptions options;
  options.seed = config.seed;
  options.folder = config.out + "/checkpoints";
  options.data_fingerprint = job.feeds.fingerprint();
  Progress progress("train", 0);
  options.on_step = [&](const TrainProgress& p) {
    progress.update(static_cast<std::uint64_t>(p.step), "of " + std::to_string(p.total_steps) + " steps");
    return true;
  };
  NAS_TRY(outcome, train(supernet, job.space, recipe, job.feeds.training(), options));
  NAS_CHECK(write_file(config.out + "/config.json", to_record(config).dump(2) + "\n"));
  return save_supernet(config.out + "/supernet.safetensors", supernet, job.space,
                       {job.space.name(), "", "", recipe.name, job.feeds.fingerprint(), outcome.steps, ""});
}

// Accuracy measured on the search-validation split, costs exact.
search::Evaluator evaluator_for(const TrainJob& job, const Supernet& supernet) {
  search::Evaluator evaluator;
  evaluator.metrics = {{"top1", "share", search::Source::measured},
                       {"macs", "MACs", search::Source::modelled},
                       {"ram_kb", "KiB", search::Source::modelled}};
  const BatchList recalibration = job.feeds.recalibration(),
                  scoring = job.feeds.scoring(data::Split::validation);
  const SearchSpace space = job.space;
  evaluator.score = [&supernet, recalibration, scoring, space](std::span<const Genotype> batch, double,
                                                               search::Scores& scores) {
    std::vector<Network> networks;
    for (const Genotype& g : batch) networks.push_back(space.lower(g));
    const auto found = evaluate(supernet, networks, recalibration, scoring);
    const MemoryOptions memory = *memory_preset("in-place");
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!found) {
        scores.fail(i, found.error().message);
        continue;
      }
      scores.row(i)[0] = (*found)[i].top1;
      scores.row(i)[1] = static_cast<double>(macs(networks[i]).count());
      scores.row(i)[2] = static_cast<double>(peak_memory(networks[i], memory).bytes.count()) / 1024;
    }
  };
  return evaluator;
}

Result<std::vector<Record>> search_front(const DemoOptions& o, const TrainJob& job,
                                         const Supernet& supernet) {
  const search::Evaluator evaluator = search::guarded(evaluator_for(job, supernet));
  search::Problem problem;
  problem.objectives = {{"top1", search::Goal::maximise}, {"macs", search::Goal::minimise}};
  problem.constraints = {{"ram_kb", {}, o.ram_kb}};
  NAS_TRY(judge, search::Judge::make(problem, evaluator.metrics));
  search::GeneticOptions genetic;
  genetic.population = 24;
  search::Strategy strategy("nsga2",
                            search::GeneticSearch(search::make_setting(job.space, judge, 1), genetic));
  search::RunOptions options;
  options.budget.evaluations = o.evaluations;
  options.batch = 24;
  Progress progress("search", o.evaluations);
  options.progress = [&](const search::Progress& p) { progress.update(p.evaluations); };
  NAS_TRY(run, search::run_search(job.space, judge, evaluator, strategy, options));
  std::vector<Record> rows;
  for (const search::Row row : run.history.front()) {
    const auto values = run.history.values(row);
    const Genotype g = run.history.genotype(row);
    rows.push_back({{"id", job.space.short_id(g)},
                    {"top1", values[0]},
                    {"macs", values[1]},
                    {"ram_kb", values[2]},
                    {"arch", job.space.text(g)}});
  }
  if (rows.empty())
    return Error{"no network of the space stays within " + std::to_string(o.ram_kb) + " KiB of RAM", "",
                 ErrorKind::infeasible};
  return rows;
}

Result<int> run_demo(const Context& context, const DemoOptions& o) {
  prepare_runtime();
  TrainConfig config;
  config.out = o.out + "/supernet";
  config.data = "procedural:classes=10,count=4000,side=24,difficulty=0.05";
  config.length = o.length;
  NAS_TRY(job, open_train_job(config));
  NAS_TRY(supernet, Supernet::make(job.space, {config.seed, config.device}));
  {
    const Stage stage(1, "training one supernet of " + job.space.count() + " networks on generated images");
    NAS_CHECK(train_tiny(config, job, supernet));
  }
  std::vector<Record> front;
  {
    char what[120];
    std::snprintf(what, sizeof what, "searching %zu networks for accuracy and MACs within %g KiB of RAM",
                  o.evaluations, o.ram_kb);
    const Stage stage(2, what);
    NAS_TRY(found, search_front(o, job, supernet));
    front = std::move(found);
    NAS_CHECK(write_file(o.out + "/front.json", Record(front).dump(2) + "\n"));
  }
  print_records(context,
                {{"id", "network"},
                 {"top1", "top-1, measured"},
                 {"macs", "MACs"},
                 {"ram_kb", "RAM, modelled", "KiB"},
                 {"arch", "architecture"}},
                front);
  const Record best = *std::max_element(front.begin(), front.end(), [](const Record& a, const Record& b) {
    return a["top1"].get<double>() < b["top1"].get<double>();
  });
  ExportOptions exporting;
  exporting.network = best["arch"];
  exporting.run = config.out;
  exporting.out = o.out + "/exports/" + best["id"].get<std::string>() + "_int8";
  {
    const Stage stage(3, "exporting " + best["id"].get<std::string>() + " as int8 C");
    std::error_code ignored;
    std::filesystem::remove_all(exporting.out, ignored);
    NAS_TRY(exported, export_network(exporting));
    print_record(context,
                 {{"top1_float", "top-1 on test images, float"},
                  {"top1_int8", "top-1 on test images, int8"},
                  {"arena", "RAM for activations", "bytes"},
                  {"constants", "flash for weights", "bytes"}},
                 exported);
  }
  {
    const Stage stage(4, "verifying it here and on emulated microcontrollers");
    NAS_TRY(rows, verify_folder(exporting.out, cache_folder()));
    print_records(context,
                  {{"runtime", "runtime"},
                   {"state", "outputs"},
                   {"instructions", "instructions an image"},
                   {"note", "note"}},
                  rows);
    for (const Record& r : rows)
      if (r["state"] == "differs")
        return Error{"the exported forms do not compute the same", exporting.out, ErrorKind::verification};
  }
  std::fprintf(stderr,
               "\nsupernet  %s\nfront     %s/front.json\nexport    %s\nnext      hwnas evaluate smallest "
               "largest --run %s\n"
               "          hwnas verify %s\n",
               config.out.c_str(), o.out.c_str(), exporting.out.c_str(), config.out.c_str(),
               exporting.out.c_str());
  return 0;
}

}  // namespace

void add_demo_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command =
      add_command(app, "demo", "From nothing to a network on a microcontroller, on generated images",
                  {"hwnas demo", "hwnas demo --out /tmp/demo --ram 10"});
  command->add_option("--out", options->out, "Folder for everything that is made");
  command->add_option("--ram", options->ram_kb, "Limit on activation memory, KiB")
      ->check(CLI::PositiveNumber);
  command->add_option("--evaluations", options->evaluations, "Networks that the search scores")
      ->check(CLI::PositiveNumber);
  command->add_option("--length", options->length, "Multiplies the training recipe")
      ->check(CLI::PositiveNumber);
  command->callback(
      [&context, options] { context.action = [&context, options] { return run_demo(context, *options); }; });
}

}  // namespace nas::apps
