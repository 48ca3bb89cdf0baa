#include "apps/submit_config.h"

#include <map>

#include "space/json/document.h"

namespace nas::apps {
namespace {

using nlohmann::json;
using Cell = std::vector<std::pair<std::string, std::string>>;  // one value of every axis of the matrix

constexpr std::size_t kMaxCells = 1'000'000;

std::string plain(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// All combinations, the last axis running fastest.
std::vector<Cell> cells_of(JsonReader matrix) {
  std::vector<Cell> cells{{}};
  for (const std::string& axis : matrix.keys()) {
    const json& values = matrix.raw(axis);
    if (!values.is_array() || values.empty() || cells.size() * values.size() > kMaxCells) {
      matrix.fail(axis, "required a list of one value at least, and at most a million cells in all");
      return cells;
    }
    std::vector<Cell> next;
    for (const Cell& cell : cells)
      for (const json& value : values) {
        next.push_back(cell);
        next.back().emplace_back(axis, plain(value));
      }
    cells = std::move(next);
  }
  matrix.done();
  return cells;
}

std::string fill(std::string text, const Cell& cell) {
  for (const auto& [axis, value] : cell) {
    const std::string mark = "{" + axis + "}";
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + value.size()))
      text.replace(at, mark.size(), value);
  }
  return text;
}

// One step as written, its placeholders still in it.
struct Step {
  results::Task task;
  std::vector<std::string> argv;
  std::string cwd;
  std::string device;
  std::map<std::string, std::string> env;
};

Step read_step(JsonReader& reader, int stage) {
  Step step;
  step.task.kind = reader.text("kind", "command");
  step.task.stage = static_cast<int>(reader.integer("stage", 0, 1000, stage));
  step.argv = reader.texts("argv");
  step.cwd = reader.text("cwd", "");
  step.device = reader.text("device", "");
  step.task.needs = json(reader.texts("tags", std::vector<std::string>{})).dump();
  step.task.max_failures = static_cast<int>(reader.integer("tries", 1, 1000, 3));
  if (const double limit = reader.number("limit_s", 0, 1e9, 0.0); limit > 0) step.task.limit_s = limit;
  JsonReader env = reader.object("env");
  for (const std::string& key : env.keys()) step.env[key] = env.text(key);
  env.done();
  return step;
}

void add_task(Submission& submission, const Step& step, const Cell& cell) {
  results::Task task = step.task;
  json payload{{"argv", json::array()}};
  for (const std::string& word : step.argv) payload["argv"].push_back(fill(word, cell));
  if (!step.cwd.empty()) payload["cwd"] = fill(step.cwd, cell);
  for (const auto& [key, value] : step.env) payload["env"][key] = fill(value, cell);
  task.payload = payload.dump();
  submission.tasks.push_back(std::move(task));
  submission.devices.push_back(fill(step.device, cell));
}

}  // namespace

Result<std::vector<Submission>> read_submission(const std::string& path) {
  NAS_TRY(document, JsonDocument::load(path));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  results::Run run;
  run.name = reader.text("name");
  run.kind = reader.has("stages") ? "job" : reader.text("kind", "command");
  run.priority = static_cast<int>(reader.integer("priority", -1'000'000, 1'000'000, 100));
  run.max_failures = static_cast<int>(reader.integer("max_failures", -1, 1'000'000'000, 0));
  run.note = reader.text("note", "");
  run.config = document.root().dump();
  const bool together = reader.flag("together", false);
  std::vector<Step> steps;
  if (reader.has("stages")) {
    for (JsonReader& stage : reader.objects("stages", true)) {
      steps.push_back(read_step(stage, static_cast<int>(steps.size())));
      stage.done();
    }
  } else {
    steps.push_back(read_step(reader, 0));
  }
  const std::vector<Cell> cells = cells_of(reader.object("matrix"));
  reader.done();
  if (!errors.empty()) return join_errors(errors);

  std::vector<Submission> all;
  for (const Cell& cell : cells) {
    if (all.empty() || !together) {
      all.push_back({.run = run, .tasks = {}, .devices = {}});
      if (cells.size() > 1) all.back().run.batch = run.name;
      for (const auto& [axis, value] : cell)
        if (!together) all.back().run.name += "-" + value;
    }
    for (const Step& step : steps) add_task(all.back(), step, cell);
  }
  return all;
}

}  // namespace nas::apps
