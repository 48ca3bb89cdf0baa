#include <tbb/global_control.h>

#include <filesystem>
#include <memory>
#include <set>

#include "apps/accuracy_file.h"
#include "apps/command.h"
#include "apps/integer_accuracy.h"
#include "apps/progress.h"
#include "apps/rank_launcher.h"
#include "apps/scores.h"
#include "apps/stop_signal.h"
#include "apps/trained_run.h"
#include "search/accuracy_surrogate.h"
#include "space/base/hash.h"
#include "space/shard.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using namespace nas::supernet;

data::Split split_named(const std::string& text) {
  return text == "test" ? data::Split::test : data::Split::validation;
}

// Ranks must measure the same networks of the same weights on the same images.
Result<void> agree_on(Ranks& ranks, const TrainedRun& run, const std::vector<std::string>& networks) {
  std::string text;
  for (const std::string& name : networks) text += name + "\n";
  return ranks.agree({{"weights", run.digest},
                      {"data", run.job.feeds.fingerprint()},
                      {"list of networks", to_string(hash_text(text))}});
}

struct EvaluateOptions {
  std::vector<std::string> networks;
  std::string run, data, split = "validation", extract, space;
  int processes = 0;
};

bool leads(const std::optional<Ranks>& ranks) { return !ranks || ranks->rank() == 0; }
Ranks* pointer(std::optional<Ranks>& ranks) { return ranks ? &*ranks : nullptr; }

Result<void> extract_network(const TrainedRun& run, const EvaluateOptions& o) {
  if (o.networks.size() != 1)
    return usage_error("--extract takes one network, found " + std::to_string(o.networks.size()));
  NAS_TRY(network, network_named(run.job.space, o.networks.front()));
  Provenance p = run.loaded.provenance;
  p.genotype = o.networks.front();
  p.note = "extracted";
  NAS_TRY(trained, extract(run.loaded.supernet, network, run.job.feeds.recalibration(), p));
  return save(o.extract, trained);
}

Result<int> run_evaluate(const Context& context, const EvaluateOptions& o) {
  if (o.processes > 0) return launch_ranks(arguments_inside(context), o.processes);
  NAS_TRY(ranks, join_ranks());
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads_of_a_rank());
  NAS_TRY(run, open_trained_run(o.run, o.data));
  NAS_CHECK(use_space(run, o.space));
  const TrainJob& job = run.job;
  const data::Split split = split_named(o.split);
  if (ranks) NAS_CHECK(agree_on(*ranks, run, o.networks));
  if (!o.extract.empty() && leads(ranks)) NAS_CHECK(extract_network(run, o));
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
  NAS_TRY(scored, score_all(job, run.loaded.supernet, inherited, split, pointer(ranks)));
  if (!leads(ranks)) return 0;
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
  std::string run, out, part = "1/1", space;
  std::int64_t integers = 0;  // images that integer networks are scored on; 0: float networks
  std::size_t networks = 200, chunk = 8;
  std::uint64_t seed = 1;
  int processes = 0;
};

struct Swept {
  std::size_t done = 0, measured = 0;
  bool stopped = false;
};

// Any rank's request stops all.
Result<bool> asked_to_stop(Ranks* ranks) {
  double stop = stop_requested() ? 1 : 0;
  if (ranks) NAS_CHECK(ranks->sum({&stop, 1}));
  return stop > 0;
}

