#include "search/run_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

#include "search/hypervolume.h"
#include "search/rows_json.h"
#include "space/base/file.h"
#include "space/json/document.h"

namespace nas::search {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

Json problem_json(const Problem& problem) {
  Json objectives = Json::array(), constraints = Json::array();
  for (const Objective& o : problem.objectives) {
    Json one{{"metric", o.metric}, {"goal", std::string(to_string(o.goal))}};
    if (o.worst) one["worst"] = *o.worst;
    objectives.push_back(one);
  }
  for (const Constraint& c : problem.constraints) {
    Json one{{"metric", c.metric}};
    if (c.min) one["min"] = *c.min;
    if (c.max) one["max"] = *c.max;
    constraints.push_back(one);
  }
  return {{"objectives", objectives}, {"constraints", constraints}};
}

std::string record_text(const RunRecord& record) {
  Json metrics = Json::array();
  for (const Metric& m : record.metrics)
    metrics.push_back({{"name", m.name}, {"unit", m.unit}, {"source", std::string(to_string(m.source))}});
  Json json{{"space", record.space},
            {"strategy", record.strategy},
            {"seed", record.seed},
            {"problem", problem_json(record.problem)},
            {"metrics", metrics},
            {"genes", record.genes},
            {"reference", record.reference},
            {"base", record.base},
            {"config", Json::parse(record.config, nullptr, false)}};
  return json.dump(1) + "\n";
}

Result<RunRecord> parse_record(const std::string& text, const std::string& where) {
  try {
    const Json json = Json::parse(text);
    RunRecord record;
    record.space = json.at("space");
    record.strategy = json.at("strategy");
    record.seed = json.at("seed");
    record.config = json.at("config").dump();
    record.genes = json.at("genes").get<std::vector<std::string>>();
    record.reference = json.value("reference", std::vector<double>());
    record.base = json.value("base", std::string());
    for (const Json& m : json.at("metrics")) {
      NAS_TRY(source, parse_source(m.at("source").get<std::string>()));
      record.metrics.push_back({m.at("name"), m.at("unit"), source});
    }
    for (const Json& o : json.at("problem").at("objectives")) {
      NAS_TRY(goal, parse_goal(o.at("goal").get<std::string>()));
      record.problem.objectives.push_back({o.at("metric"), goal, {}});
      if (o.contains("worst")) record.problem.objectives.back().worst = o.at("worst").get<double>();
    }
    for (const Json& c : json.at("problem").at("constraints")) {
      Constraint constraint{c.at("metric"), {}, {}};
      if (c.contains("min")) constraint.min = c.at("min").get<double>();
      if (c.contains("max")) constraint.max = c.at("max").get<double>();
      record.problem.constraints.push_back(std::move(constraint));
    }
    return record;
  } catch (const Json::exception& e) {
    return Error{std::string("run record: ") + e.what(), where};
  }
}

// One line of candidates.jsonl.
struct Line {
  Genotype genotype;
  std::string text;
  RowInfo info;
  std::vector<double> values;
  std::string failure;
};

Result<Line> parse_line(const std::string& text, std::size_t genes, std::size_t metrics,
                        const std::string& where) {
  try {
    const Json json = Json::parse(text);
    Line line;
    const auto choices = json.at("genes").get<std::vector<std::uint8_t>>();
    line.genotype = Genotype(choices.size());
    std::copy(choices.begin(), choices.end(), choices.empty() ? nullptr : &line.genotype[0]);
    line.text = json.at("arch");
    line.info.generation = json.at("generation");
    line.info.fidelity = json.at("fidelity");
    line.info.parent_a = json.at("parents").at(0);
    line.info.parent_b = json.at("parents").at(1);
    NAS_TRY(origin, parse_origin(json.at("origin").get<std::string>()));
    line.info.origin = origin;
    if (json.contains("failure"))
      line.failure = json.at("failure");
    else
      for (const auto& [name, value] : json.at("values").items()) line.values.push_back(value.get<double>());
    if (choices.size() != genes || (line.failure.empty() && line.values.size() != metrics))
      return Error{"candidate has " + std::to_string(choices.size()) + " genes and " +
                       std::to_string(line.values.size()) + " metrics, required " + std::to_string(genes) +
                       " and " + std::to_string(metrics),
                   where};
    line.values.resize(metrics, 0.0);
    return line;
  } catch (const Json::exception& e) {
    return Error{std::string("candidate: ") + e.what(), where};
  }
}

// Complete lines only: a killed writer may leave half of one at the end.
Result<std::vector<std::string>> read_lines(const fs::path& path) {
  std::vector<std::string> lines;
  if (!fs::exists(path)) return lines;
  NAS_TRY(content, read_file(path));
  for (std::size_t from = 0;;) {
    const std::size_t end = content.find('\n', from);
    if (end == std::string::npos) return lines;
    lines.push_back(content.substr(from, end - from));
    from = end + 1;
  }
}

Result<std::vector<Line>> parse_lines(const std::vector<std::string>& lines, std::size_t genes,
                                      std::size_t metrics, const fs::path& path) {
  std::vector<Line> parsed;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    NAS_TRY(line, parse_line(lines[i], genes, metrics, path.string() + ":" + std::to_string(i + 1)));
    parsed.push_back(std::move(line));
  }
  return parsed;
}

