#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "apps/report/architecture_json.h"
#include "apps/report/comparison.h"
#include "apps/report/crossed.h"
#include "apps/report/part_json.h"
#include "apps/report/report.h"
#include "apps/report/search_json.h"
#include "apps/report/sources.h"
#include "results/runs.h"
#include "space/base/file.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using search::Row;
constexpr std::size_t kMostNetworks = 4000;  // candidates of a run whose layers are written down
constexpr std::size_t kMostDetails = 60;     // candidates with memory and energy by layer

// A search with everything that is derived from it.
struct Shown {
  SearchSource source;
  std::vector<SearchSource> baselines;
  std::optional<ArchitectureBook> book;
  Json fixed;
};

// What a client knows of one search.
struct Known {
  std::uint64_t epoch = 0;
  std::size_t rows = 0, parts = 0;
};

template <class T>
void append(std::string& text, const T& value, char end) {
  text += std::to_string(value) + end;
}

}  // namespace

struct Reporter::Impl {
  ReportOptions options;
  SourcePaths paths;
  std::vector<Shown> searches;
  Json others = Json::object();  // everything but searches
  std::string set_signature, others_signature;
  std::vector<std::string> notes;

  Result<void> refresh();
  Result<void> find();
  void add_search(Result<SearchSource> source, const std::string& name);
  std::vector<latency::Session> sessions(const Json& config) const;
  std::vector<fs::path> other_files() const;
  std::vector<fs::path> all_files() const;
  void read_others();
  void read_store();
  std::vector<double> reference(const Shown& shown) const;
  Json baseline(const Shown& shown, std::span<const double> reference) const;
  Json growing(Shown& shown, const Known& known);
  Json architectures(Shown& shown, std::span<const Row> rows, std::size_t parts);
  Json comparison() const;
  Json crossed() const;
  std::string title() const;
};

// The search's own session first.
std::vector<latency::Session> Reporter::Impl::sessions(const Json& config) const {
  const std::string text = config.is_object() && config.contains("problem") ? config["problem"].dump() : "";
  const auto own = [&](const fs::path& path) {
    return text.find(path.filename().string()) != std::string::npos;
  };
  std::vector<fs::path> ordered = paths.sessions;
  std::ranges::stable_partition(ordered, own);
  std::vector<latency::Session> found;
  for (const fs::path& path : ordered)
    if (auto session = latency::load_session(path)) found.push_back(*std::move(session));
  return found;
}

// How a search of `hwnas run` stores its networks' numbers; empty: not said.
std::string precision_of(const Json& config) {
  const Json problem = config.is_object() ? config.value("problem", Json()) : Json();
  const Json word = problem.is_object() ? problem.value("precision", Json()) : Json();
  return word.is_string() ? word.get<std::string>() : "";
}

void Reporter::Impl::add_search(Result<SearchSource> source, const std::string& name) {
  if (!source) return notes.push_back("search " + name + ": " + source.error().message);
  Shown shown{*std::move(source), {}, {}, {}};
  shown.fixed = fixed_part(shown.source);
  for (const fs::path& path : find_baselines(shown.source))
    if (auto other = SearchSource::of_folder(path)) shown.baselines.push_back(*std::move(other));
  const auto& record = shown.source.record();
  if (auto space = space_of_run(record.space, record.genes, shown.fixed["config"], options.project)) {
    Json choices = Json::array();
    for (const Gene& gene : space->genes()) {
      Json labels = Json::array();
      for (const Choice& c : gene.choices) labels.push_back(c.label);
      choices.push_back(labels);
    }
    shown.fixed["choices"] = choices;
    const Json& config = shown.fixed["config"];
    shown.book.emplace(*std::move(space), sessions(config), options.project / "devices",
                       precision_of(config));
  }
  searches.push_back(std::move(shown));
}

Result<void> Reporter::Impl::find() {
  NAS_TRY(found, find_sources(options.project, options.names));
  std::string text;
  for (const auto* list : {&found.searches, &found.trainings, &found.exports, &found.sessions,
                           &found.predictions, &found.stages})
    for (const fs::path& path : *list) text += path.string() + "\n";
  for (const std::string& name : found.stored_runs) text += name + "\n";
  const std::string signature = sha256(text).substr(0, 12);
  if (signature == set_signature) return {};
  set_signature = signature;
  paths = std::move(found);
  searches.clear();
  notes.clear();
  others_signature.clear();
  for (const fs::path& path : paths.searches) add_search(SearchSource::of_folder(path), path.string());
  return {};
}

std::vector<fs::path> Reporter::Impl::other_files() const {
  std::vector<fs::path> files = paths.sessions;
  files.insert(files.end(), paths.predictions.begin(), paths.predictions.end());
  for (const fs::path& path : paths.trainings) {
    files.push_back(path / "config.json");
    files.push_back(path / "metrics.jsonl");
  }
  for (const fs::path& path : paths.exports) {
    files.push_back(path / "manifest.json");
    files.push_back(path / "parity.json");
  }
  if (paths.tasks)
    for (const char* name : {"hwnas.db", "hwnas.db-wal"}) files.push_back(options.project / name);
  files.insert(files.end(), paths.stages.begin(), paths.stages.end());
  return files;
}

