#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>

#include "apps/arch_reference.h"
#include "apps/front_rows.h"
#include "apps/search_config.h"
#include "search/pareto.h"
#include "search/text.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;
using search::Row;
namespace fs = std::filesystem;

// One architecture against a run: its numbers, its limits, its place among the candidates.
struct Trial {
  Genotype genotype;
  std::string text;
  std::vector<double> values;
  std::optional<Row> known;                  // the run has scored it itself
  std::vector<Row> dominated_by, dominates;  // rows of the front
};

Result<Genotype> genotype_of(const SearchSpace& space, const fs::path& project, const std::string& text) {
  if (text == "smallest") return space.smallest();
  if (text == "largest") return space.largest();
  NAS_TRY(resolved, resolve_architecture(project, text));
  NAS_TRY(genotype, space.parse(resolved));
  return space.canonical(genotype);
}

// The run's own numbers where it has scored the architecture, else new ones.
Result<Trial> score(const SearchPlan& plan, const search::LoadedRun& run, const Genotype& genotype) {
  Trial trial{genotype, plan.problem.space.text(genotype), {}, {}, {}, {}};
  trial.known = run.history.find({genotype.data(), genotype.size()});
  if (trial.known && !run.history.failed(*trial.known)) {
    const auto values = run.history.values(*trial.known);
    trial.values.assign(values.begin(), values.end());
  } else {
    search::Scores scores;
    scores.reset(1, plan.problem.evaluator.metrics.size());
    search::guarded(plan.problem.evaluator).score({&genotype, 1}, 1, scores);
    if (scores.failed(0)) return Error{scores.reason(0), trial.text, ErrorKind::partial};
    trial.values.assign(scores.row(0).begin(), scores.row(0).end());
  }
  std::vector<double> losses(plan.judge.objectives());
  plan.judge.losses(trial.values, losses);
  const bool feasible = plan.judge.violation(trial.values) == 0;
  for (const Row row : run.history.front()) {
    if (!feasible || search::pareto_dominates(run.history.losses(row), losses))
      trial.dominated_by.push_back(row);
    else if (search::pareto_dominates(losses, run.history.losses(row)))
      trial.dominates.push_back(row);
  }
  if (!feasible) trial.dominated_by.clear();  // it is no candidate for the front at all
  return trial;
}

// What was measured of this architecture: the lines that `hwnas check` left in the run's folder.
std::vector<Record> measurements(const fs::path& folder, const std::string& text) {
  std::vector<Record> found;
  std::ifstream in(folder / "predictions.jsonl");
  for (std::string line; std::getline(in, line);) {
    const Record record = Record::parse(line, nullptr, false);
    if (record.is_object() && record.value("arch", "") == text && record.contains("measured"))
      found.push_back(record);
  }
  return found;
}

std::string limit_text(const search::Problem& problem, const std::string& metric) {
  std::string text;
  for (const search::Constraint& c : problem.constraints) {
    if (c.metric != metric) continue;
    if (c.min) text += (text.empty() ? "" : ", ") + std::string("at least ") + search::number(*c.min);
    if (c.max) text += (text.empty() ? "" : ", ") + std::string("at most ") + search::number(*c.max);
  }
  return text;
}

std::vector<Record> metric_records(const SearchPlan& plan, const Trial& trial,
                                   const std::vector<Record>& measured) {
  std::vector<Record> records;
  for (std::size_t m = 0; m < trial.values.size(); ++m) {
    const search::Metric& metric = plan.judge.metrics()[m];
    search::Problem own;
    own.objectives = plan.judge.problem().objectives;
    for (const search::Constraint& c : plan.judge.problem().constraints)
      if (c.metric == metric.name) own.constraints.push_back(c);
    double over = 0;
    for (const search::Constraint& c : own.constraints)
      over = std::max(over, search::excess(trial.values[m], c.min.value_or(-1e308), c.max.value_or(1e308)));
    Record record{{"metric", metric.name},
                  {"value", trial.values[m]},
                  {"unit", metric.unit},
                  {"source", std::string(to_string(metric.source))},
                  {"limit", limit_text(own, metric.name)},
                  {"kept", own.constraints.empty() ? ""
                           : over > 0              ? "violated"
                                                   : "kept"},
                  {"measured", nullptr}};
    for (const Record& line : measured)
      if (line.value("metric", "") == metric.name) record["measured"] = line["measured"];
    records.push_back(std::move(record));
  }
  return records;
}

