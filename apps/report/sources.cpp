#include "apps/report/sources.h"

#include <algorithm>
#include <fstream>

#include "results/runs.h"
#include "search/run_folder.h"
#include "space/base/file.h"

namespace nas::report {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::vector<fs::path> children(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    found.push_back(it->path());
  std::sort(found.begin(), found.end());
  return found;
}

// What a .jsonl file holds is told by its first line.
void add_lines_file(const fs::path& path, SourcePaths& out) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (line.find("hwnas-session-") != std::string::npos)
    out.sessions.push_back(path);
  else if (line.find("\"predicted\"") != std::string::npos)
    out.predictions.push_back(path);
}

// True when the path itself is something a report shows.
bool add_one(const fs::path& path, SourcePaths& out) {
  const auto before = out;
  if (is_file(path / "run.json"))
    out.searches.push_back(path);
  else if (is_file(path / "manifest.json"))
    out.exports.push_back(path);
  else if (is_file(path / "config.json") &&
           (is_file(path / "metrics.jsonl") || fs::exists(path / "checkpoints")))
    out.trainings.push_back(path);
  else if (path.extension() == ".jsonl" && is_file(path))
    add_lines_file(path, out);
  if (is_file(path / "predictions.jsonl")) out.predictions.push_back(path / "predictions.jsonl");
  return !(before == out);
}

// Looks two levels down: runs/NAME, sessions/FILE, exports/NAME, and the layout of `hwnas demo`.
void add_below(const fs::path& folder, SourcePaths& out, int depth = 2) {
  for (const fs::path& child : children(folder)) {
    std::error_code ignored;
    if (!add_one(child, out) && depth > 1 && fs::is_directory(child, ignored) &&
        !child.filename().string().starts_with('.'))
      add_below(child, out, depth - 1);
  }
}

Result<bool> add_stored(const fs::path& project, const std::string& name, SourcePaths& out) {
  if (!is_file(project / "hwnas.db")) return false;
  NAS_TRY(store, results::Store::open(project, {.access = results::Access::read}));
  const auto run = results::find_run(store, name);
  if (run) {
    out.stored_runs.push_back(run->name);
    out.tasks = true;
  }
  return static_cast<bool>(run);
}

// What a search was asked, as text: equal for searches that can be held against each other.
std::string question_of(const search::RunRecord& r) {
  std::string text = r.space;
  for (const auto& o : r.problem.objectives) text += "|" + o.metric + std::string(search::to_string(o.goal));
  for (const auto& c : r.problem.constraints)
    text += "|" + c.metric + (c.min ? ">" + std::to_string(*c.min) : "") +
            (c.max ? "<" + std::to_string(*c.max) : "");
  return text;
}

// Random searches beside another search of the same question are its baseline, no searches of their own.
void drop_baselines(SourcePaths& out) {
  struct Asked {
    fs::path folder;
    std::string question;
    bool random = false;
  };
  std::vector<Asked> all;
  for (const fs::path& path : out.searches)
    if (const auto record = search::load_record(path))
      all.push_back({path, question_of(*record), record->strategy == "random"});
  const auto is_baseline = [&](const fs::path& path) {
    const auto me = std::ranges::find(all, path, &Asked::folder);
    return me != all.end() && me->random && std::ranges::any_of(all, [&](const Asked& other) {
             return !other.random && other.question == me->question &&
                    other.folder.parent_path() == path.parent_path();
           });
  };
  std::erase_if(out.searches, is_baseline);
}

void add_whole_project(const fs::path& project, SourcePaths& out) {
  add_one(project, out);
  add_below(project, out);
  drop_baselines(out);
  if (fs::is_directory(project / ".hwnas" / "stages")) out.stages.push_back(project / ".hwnas" / "stages");
  out.tasks = is_file(project / "hwnas.db");
  if (!out.tasks) return;
  // A store that cannot be read keeps nobody from the rest; the reader of its tasks says why.
  auto store = results::Store::open(project, {.access = results::Access::read});
  const auto runs = store ? results::list_runs(*store) : Result<std::vector<results::Run>>(store.error());
  if (!runs) return;
  for (const auto& run : *runs)
    if (run.kind == "search") out.stored_runs.push_back(run.name);
}

}  // namespace

Result<SourcePaths> find_sources(const fs::path& project, const std::vector<std::string>& names) {
  SourcePaths out;
  if (names.empty()) add_whole_project(project, out);
  for (const std::string& name : names) {
    const auto before = out;
    const fs::path direct(name), in_runs = project / "runs" / name;
    std::error_code ignored;
    if (add_one(direct, out) || add_one(in_runs, out)) continue;
    if (fs::is_directory(direct, ignored)) {
      add_whole_project(direct, out);
    } else {
      NAS_TRY(stored, add_stored(project, name, out));
      if (stored) continue;
    }
    if (before == out)
      return usage_error(
          "\"" + name + "\" is no search, training run, export, session or project: looked for " + name +
          " and " + in_runs.string() + (is_file(project / "hwnas.db") ? ", and in the store" : ""));
  }
  return out;
}

std::vector<fs::path> find_baselines(const SearchSource& search) {
  std::vector<fs::path> found;
  if (search.folder().empty()) return found;
  for (const fs::path& sibling : children(search.folder().parent_path())) {
    if (sibling == search.folder() || !is_file(sibling / "run.json")) continue;
    const auto record = search::load_record(sibling);
    if (record && record->strategy == "random" && question_of(*record) == question_of(search.record()))
      found.push_back(sibling);
  }
  return found;
}

std::string signature_of(const std::vector<fs::path>& files) {
  std::string text;
  for (const fs::path& file : files) {
    std::error_code failed;
    const auto size = fs::file_size(file, failed);
    const auto time = fs::last_write_time(file, failed).time_since_epoch().count();
    text += file.string() + ":" + std::to_string(failed ? 0 : size) + ":" + std::to_string(time) + "\n";
  }
  return sha256(text).substr(0, 12);
}

}  // namespace nas::report
