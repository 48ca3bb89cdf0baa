#include "apps/report/search_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "results/catalog.h"
#include "results/runs.h"
#include "space/base/file.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
constexpr std::size_t kMostNotes = 20;

// One line of candidates.jsonl, or of the store, before it becomes a row.
struct Parsed {
  std::vector<std::uint8_t> genes;
  std::string text;
  search::RowInfo info;
  std::vector<double> values;
  std::string failure;
};

// Values in the order of the metrics; a missing or unusable one is a failure with its reason.
void read_values(const Json& values, const std::vector<search::Metric>& metrics, Parsed& out) {
  for (const search::Metric& metric : metrics) {
    const auto found = values.find(metric.name);
    const bool number = found != values.end() && found->is_number() && std::isfinite(found->get<double>());
    if (!number && out.failure.empty()) out.failure = metric.name + " is not a number";
    out.values.push_back(number ? found->get<double>() : 0);
  }
}

Result<Parsed> parse_line(const std::string& line, const search::RunRecord& record) {
  try {
    const Json json = Json::parse(line);
    Parsed out;
    for (const auto& g : json.at("genes")) out.genes.push_back(g.get<std::uint8_t>());
    if (out.genes.size() != record.genes.size())
      return Error{std::to_string(out.genes.size()) + " genes, required " +
                   std::to_string(record.genes.size())};
    out.text = json.value("arch", "");
    out.info.generation = json.value("generation", 0u);
    out.info.fidelity = json.value("fidelity", 1.0);
    if (const auto parents = json.find("parents"); parents != json.end()) {
      out.info.parent_a = parents->at(0);
      out.info.parent_b = parents->at(1);
    }
    NAS_TRY(origin, search::parse_origin(json.value("origin", "initial")));
    out.info.origin = origin;
    if (json.contains("failure"))
      out.failure = json.at("failure").get<std::string>();
    else
      read_values(json.at("values"), record.metrics, out);
    return out;
  } catch (const Json::exception& e) {
    return Error{e.what()};
  }
}

void add_row(search::History& history, const Parsed& p) {
  const search::Row row = history.open(p.genes, p.info);
  if (p.failure.empty())
    history.settle(row, p.values);
  else
    history.settle_failed(row, p.failure);
}

Result<search::History> empty_history(const search::RunRecord& record) {
  NAS_TRY(judge, search::Judge::make(record.problem, record.metrics));
  return search::History(record.genes.size(), std::move(judge));
}

std::uint64_t inode_of(const fs::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

}  // namespace

Result<SearchSource> SearchSource::of_folder(const fs::path& folder) {
  NAS_TRY(record, search::load_record(folder));
  NAS_TRY(history, empty_history(record));
  const fs::path plain = fs::absolute(folder).lexically_normal();
  const fs::path named = plain.has_filename() ? plain : plain.parent_path();
  SearchSource source(named.filename().string(), std::move(record), std::move(history));
  source.folder_ = named;
  NAS_CHECK(source.refresh());
  return source;
}

void SearchSource::note(const std::string& text) {
  if (notes_.size() < kMostNotes) notes_.push_back(text);
}

void SearchSource::add_line(const std::string& line, std::size_t number) {
  const std::string place = "candidates.jsonl:" + std::to_string(number) + ": ";
  const auto parsed = parse_line(line, record_);
  if (!parsed) return note(place + "left out, " + parsed.error().message);
  if (history_.find(parsed->genes, parsed->info.fidelity)) return note(place + "left out, listed before");
  add_row(history_, *parsed);
  texts_.push_back(parsed->text);
}

void SearchSource::read_ending() {
  state_ = "unfinished";
  const auto text = read_file(folder_ / "front.json");
  if (!text) return;
  const Json json = Json::parse(*text, nullptr, false);
  state_ = "finished";
  if (json.is_object() && json.contains("ending") && json["ending"].is_string())
    state_ += " (" + json["ending"].get<std::string>() + ")";
}

Result<bool> SearchSource::refresh() {
  if (folder_.empty()) return false;
  const fs::path path = folder_ / "candidates.jsonl";
  const std::string before = state_;
  read_ending();
  std::error_code missing;
  const std::uint64_t size = fs::file_size(path, missing);
  if (missing) return before != state_;
  const std::uint64_t inode = inode_of(path);
  if (inode != epoch_ || size < read_bytes_) {
    NAS_TRY(fresh, empty_history(record_));
    history_ = std::move(fresh);
    texts_.clear();
    notes_.clear();
    read_bytes_ = lines_ = 0;
    epoch_ = inode;
  }
  if (size == read_bytes_) return before != state_;
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(read_bytes_));
  std::string line;
  while (std::getline(file, line) && !file.eof()) {  // a line without its end is still being written
    read_bytes_ += line.size() + 1;
    add_line(line, ++lines_);
  }
  return true;
}

