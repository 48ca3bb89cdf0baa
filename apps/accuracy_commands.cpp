#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "apps/accuracy_file.h"
#include "apps/arch_reference.h"
#include "apps/command.h"
#include "apps/progress.h"
#include "apps/scores.h"
#include "apps/trained_run.h"
#include "search/accuracy_surrogate.h"
#include "search/run_folder.h"
#include "space/base/file.h"
#include "space/json/document.h"
#include "space/learn/metrics.h"

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
  const std::filesystem::path folder = run_folder(context.project, o.front);
  NAS_TRY(found, search::load_run(folder));
  NAS_TRY(run, open_trained_run(o.run));
  const TrainJob& job = run.job;
  std::vector<std::string> names;
  const auto front = spread(found.history.front(), o.networks);
  for (const search::Row row : front) names.push_back(found.texts[row]);
  if (names.empty()) return Error{"the front is empty", folder.string(), ErrorKind::infeasible};
  const data::Split split = split_named(o.split);
  Ledger ledger(context, folder);
  begin_scoring(ledger,
                scoring_run("check", folder.filename().string() + "-check", job, run.digest,
                            {{"search", o.front}, {"run", o.run}, {"split", o.split}}),
                job, run.digest);
  NAS_TRY(scored, score_all(job, run.loaded.supernet, names, split));
  keep_scores(ledger, job, run.digest, split, scored);
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