// What the page was made from, for its provenance.
std::vector<fs::path> Reporter::Impl::all_files() const {
  std::vector<fs::path> files;
  for (const fs::path& path : paths.searches)
    for (const char* name : {"run.json", "candidates.jsonl"}) files.push_back(path / name);
  for (const fs::path& file : other_files())
    if (file.extension() == ".json" || file.extension() == ".jsonl") files.push_back(file);
  return files;
}

void Reporter::Impl::read_store() {
  auto store = results::Store::open(options.project, {.access = results::Access::read});
  if (!store) return notes.push_back("store: " + store.error().message);
  std::erase_if(searches, [](const Shown& s) { return s.source.folder().empty(); });
  for (const std::string& name : paths.stored_runs) {
    const auto run = results::find_run(*store, name);
    if (run) add_search(SearchSource::of_store(*store, *run), name);
  }
  if (const auto tasks = tasks_json(*store)) others["queue"] = *tasks;
  if (const auto predictors = predictors_json(*store)) others["predictors"] = *predictors;
}

void Reporter::Impl::read_others() {
  others = {{"trainings", Json::array()},   {"sessions", Json::array()},   {"exports", Json::array()},
            {"predictions", Json::array()}, {"predictors", Json::array()}, {"queue", nullptr},
            {"stages", Json::array()}};
  const auto take = [&](const char* key, const fs::path& path, Result<Json> json) {
    if (json)
      others[key].push_back(*std::move(json));
    else
      notes.push_back(path.filename().string() + ": " + json.error().message);
  };
  for (const fs::path& path : paths.trainings) {
    take("trainings", path, training_json(path));
    if (auto& all = others["trainings"]; !all.empty() && !all.back().contains("folder"))
      all.back()["folder"] =
          fs::absolute(path).lexically_relative(fs::absolute(options.project).lexically_normal()).string();
  }
  for (const fs::path& path : paths.stages)
    for (const Json& row : stages_json(path)) others["stages"].push_back(row);
  for (const fs::path& path : paths.exports) take("exports", path, export_json(path));
  for (const fs::path& path : paths.predictions) take("predictions", path, predictions_json(path));
  for (const fs::path& path : paths.sessions) {
    const auto session = latency::load_session(path);
    take("sessions", path,
         session ? Result<Json>(session_json(*session, path.stem().string())) : session.error());
  }
  if (paths.tasks) read_store();
}

Result<void> Reporter::Impl::refresh() {
  NAS_CHECK(find());
  const std::string signature = signature_of(other_files());
  if (signature != others_signature) {
    std::erase_if(notes, [](const std::string& note) { return !note.starts_with("search "); });
    read_others();
    others_signature = signature;
  }
  for (Shown& shown : searches) {
    NAS_CHECK(shown.source.refresh());
    for (SearchSource& other : shown.baselines) NAS_CHECK(other.refresh());
  }
  return {};
}

// Of all searches with the same objectives, and their baselines.
std::vector<double> Reporter::Impl::reference(const Shown& shown) const {
  std::vector<const SearchSource*> same;
  for (const Shown& other : searches) {
    if (objectives_of(other.source) != objectives_of(shown.source)) continue;
    same.push_back(&other.source);
    for (const SearchSource& random : other.baselines) same.push_back(&random);
  }
  return common_reference(same);
}

Json Reporter::Impl::baseline(const Shown& shown, std::span<const double> reference) const {
  if (shown.baselines.empty()) return nullptr;
  Json curves = Json::array(), seeds = Json::array();
  for (const SearchSource& other : shown.baselines) {
    curves.push_back(progress_curve(other.history(), reference));
    seeds.push_back(other.record().seed);
  }
  return {{"seeds", seeds}, {"curves", curves}};
}

Json Reporter::Impl::architectures(Shown& shown, std::span<const Row> rows, std::size_t parts) {
  if (!shown.book) return nullptr;
  const SearchSource& source = shown.source;
  const std::vector<Row> front = source.history().front();
  const std::set<Row> on_front(front.begin(), front.end());
  Json networks = Json::object(), details = Json::object(), ids = Json::object();
  for (const Row row : rows) {
    ids[std::to_string(row)] = shown.book->id(source.texts()[row]);
    if (row < kMostNetworks || on_front.contains(row))
      networks[std::to_string(row)] = shown.book->network(source.texts()[row]);
  }
  // Evenly over the front, its ends included.
  const std::size_t shown_details = std::min(front.size(), kMostDetails);
  for (std::size_t i = 0; i < shown_details; ++i) {
    const Row row = front[shown_details < 2 ? 0 : i * (front.size() - 1) / (shown_details - 1)];
    details[std::to_string(row)] = shown.book->details(source.texts()[row]);
  }
  if (const auto best = source.history().best())
    details[std::to_string(*best)] = shown.book->details(source.texts()[*best]);
  return {{"parts", shown.book->parts(parts)}, {"networks", networks}, {"ids", ids}, {"details", details}};
}