// Measures what neither the file nor the project's store holds yet, some networks at a time, and appends all
// to the file in the order of the sample. Without a ledger (a rank that does not lead) nothing is kept.
Result<Swept> sweep_all(const Context& context, const SweepOptions& o, const TrainedRun& run,
                        const std::vector<std::string>& open, Ranks* ranks, Ledger* ledger) {
  const auto known = known_scores(context, run.job, run.digest, data::Split::validation);
  std::vector<std::string> all_fresh;
  for (const std::string& name : open)
    if (!known.contains(name)) all_fresh.push_back(name);
  if (ranks) NAS_CHECK(agree_on(*ranks, run, all_fresh));
  Progress progress("sweep", open.size(), context.quiet || !ledger);
  Swept swept;
  for (; swept.done < open.size(); progress.update(swept.done)) {
    NAS_TRY(stop, asked_to_stop(ranks));
    if (stop) {
      swept.stopped = true;
      break;
    }
    const auto first = open.begin() + static_cast<std::ptrdiff_t>(swept.done);
    const std::vector<std::string> some(
        first, first + static_cast<std::ptrdiff_t>(std::min(o.chunk, open.size() - swept.done)));
    std::vector<std::string> fresh;
    for (const std::string& name : some)
      if (!known.contains(name)) fresh.push_back(name);
    NAS_TRY(scored, score_all(run.job, run.loaded.supernet, fresh, data::Split::validation, ranks));
    swept.measured += fresh.size();
    swept.done += some.size();
    if (!ledger) continue;
    keep_scores(*ledger, run.job, run.digest, data::Split::validation, scored);
    std::vector<double> top1;
    for (std::size_t i = 0; const std::string& name : some)
      top1.push_back(known.contains(name) ? known.at(name) : scored.scores[i++].top1);
    NAS_CHECK(append_accuracies(o.out, some, top1));
  }
  return swept;
}

// Integer networks at the bits of their genotypes, calibrated and scored on validation images, appended one
// by one.
Result<void> sweep_integers(const Context& context, const SweepOptions& o, const TrainedRun& run,
                            const std::vector<std::string>& open) {
  Progress progress("sweep", open.size(), context.quiet);
  for (std::size_t i = 0; i < open.size(); ++i) {
    NAS_TRY(network, network_named(run.job.space, open[i]));
    NAS_TRY(top1, integer_accuracy(run, network, o.integers));
    NAS_CHECK(append_accuracies(o.out, {open[i]}, {top1}));
    progress.update(i + 1);
  }
  return {};
}

// Accuracies of integer networks, of a space that may have bit genes besides the run's own.
Result<int> run_integer_sweep(const Context& context, SweepOptions o) {
  if (o.processes > 0 || o.part != "1/1")
    return usage_error("--integers goes with neither several processes nor --shard");
  if (o.out.empty()) o.out = "integers.jsonl";
  NAS_TRY(run, open_trained_run(o.run));
  NAS_CHECK(use_space(run, o.space));
  const SearchSpace& space = run.job.space;
  AccuracyFile header = accuracy_header(run);
  header.split = "validation, integers, " + std::to_string(o.integers) + " images";
  NAS_TRY(file, open_accuracy_file(o.out, header));
  const std::set<std::string> in_file(file.networks.begin(), file.networks.end());
  std::vector<std::string> open;
  for (const Genotype& g : search::designed_sample(space, o.networks, o.seed))
    if (!in_file.contains(space.text(g))) open.push_back(space.text(g));
  NAS_CHECK(sweep_integers(context, o, run, open));
  print_record(context, {{"file", "accuracies in"}, {"networks", "networks"}, {"measured", "measured now"}},
               {{"file", o.out}, {"networks", in_file.size() + open.size()}, {"measured", open.size()}});
  return 0;
}

Record sweep_config(const SweepOptions& o) {
  Record record{{"run", o.run}, {"out", o.out}, {"networks", o.networks}, {"seed", o.seed}};
  if (o.part != "1/1") record["shard"] = o.part;
  if (!o.space.empty()) record["space"] = o.space;
  return record;
}

// The part of the designed sample that is this shard's.
Result<std::vector<std::string>> sample_of(const SweepOptions& o, const SearchSpace& space) {
  NAS_TRY(shard, parse_shard(o.part));
  std::vector<std::string> names;
  for (const Genotype& g : search::designed_sample(space, o.networks, o.seed))
    if (shard.has(space, g)) names.push_back(space.text(g));
  return names;
}