namespace {

// The store's columns as metrics, with the unit that people read.
struct StoreColumn {
  const char* name;
  const char* unit;
  std::optional<double> (*get)(const results::Candidate&);
};
template <auto Member>
std::optional<double> column(const results::Candidate& c) {
  const auto& value = c.*Member;
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}
constexpr StoreColumn kStoreColumns[] = {{"accuracy", "share", column<&results::Candidate::accuracy>},
                                         {"latency_ms", "ms", column<&results::Candidate::latency_ms>},
                                         {"ram_bytes", "bytes", column<&results::Candidate::ram_bytes>},
                                         {"flash_bytes", "bytes", column<&results::Candidate::flash_bytes>},
                                         {"energy_mj", "mJ", column<&results::Candidate::energy_mj>},
                                         {"params", "", column<&results::Candidate::params>},
                                         {"macs", "MACs", column<&results::Candidate::macs>}};

search::Source source_of(results::Source source) {
  return source == results::Source::measured   ? search::Source::measured
         : source == results::Source::modelled ? search::Source::modelled
                                               : search::Source::predicted;
}

std::vector<search::Metric> metrics_of(const std::vector<results::Candidate>& rows) {
  std::vector<search::Metric> metrics;
  for (const StoreColumn& c : kStoreColumns) {
    const auto has = [&](const results::Candidate& row) { return c.get(row).has_value(); };
    const auto found = std::find_if(rows.begin(), rows.end(), has);
    if (found != rows.end()) metrics.push_back({c.name, c.unit, source_of(found->source)});
  }
  for (const auto& row : rows) {
    const Json extra = Json::parse(row.extra, nullptr, false);
    if (!extra.is_object() || extra.empty()) continue;
    for (const auto& [key, value] : extra.items())
      if (value.is_number()) metrics.push_back({key, "", source_of(row.source)});
    break;
  }
  return metrics;
}

// A run without candidates still has its question.
void need_metric(std::vector<search::Metric>& metrics, const std::string& name) {
  const auto same = [&](const search::Metric& m) { return m.name == name; };
  if (std::none_of(metrics.begin(), metrics.end(), same))
    metrics.push_back({name, "", search::Source::predicted});
}

Result<search::Problem> problem_of(const results::Run& run) {
  search::Problem problem;
  try {
    for (const Json& o : Json::parse(run.objectives)) {
      const std::string goal = o.value("direction", o.value("goal", "maximize"));
      problem.objectives.push_back(
          {o.at("metric"), goal.starts_with("max") ? search::Goal::maximise : search::Goal::minimise});
    }
    for (const Json& c : Json::parse(run.constraints)) {
      search::Constraint one{c.at("metric"), {}, {}};
      if (c.contains("max")) one.max = c["max"].get<double>();
      if (c.contains("min")) one.min = c["min"].get<double>();
      problem.constraints.push_back(std::move(one));
    }
  } catch (const Json::exception& e) {
    return Error{std::string("objectives and constraints: ") + e.what(), "run " + run.name};
  }
  return problem;
}

Parsed parsed_of(const results::Candidate& c, const results::Architecture& arch,
                 const std::vector<search::Metric>& metrics) {
  Parsed p;
  for (const auto byte : arch.genes) p.genes.push_back(static_cast<std::uint8_t>(byte));
  p.text = arch.text;
  p.info.generation = static_cast<std::uint32_t>(c.generation);
  p.info.parent_a = c.parent_a.value_or(-1);
  p.info.parent_b = c.parent_b.value_or(-1);
  if (const auto origin = search::parse_origin(c.made_by)) p.info.origin = *origin;
  if (c.state == results::CandidateState::failed) p.failure = c.error.empty() ? "failed" : c.error;
  Json values = Json::parse(c.extra, nullptr, false);
  if (!values.is_object()) values = Json::object();
  for (const StoreColumn& column : kStoreColumns)
    if (const auto value = column.get(c)) values[column.name] = *value;
  if (p.failure.empty()) read_values(values, metrics, p);
  return p;
}

}  // namespace

Result<SearchSource> SearchSource::of_store(results::Store& store, const results::Run& run) {
  std::vector<results::Candidate> rows;
  for (std::int64_t first = 0;;) {
    NAS_TRY(some, results::list_candidates(store, run.id, first, 10000));
    if (some.empty()) break;
    first = some.back().number + 1;
    std::move(some.begin(), some.end(), std::back_inserter(rows));
  }
  search::RunRecord record;
  record.strategy = run.kind;
  record.seed = static_cast<std::uint64_t>(run.seed);
  record.config = run.config;
  NAS_TRY(problem, problem_of(run));
  record.problem = std::move(problem);
  record.metrics = metrics_of(rows);
  for (const search::Objective& o : record.problem.objectives) need_metric(record.metrics, o.metric);
  for (const search::Constraint& c : record.problem.constraints) need_metric(record.metrics, c.metric);
  if (run.space_id) {
    NAS_TRY(space, results::get_space(store, *run.space_id));
    record.space = space.name;
  }
  std::map<results::Id, results::Architecture> known;
  for (const auto& row : rows) {
    if (known.contains(row.arch_id)) continue;
    NAS_TRY(arch, results::get_architecture(store, row.arch_id));
    known.emplace(row.arch_id, std::move(arch));
  }
  const std::size_t genes = rows.empty() ? 0 : known.at(rows[0].arch_id).genes.size();
  for (std::size_t i = 0; i < genes; ++i) record.genes.push_back("gene" + std::to_string(i));
  NAS_TRY(history, empty_history(record));
  SearchSource source(run.name, std::move(record), std::move(history));
  source.state_ = std::string(results::to_word(run.state));
  for (const auto& row : rows) {
    const Parsed p = parsed_of(row, known.at(row.arch_id), source.record_.metrics);
    if (p.genes.size() != genes || source.history_.find(p.genes, 1)) {
      source.note("candidate " + std::to_string(row.number) + ": left out, listed before or of other genes");
      continue;
    }
    add_row(source.history_, p);
    source.texts_.push_back(p.text);
  }
  return source;
}

}  // namespace nas::report
