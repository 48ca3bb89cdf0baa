#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "results/catalog.h"
#include "results/exchange.h"
#include "results/runs.h"
#include "space/search_space.h"

namespace nas::results {
namespace {

using nlohmann::json;

// The tables of Optuna 3.1 (schema 12, alembic v3.0.0.d).
constexpr const char* kOptuna = R"sql(
CREATE TABLE studies(study_id INTEGER NOT NULL PRIMARY KEY, study_name VARCHAR(512) NOT NULL);
CREATE UNIQUE INDEX ix_studies_study_name ON studies(study_name);
CREATE TABLE version_info(version_info_id INTEGER NOT NULL PRIMARY KEY, schema_version INTEGER,
  library_version VARCHAR(256), CHECK(version_info_id=1));
CREATE TABLE study_directions(study_direction_id INTEGER NOT NULL PRIMARY KEY, direction VARCHAR(8) NOT NULL,
  study_id INTEGER NOT NULL REFERENCES studies(study_id), objective INTEGER NOT NULL, UNIQUE(study_id, objective));
CREATE TABLE study_user_attributes(study_user_attribute_id INTEGER NOT NULL PRIMARY KEY,
  study_id INTEGER REFERENCES studies(study_id), key VARCHAR(512), value_json TEXT, UNIQUE(study_id, key));
CREATE TABLE study_system_attributes(study_system_attribute_id INTEGER NOT NULL PRIMARY KEY,
  study_id INTEGER REFERENCES studies(study_id), key VARCHAR(512), value_json TEXT, UNIQUE(study_id, key));
CREATE TABLE trials(trial_id INTEGER NOT NULL PRIMARY KEY, number INTEGER,
  study_id INTEGER REFERENCES studies(study_id), state VARCHAR(8) NOT NULL, datetime_start DATETIME,
  datetime_complete DATETIME);
CREATE TABLE trial_user_attributes(trial_user_attribute_id INTEGER NOT NULL PRIMARY KEY,
  trial_id INTEGER REFERENCES trials(trial_id), key VARCHAR(512), value_json TEXT, UNIQUE(trial_id, key));
CREATE TABLE trial_system_attributes(trial_system_attribute_id INTEGER NOT NULL PRIMARY KEY,
  trial_id INTEGER REFERENCES trials(trial_id), key VARCHAR(512), value_json TEXT, UNIQUE(trial_id, key));
CREATE TABLE trial_params(param_id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER REFERENCES trials(trial_id),
  param_name VARCHAR(512), param_value FLOAT, distribution_json TEXT, UNIQUE(trial_id, param_name));
CREATE TABLE trial_values(trial_value_id INTEGER NOT NULL PRIMARY KEY,
  trial_id INTEGER NOT NULL REFERENCES trials(trial_id), objective INTEGER NOT NULL, value FLOAT,
  value_type VARCHAR(7) NOT NULL, UNIQUE(trial_id, objective));
CREATE TABLE trial_intermediate_values(trial_intermediate_value_id INTEGER NOT NULL PRIMARY KEY,
  trial_id INTEGER NOT NULL REFERENCES trials(trial_id), step INTEGER NOT NULL, intermediate_value FLOAT,
  intermediate_value_type VARCHAR(7) NOT NULL, UNIQUE(trial_id, step));
CREATE TABLE trial_heartbeats(trial_heartbeat_id INTEGER NOT NULL PRIMARY KEY,
  trial_id INTEGER NOT NULL REFERENCES trials(trial_id), heartbeat DATETIME NOT NULL, UNIQUE(trial_id));
CREATE TABLE alembic_version(version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO version_info VALUES(1, 12, '3.1.0');
INSERT INTO alembic_version VALUES('v3.0.0.d');
)sql";

struct Objective {
  std::string metric = "accuracy";
  bool maximize = true;
};
struct Limit {
  std::string metric;
  std::optional<double> most, least;
};

std::vector<Objective> objectives_of(const results::Run& run) {
  std::vector<Objective> all;
  const json list = json::parse(run.objectives, nullptr, false);
  if (list.is_array())
    for (const json& one : list)
      if (one.is_object())
        all.push_back({one.value("metric", ""), one.value("direction", "minimize") == "maximize"});
  return all.empty() ? std::vector<Objective>(1) : all;
}

std::vector<Limit> limits_of(const results::Run& run) {
  std::vector<Limit> all;
  const json list = json::parse(run.constraints, nullptr, false);
  if (!list.is_array()) return all;
  for (const json& one : list) {
    Limit limit{one.value("metric", ""), {}, {}};
    if (one.contains("max") && one["max"].is_number()) limit.most = one["max"].get<double>();
    if (one.contains("min") && one["min"].is_number()) limit.least = one["min"].get<double>();
    all.push_back(std::move(limit));
  }
  return all;
}

// Optuna's convention: feasible where every number is at most 0.
json violations(const Candidate& candidate, const std::vector<Limit>& limits) {
  json all = json::array();
  for (const Limit& limit : limits) {
    const auto value = metric(candidate, limit.metric);
    if (limit.most) all.push_back(value ? *value - *limit.most : candidate.violation);
    if (limit.least) all.push_back(value ? *limit.least - *value : candidate.violation);
  }
  if (all.empty()) all.push_back(candidate.violation);
  return all;
}

std::string date_text(Time time) {
  const std::time_t seconds = time / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[80];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%03d000", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(time % 1000));
  return text;
}

// Writes the trials of one study.
class StudyWriter {
 public:
  StudyWriter(Store& store, Database& out, const results::Run& run)
      : store_(store), out_(out), run_(run), objectives_(objectives_of(run)), limits_(limits_of(run)) {}