Result<int> lead_sweep(const Context& context, const SweepOptions& o, const TrainedRun& run,
                       const std::vector<std::string>& open, std::size_t in_file, Ranks* ranks) {
  Ledger ledger(context, o.out);
  begin_scoring(ledger,
                scoring_run("sweep", std::filesystem::path(o.out).stem().string(), run.job, run.digest,
                            sweep_config(o)),
                run.job, run.digest);
  const auto swept = sweep_all(context, o, run, open, ranks, &ledger);
  NAS_TRY(code,
          ledger.end(swept ? Result<int>(swept->stopped ? stopped_code() : 0) : Result<int>(swept.error())));
  print_record(context,
               {{"file", "accuracies in"},
                {"networks", "networks"},
                {"measured", "measured now"},
                {"reused", "from the store"}},
               {{"file", o.out},
                {"networks", in_file + swept->done},
                {"measured", swept->measured},
                {"reused", swept->done - swept->measured}});
  if (swept->stopped) std::fprintf(stderr, "stopped as asked; the same command continues\n");
  return code;
}

// Accuracy of a designed sample of sub-networks; what the file holds already is not measured again.
Result<int> run_sweep(const Context& context, SweepOptions o) {
  if (o.processes > 0) return launch_ranks(arguments_inside(context), o.processes);
  NAS_TRY(shard, parse_shard(o.part));
  if (o.out.empty()) o.out = "accuracy" + shard.suffix() + ".jsonl";
  NAS_TRY(ranks, join_ranks());
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads_of_a_rank());
  watch_for_stop();
  NAS_TRY(run, open_trained_run(o.run));
  NAS_CHECK(use_space(run, o.space));
  NAS_TRY(sample, sample_of(o, run.job.space));
  AccuracyFile file;
  if (leads(ranks)) {
    NAS_TRY(opened, open_accuracy_file(o.out, accuracy_header(run)));
    file = std::move(opened);
  } else if (auto held = read_accuracy_file(o.out)) {
    file = *std::move(held);
  }
  const std::set<std::string> in_file(file.networks.begin(), file.networks.end());
  std::vector<std::string> open;
  for (const std::string& name : sample)
    if (!in_file.contains(name)) open.push_back(name);
  if (leads(ranks)) return lead_sweep(context, o, run, open, in_file.size(), pointer(ranks));
  NAS_TRY(swept, sweep_all(context, o, run, open, pointer(ranks), nullptr));
  return swept.stopped ? stopped_code() : 0;
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
  evaluate_command->add_option("--space", options->space, kSpaceHelp);
  evaluate_command->add_option("--extract", options->extract,
                               "Also write the network with its own weights here");
  add_processes(*evaluate_command, options->processes);
  evaluate_command->callback([&context, options] {
    context.action = [&context, options] { return run_evaluate(context, *options); };
  });

  CLI::App* sweep_command =
      add_command(app, "sweep", "Measure the accuracy of a spread of sub-networks, once for all devices",
                  {"hwnas sweep --run runs/demo --networks 200 --out accuracy.jsonl",
                   "hwnas sweep --run runs/demo --shard 1/3"});
  auto sweep = std::make_shared<SweepOptions>();
  sweep_command->add_option("--run", sweep->run, "Folder of a training run")->required();
  sweep_command->add_option("--out", sweep->out,
                            "File of accuracies; one that exists is continued (default: accuracy.jsonl)");
  sweep_command->add_option("--networks", sweep->networks, "How many, evenly over the space")
      ->check(CLI::Range(1, 1000000));
  sweep_command->add_option("--seed", sweep->seed, "Of the choice of networks");
  sweep_command->add_option(
      "--shard", sweep->part,
      "I/N: only the I-th of N parts of the networks; the parts' stores merge to the whole "
      "(hwnas db merge)");
  add_processes(*sweep_command, sweep->processes);
  sweep_command
      ->add_option("--integers", sweep->integers,
                   "Score integer networks at their genotypes' bits, on so many validation images (default "
                   "file: integers.jsonl)")
      ->check(CLI::PositiveNumber);
  sweep_command->add_option("--space", sweep->space, kSpaceHelp);
  sweep_command->callback([&context, sweep] {
    context.action = [&context, sweep] {
      return sweep->integers > 0 ? run_integer_sweep(context, *sweep) : run_sweep(context, *sweep);
    };
  });
}

}  // namespace nas::apps