std::string joined(const std::vector<Row>& rows) {
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 5); ++i)
    text += (i > 0 ? ", #" : "#") + std::to_string(rows[i]);
  return rows.size() > 5 ? text + ", …" : text;
}

std::string standing(const search::LoadedRun& run, const SearchPlan& plan, const Trial& trial) {
  const std::vector<Row> front = run.history.front();
  if (plan.judge.violation(trial.values) > 0) return "not feasible: " + plan.judge.explain(trial.values);
  if (!trial.dominated_by.empty())
    return "feasible, dominated by " + std::to_string(trial.dominated_by.size()) + " of the front's " +
           std::to_string(front.size()) + ": " + joined(trial.dominated_by);
  const bool there = trial.known && std::ranges::find(front, *trial.known) != front.end();
  std::string text = there ? "feasible, on the front" : "feasible, it would join the front";
  if (!trial.dominates.empty())
    text += " and push out " + std::to_string(trial.dominates.size()) + ": " + joined(trial.dominates);
  return text;
}

Record whole_record(const SearchPlan& plan, const search::LoadedRun& run, const Trial& trial,
                    const std::vector<Record>& metrics) {
  const auto texts = [&](const std::vector<Row>& rows) {
    Record list = Record::array();
    for (const Row row : rows) list.push_back({{"number", row}, {"arch", run.texts[row]}});
    return list;
  };
  return {{"arch", trial.text},
          {"feasible", plan.judge.violation(trial.values) == 0},
          {"violation", plan.judge.violation(trial.values)},
          {"standing", standing(run, plan, trial)},
          {"number", trial.known ? Record(*trial.known) : Record(nullptr)},
          {"dominated_by", texts(trial.dominated_by)},
          {"dominates", texts(trial.dominates)},
          {"metrics", metrics}};
}

Result<int> try_command(const Context& context, const std::string& name, const std::string& text) {
  const fs::path folder = run_folder(context.project, name);
  NAS_TRY(run, search::load_run(folder));
  NAS_TRY(config, search_config_of(run.record, folder));
  if (config.needs_torch() && !has_torch()) return continue_with_torch(context);
  NAS_TRY(plan, make_search_plan(config, context.project));
  NAS_TRY(genotype, genotype_of(plan.problem.space, context.project, text));
  NAS_TRY(trial, score(plan, run, genotype));
  const std::vector<Record> metrics = metric_records(plan, trial, measurements(folder, trial.text));
  if (context.format == "json" || context.format == "jsonl") {
    print_record(context, {}, whole_record(plan, run, trial, metrics));
  } else {
    std::vector<Column> columns{{"metric", "metric"}, {"value", "value"}, {"unit", "unit"},
                                {"source", "source"}, {"limit", "limit"}, {"kept", ""}};
    if (std::ranges::any_of(metrics, [](const Record& m) { return !m["measured"].is_null(); }))
      columns.push_back({"measured", "measured"});
    print_records(context, columns, metrics);
    const std::string known = trial.known ? "candidate #" + std::to_string(*trial.known) + " of the run"
                                          : std::string("the run has not tried it");
    // csv and value carry the numbers alone.
    std::fprintf(context.format == "table" ? stdout : stderr, "%s: %s (%s)\n", trial.text.c_str(),
                 standing(run, plan, trial).c_str(), known.c_str());
  }
  return plan.judge.violation(trial.values) > 0 ? 3 : 0;
}

}  // namespace

void add_try_command(CLI::App& app, Context& context) {
  auto run = std::make_shared<std::string>();
  auto arch = std::make_shared<std::string>();
  CLI::App* command =
      add_command(app, "try", "Score one architecture as a run would, and say where it stands",
                  {"hwnas try small largest", "hwnas try small other:best -f json"});
  command->add_option("RUN", *run, "Name or folder of the run")->required();
  command->add_option("ARCH", *arch, "A genotype's text, smallest, largest, RUN:best or RUN:front[3]")
      ->required();
  command->callback([&context, run, arch] {
    context.action = [&context, run, arch] { return try_command(context, *run, *arch); };
  });
}

}  // namespace nas::apps