Result<Checkpoint> parse_checkpoint(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return Error{"state.json is no JSON"};
  Checkpoint c;
  std::vector<std::pair<std::size_t, double>> curve;
  NAS_CHECK(read_state(json, "rows", c.rows));
  NAS_CHECK(read_state(json, "proposals", c.proposals));
  NAS_CHECK(read_state(json, "barren", c.barren));
  NAS_CHECK(read_state(json, "generation", c.generation));
  NAS_CHECK(read_state(json, "reference", c.reference));
  NAS_CHECK(read_state(json, "curve", curve));
  NAS_CHECK(read_state(json, "strategy", c.strategy));
  if (!json.contains("state")) return Error{"saved search state: \"state\" is missing"};
  for (const auto& [evaluations, volume] : curve) c.curve.push_back({evaluations, volume});
  c.state = json["state"].dump();
  return c;
}

std::string checkpoint_text(const Checkpoint& c) {
  std::vector<std::pair<std::size_t, double>> curve;
  for (const CurvePoint& p : c.curve) curve.emplace_back(p.evaluations, p.hypervolume);
  const Json json{{"rows", c.rows},           {"proposals", c.proposals},
                  {"barren", c.barren},       {"generation", c.generation},
                  {"reference", c.reference}, {"curve", curve},
                  {"strategy", c.strategy},   {"state", Json::parse(c.state)}};
  return json.dump() + "\n";
}

// Whether `now` asks what `old` asked, with no smaller a budget.
Result<bool> only_extends(const std::string& old, const std::string& now) {
  Json was = Json::parse(old, nullptr, false), is = Json::parse(now, nullptr, false);
  Budget budgets[2];
  for (int i = 0; i < 2; ++i) {
    Json& json = i == 0 ? was : is;
    if (!json.is_object() || !json.contains("config") || !json["config"].is_object()) return false;
    const Json text = json["config"].value("budget", Json(kDefaultBudget));
    json["config"].erase("budget");
    if (!text.is_string()) return false;
    NAS_TRY(budget, parse_budget(text.get<std::string>()));
    budgets[i] = budget;
  }
  return was == is && budgets[1].evaluations >= budgets[0].evaluations &&
         budgets[1].seconds >= budgets[0].seconds;
}

}  // namespace

std::string candidate_json(const History& history, Row row, const std::string& text) {
  const RowInfo& info = history.info(row);
  Json json{{"number", row},
            {"arch", text},
            {"genes", std::vector<int>(history.genes(row).begin(), history.genes(row).end())},
            {"origin", std::string(to_string(info.origin))},
            {"generation", info.generation},
            {"parents", {info.parent_a, info.parent_b}},
            {"fidelity", info.fidelity}};
  if (history.failed(row)) {
    json["failure"] = history.reason(row);
    return json.dump();
  }
  Json values = Json::object();
  for (std::size_t m = 0; m < history.judge().metrics().size(); ++m)
    values[history.judge().metrics()[m].name] = history.values(row)[m];
  json["values"] = values;
  json["violation"] = info.violation;
  return json.dump();
}

Result<RunFolder> RunFolder::open(fs::path folder, const SearchSpace& space, const RunRecord& record) {
  RunFolder run(std::move(folder), space);
  NAS_CHECK(run.load(record));
  return run;
}

