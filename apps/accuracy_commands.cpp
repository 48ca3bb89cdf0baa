#include <filesystem>
#include <memory>
#include <set>

#include "apps/accuracy_file.h"
#include "apps/command.h"
#include "apps/progress.h"
#include "apps/scores.h"
#include "apps/trained_run.h"
#include "search/accuracy_surrogate.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

data::Split split_named(const std::string& text) {
  return text == "test" ? data::Split::test : data::Split::validation;
}

struct EvaluateOptions {
  std::vector<std::string> networks;
  std::string run, data, split = "validation", extract;
};

Result<int> run_evaluate(const Context& context, const EvaluateOptions& o) {
  NAS_TRY(run, open_trained_run(o.run, o.data));
  const TrainJob& job = run.job;
  const data::Split split = split_named(o.split);
  if (!o.extract.empty()) {
    if (o.networks.size() != 1)
      return usage_error("--extract takes one network, found " + std::to_string(o.networks.size()));
    NAS_TRY(network, network_named(job.space, o.networks.front()));
    Provenance p = run.loaded.provenance;
    p.genotype = o.networks.front();
    p.note = "extracted";
    NAS_TRY(trained, extract(run.loaded.supernet, network, job.feeds.recalibration(), p));
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
  NAS_TRY(scored, score_all(job, run.loaded.supernet, inherited, split));
  const std::vector<Record> first = to_records(scored);
  records.insert(records.begin(), first.begin(), first.end());
  if (o.data.empty()) {
    Ledger ledger(context, o.run);
    keep_scores(ledger, job, run.digest, split, scored);
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
  NAS_TRY(run, open_trained_run(o.run));
  const TrainJob& job = run.job;
  NAS_TRY(file, open_accuracy_file(o.out, accuracy_header(run)));
  const std::set<std::string> in_file(file.networks.begin(), file.networks.end());
  std::vector<std::string> open;
  for (const Genotype& g : search::designed_sample(job.space, o.networks, o.seed))
    if (!in_file.contains(job.space.text(g))) open.push_back(job.space.text(g));
  Ledger ledger(context, o.out);
  begin_scoring(
      ledger,
      scoring_run("sweep", std::filesystem::path(o.out).stem().string(), job, run.digest, sweep_config(o)),
      job, run.digest);
  const auto measured = sweep_all(context, o, job, run.loaded.supernet, open, run.digest, ledger);
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

}  // namespace

void add_accuracy_commands(CLI::App& app, Context& context) {
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
}

}  // namespace nas::apps