  Result<std::int64_t> write() {
    NAS_CHECK(find_space());
    NAS_CHECK(out_.run("INSERT INTO studies(study_id, study_name) VALUES(?, ?)", run_.id, run_.name));
    for (std::size_t i = 0; i < objectives_.size(); ++i)
      NAS_CHECK(out_.run("INSERT INTO study_directions(direction, study_id, objective) VALUES(?, ?, ?)",
                         objectives_[i].maximize ? "MAXIMIZE" : "MINIMIZE", run_.id,
                         static_cast<std::int64_t>(i)));
    NAS_CHECK(
        out_.run("INSERT INTO study_user_attributes(study_id, key, value_json) VALUES(?, 'hwnas:config', ?)",
                 run_.id, json(run_.config).dump(-1, ' ', false, json::error_handler_t::replace)));
    std::int64_t n = 0;
    for (std::int64_t first = 0;;) {
      NAS_TRY(page, list_candidates(store_, run_.id, first, 1000));
      if (page.empty()) return n;
      for (const Candidate& candidate : page) NAS_CHECK(write_trial(candidate));
      n += static_cast<std::int64_t>(page.size());
      first = page.back().number + 1;
    }
  }

 private:
  // A space that cannot be read here (a family of a later version) still has numbered genes.
  Result<void> find_space() {
    if (!run_.space_id) return {};
    NAS_TRY(space, get_space(store_, *run_.space_id));
    if (auto parsed = parse_space(space.json, space.name)) space_ = *std::move(parsed);
    return {};
  }