Json Reporter::Impl::growing(Shown& shown, const Known& known) {
  std::vector<Row> rows;
  for (const Row row : shown_rows(shown.source.history()))
    if (row >= known.rows) rows.push_back(row);
  const auto volume_reference = reference(shown);
  Json json = changing_part(shown.source, rows, volume_reference);
  json["baseline"] = baseline(shown, volume_reference);
  json["architectures"] = architectures(shown, rows, known.parts);
  return json;
}

Json Reporter::Impl::comparison() const {
  std::vector<Compared> all;
  for (const Shown& shown : searches) all.push_back({&shown.source, &shown.baselines, reference(shown)});
  return comparison_rows(all);
}

Json Reporter::Impl::crossed() const {
  std::vector<CrossedSearch> all;
  for (const Shown& shown : searches) all.push_back({&shown.source, shown.book ? &*shown.book : nullptr});
  return crossed_fronts(all);
}

std::string Reporter::Impl::title() const {
  if (!options.title.empty()) return options.title;
  std::string text;
  for (const Shown& shown : searches) text += (text.empty() ? "" : ", ") + shown.source.name();
  if (!text.empty() && !options.names.empty()) return text;
  const fs::path project = fs::absolute(options.project).lexically_normal();
  return (project.has_filename() ? project : project.parent_path()).filename().string();
}

Reporter::Reporter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reporter::Reporter(Reporter&&) noexcept = default;
Reporter& Reporter::operator=(Reporter&&) noexcept = default;
Reporter::~Reporter() = default;

Result<Reporter> Reporter::open(ReportOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  NAS_CHECK(impl->refresh());
  return Reporter(std::move(impl));
}

Result<void> Reporter::refresh() { return impl_->refresh(); }

// "set.others" and ".epoch:rows:parts" for every search.
std::string Reporter::cursor() const {
  std::string text = impl_->set_signature + "." + impl_->others_signature;
  for (const Shown& shown : impl_->searches) {
    text += '.';
    append(text, shown.source.epoch(), ':');
    append(text, shown.source.history().size(), ':');
    text +=
        std::to_string(shown.book ? shown.book->size() : 0) + ":" + sha256(shown.source.state()).substr(0, 4);
  }
  return text;
}

Json Reporter::document() {
  Json runs = Json::array();
  for (Shown& shown : impl_->searches) {
    Json run = shown.fixed;
    run.update(impl_->growing(shown, {}));
    runs.push_back(std::move(run));
  }
  const ReportOptions& o = impl_->options;
  Json document{{"format", "hwnas-report-1"},
                {"title", impl_->title()},
                {"tool", {{"name", "hwnas"}, {"version", o.version}}},
                {"created", o.created},
                {"command", o.command},
                {"runs", std::move(runs)},
                {"comparison", impl_->comparison()},
                {"crossed", impl_->crossed()},
                {"files", hashes_json(impl_->all_files(), o.project)},
                {"notes", impl_->notes}};
  document.update(impl_->others);
  document["cursor"] = cursor();
  return document;
}

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

std::uint64_t to_number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

}  // namespace

Json Reporter::since(const std::string& cursor) {
  const std::string now = this->cursor();
  if (cursor == now) return {{"cursor", now}};
  const auto before = split(cursor, '.');
  bool follows = before.size() == 2 + impl_->searches.size() && before[0] == impl_->set_signature;
  std::vector<Known> known;
  for (std::size_t i = 0; follows && i < impl_->searches.size(); ++i) {
    const auto fields = split(before[i + 2], ':');
    const auto& shown = impl_->searches[i];
    follows = fields.size() == 4 && to_number(fields[0]) == shown.source.epoch() &&
              to_number(fields[1]) <= shown.source.history().size() &&
              (!shown.book || to_number(fields[2]) <= shown.book->size()) &&
              shown.source.history().size() <= kMostCandidates;
    if (follows) known.push_back({0, to_number(fields[1]), to_number(fields[2])});
  }
  if (!follows) return {{"cursor", now}, {"whole", document()}};
  Json runs = Json::array();
  for (std::size_t i = 0; i < known.size(); ++i) runs.push_back(impl_->growing(impl_->searches[i], known[i]));
  Json answer{{"runs", std::move(runs)}, {"comparison", impl_->comparison()}, {"crossed", impl_->crossed()}};
  if (before[1] != impl_->others_signature) answer["others"] = impl_->others;
  answer["cursor"] = this->cursor();
  return answer;
}

}  // namespace nas::report