Result<void> RunFolder::load(const RunRecord& record) {
  const fs::path path = folder_ / "run.json";
  const std::string text = record_text(record);
  if (!fs::exists(path)) return write_file(path, text);
  NAS_TRY(old, read_file(path));
  if (old != text) {
    NAS_TRY(extended, only_extends(old, text));
    if (!extended)
      return usage_error(
          "another run lives here: its question (run.json) differs by more than a larger budget; give this "
          "one another --name",
          folder_.string());
    NAS_CHECK(write_file(path, text));
  }
  NAS_TRY(lines, read_lines(folder_ / "candidates.jsonl"));
  lines_ = std::move(lines);
  NAS_TRY(parsed,
          parse_lines(lines_, record.genes.size(), record.metrics.size(), folder_ / "candidates.jsonl"));
  if (!fs::exists(folder_ / "state.json")) return {};  // nothing was checkpointed: from the start
  NAS_TRY(state, read_file(folder_ / "state.json"));
  NAS_TRY(checkpoint, parse_checkpoint(state));
  // A power cut may lose rows that the state counts: then the run starts over.
  if (checkpoint.rows > parsed.size()) return {};
  resume_.checkpoint = std::move(checkpoint);
  for (Line& line : parsed) {
    resume_.genotypes.push_back(std::move(line.genotype));
    resume_.info.push_back(line.info);
    resume_.values.insert(resume_.values.end(), line.values.begin(), line.values.end());
    resume_.reasons.push_back(std::move(line.failure));
  }
  has_resume_ = true;
  return {};
}

Result<void> RunFolder::append(const History& history, std::size_t first) {
  const fs::path path = folder_ / "candidates.jsonl";
  std::string fresh;
  bool rewrite = false;
  for (std::size_t row = first; row < history.size(); ++row) {
    const Row r = static_cast<Row>(row);
    std::string line = candidate_json(history, r, space_.text(history.genotype(r)));
    if (row < lines_.size() && lines_[row] == line) continue;  // written before the run was interrupted
    rewrite |= row < lines_.size();
    lines_.resize(row);
    fresh += line + "\n";
    lines_.push_back(std::move(line));
  }
  if (fresh.empty()) return {};
  if (rewrite) {
    fresh.clear();
    for (const std::string& line : lines_) fresh += line + "\n";
    return write_file(path, fresh);
  }
  if (!tail_checked_ && fs::exists(path)) {
    NAS_TRY(content, read_file(path));
    fs::resize_file(path, content.rfind('\n') + 1);
  }
  tail_checked_ = true;
  std::ofstream out(path, std::ios::binary | std::ios::app);
  out << fresh << std::flush;
  if (!out) return Error{"cannot append candidates", path.string()};
  return {};
}

Journal RunFolder::journal() {
  return {[this](const History& history, std::size_t first) { return append(history, first); },
          [this](const Checkpoint& checkpoint) {
            return write_file(folder_ / "state.json", checkpoint_text(checkpoint));
          }};
}

Result<void> RunFolder::write_front(const Run& run) const {
  Json front = Json::array();
  for (const Row row : run.history.front())
    front.push_back(Json::parse(candidate_json(run.history, row, space_.text(run.history.genotype(row)))));
  const Json json{{"ending", std::string(to_string(run.ending))},
                  {"evaluations", run.history.size()},
                  {"proposals", run.progress.proposals},
                  {"failed", run.progress.failed},
                  {"reference", run.reference},
                  {"hypervolume", run.progress.hypervolume},
                  {"front", front}};
  return write_file(folder_ / "front.json", json.dump(1) + "\n");
}

namespace {
// Names the run beside it that is spelt most alike.
Error no_run(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.parent_path(), ignored))
    if (fs::exists(entry.path() / "run.json", ignored)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  const std::string near = nearest(folder.filename().string(), names);
  return usage_error("no run here" + (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
                     folder.string());
}
}  // namespace

Result<RunRecord> load_record(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "run.json", ignored)) return no_run(folder);
  NAS_TRY(text, read_file(folder / "run.json"));
  return parse_record(text, (folder / "run.json").string());
}

Result<LoadedRun> load_run(const fs::path& folder) {
  NAS_TRY(record, load_record(folder));
  NAS_TRY(judge, Judge::make(record.problem, record.metrics));
  NAS_TRY(lines, read_lines(folder / "candidates.jsonl"));
  NAS_TRY(parsed,
          parse_lines(lines, record.genes.size(), record.metrics.size(), folder / "candidates.jsonl"));
  LoadedRun run{
      std::move(record), History(parsed.empty() ? 0 : parsed[0].genotype.size(), std::move(judge)), {}};
  for (const Line& line : parsed) {
    const std::span<const std::uint8_t> genes{line.genotype.data(), line.genotype.size()};
    if (run.history.find(genes, line.info.fidelity))
      return Error{"a candidate is listed twice", folder.string()};
    const Row row = run.history.open(genes, line.info);
    if (line.failure.empty())
      run.history.settle(row, line.values);
    else
      run.history.settle_failed(row, line.failure);
    run.texts.push_back(line.text);
  }
  return run;
}

}  // namespace nas::search