  Result<void> write_trial(const Candidate& candidate) {
    std::vector<double> values;
    for (const Objective& objective : objectives_)
      if (const auto value = metric(candidate, objective.metric); value && std::isfinite(*value))
        values.push_back(*value);
    const bool complete = candidate.state != CandidateState::failed && values.size() == objectives_.size();
    const std::string date = date_text(candidate.created);
    NAS_CHECK(out_.run(
        "INSERT INTO trials(number, study_id, state, datetime_start, datetime_complete) VALUES(?, ?, "
        "?, ?, ?)",
        candidate.number, run_.id, complete ? "COMPLETE" : "FAIL", date, date));
    const std::int64_t trial = out_.last_id();
    for (std::size_t i = 0; complete && i < values.size(); ++i)
      NAS_CHECK(out_.run(
          "INSERT INTO trial_values(trial_id, objective, value, value_type) VALUES(?, ?, ?, 'FINITE')", trial,
          static_cast<std::int64_t>(i), values[i]));
    NAS_CHECK(
        out_.run("INSERT INTO trial_system_attributes(trial_id, key, value_json) VALUES(?, 'constraints', ?)",
                 trial, violations(candidate, limits_).dump()));
    NAS_CHECK(attribute(trial, "hwnas:source", json(std::string(to_word(candidate.source)))));
    if (!candidate.error.empty()) NAS_CHECK(attribute(trial, "hwnas:error", json(candidate.error)));
    return write_genes(trial, candidate.arch_id);
  }

  Result<void> attribute(std::int64_t trial, const char* key, const json& value) {
    return out_.run("INSERT INTO trial_user_attributes(trial_id, key, value_json) VALUES(?, ?, ?)", trial,
                    key, value.dump(-1, ' ', false, json::error_handler_t::replace));
  }

  Result<void> write_genes(std::int64_t trial, Id arch_id) {
    NAS_TRY(arch, get_architecture(store_, arch_id));
    NAS_CHECK(attribute(trial, "hwnas:architecture", json(to_string(arch.hash))));
    Genotype genotype(arch.genes.size());
    for (std::size_t i = 0; i < arch.genes.size(); ++i) genotype[i] = arch.genes[i];
    const bool known = space_ && space_->check(genotype);
    for (std::size_t i = 0; i < arch.genes.size(); ++i) {
      if (known && !space_->active(genotype, i)) continue;
      const std::string name = known ? space_->genes()[i].name : "gene" + std::to_string(i);
      NAS_CHECK(out_.run(
          "INSERT INTO trial_params(trial_id, param_name, param_value, distribution_json) VALUES(?, ?, "
          "?, ?)",
          trial, name, static_cast<double>(arch.genes[i]), distribution(known, i)));
    }
    return {};
  }

  std::string distribution(bool known, std::size_t gene) const {
    if (!known)
      return R"({"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 255}})";
    json choices = json::array();
    for (const Choice& choice : space_->genes()[gene].choices) choices.push_back(choice.label);
    return json{{"name", "CategoricalDistribution"}, {"attributes", {{"choices", choices}}}}.dump();
  }

  Store& store_;
  Database& out_;
  const results::Run& run_;
  std::vector<Objective> objectives_;
  std::vector<Limit> limits_;
  std::optional<SearchSpace> space_;
};

}  // namespace

Result<std::int64_t> export_optuna(Store& store, std::optional<Id> run, const std::filesystem::path& target) {
  if (std::filesystem::exists(target))
    return usage_error("exists already; an export never overwrites: name another file", target.string());
  std::vector<results::Run> runs;
  if (run) {
    NAS_TRY(one, get_run(store, *run));
    runs.push_back(std::move(one));
  } else {
    NAS_TRY(all, list_runs(store));
    for (results::Run& one : all)
      if (one.candidates > 0) runs.push_back(std::move(one));
  }
  const std::filesystem::path beside = target.string() + ".tmp-" + new_uid();
  std::int64_t n = 0;
  {
    NAS_TRY(out, Database::open(beside, Database::Mode::create, std::chrono::seconds(10)));
    NAS_CHECK(out->script(std::string("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;") + kOptuna));
    for (const results::Run& one : runs) {
      NAS_TRY(trials, StudyWriter(store, *out, one).write());
      n += trials;
    }
    NAS_CHECK(out->script("COMMIT"));
  }
  std::error_code failed;
  std::filesystem::rename(beside, target, failed);
  if (failed) return Error{"cannot name the export: " + failed.message(), target.string()};
  return n;
}

}  // namespace nas::results
