#include "apps/search_ledger.h"

#include <algorithm>
#include <cmath>

#include "apps/accuracy_file.h"
#include "latency/measure/session.h"
#include "results/catalog.h"
#include "results/runs.h"
#include "search/text.h"
#include "space/base/file.h"

namespace nas::apps {
namespace {

using Json = nlohmann::ordered_json;
using results::Candidate;
using results::Store;
using search::Row;

constexpr std::chrono::seconds kBetweenWrites{5};
constexpr int kShare = 200;  // a write takes at most a two-hundredth of the time since the one before

// What the models of the search were made from.
struct Origin {
  struct Session {
    std::string file, id, device, sha256;
  };
  std::string accuracy, accuracy_sha256, supernet;  // the sweep as configured, and whose accuracies it has
  std::filesystem::path accuracy_path;
  std::vector<Session> sessions;
};

// From the configuration; a file that the search could read is read here as well.
Result<Origin> read_origin(const SearchPlan& plan, const std::filesystem::path& base) {
  Origin origin;
  const Json config = Json::parse(plan.record.config, nullptr, false);
  const Json problem = config.value("problem", Json::object());
  const auto from = [&](const std::filesystem::path& file) {
    return file.is_absolute() ? file : base / file;
  };
  origin.accuracy = problem.value("accuracy", "");
  if (!origin.accuracy.empty()) {
    origin.accuracy_path = from(origin.accuracy);
    NAS_TRY(file, read_accuracy_file(origin.accuracy_path));
    NAS_TRY(digest, sha256_file(origin.accuracy_path));
    origin.supernet = file.supernet;
    origin.accuracy_sha256 = digest;
  }
  for (const Json& device : problem.value("devices", Json::array())) {
    const std::string name = device.value("session", "");
    if (name.empty()) continue;  // whole networks measured elsewhere
    NAS_TRY(session, latency::load_session(from(name)));
    NAS_TRY(digest, sha256_file(from(name)));
    origin.sessions.push_back({name, session.info.id, session.info.device, digest});
  }
  return origin;
}

Json to_json(const Origin& origin, const SearchSpace& space) {
  Json json{{"space", to_string(space.fingerprint())}};
  if (!origin.accuracy.empty())
    json["accuracy"] = {
        {"file", origin.accuracy}, {"sha256", origin.accuracy_sha256}, {"supernet", origin.supernet}};
  if (!origin.sessions.empty()) json["sessions"] = Json::array();
  for (const Origin::Session& s : origin.sessions)
    json["sessions"].push_back({{"file", s.file}, {"id", s.id}, {"device", s.device}, {"sha256", s.sha256}});
  return json;
}

results::Run run_of(const SearchPlan& plan, const Origin& origin, const std::string& name) {
  results::Run run;
  run.name = name;
  run.kind = "search";
  run.config = plan.record.config;
  run.seed = static_cast<std::int64_t>(plan.seed);
  run.origin = to_json(origin, plan.problem.space).dump();
  Json objectives = Json::array(), constraints = Json::array();
  for (const search::Objective& o : plan.judge.problem().objectives)
    objectives.push_back(
        {{"metric", o.metric}, {"direction", o.goal == search::Goal::maximise ? "maximize" : "minimize"}});
  for (const search::Constraint& c : plan.judge.problem().constraints) {
    Json one{{"metric", c.metric}};
    if (c.min) one["min"] = *c.min;
    if (c.max) one["max"] = *c.max;
    constraints.push_back(std::move(one));
  }
  run.objectives = objectives.dump();
  run.constraints = constraints.dump();
  Json budget = Json::object();
  const search::Budget& most = plan.options.budget;
  if (most.evaluations != search::Budget().evaluations) budget["evaluations"] = most.evaluations;
  if (std::isfinite(most.seconds)) budget["seconds"] = most.seconds;
  run.budget = budget.dump();
  return run;
}

// The records that the run's models come from, where this store has them.
Result<void> link_origin(Store& store, results::Run& run, const SearchPlan& plan, const Origin& origin) {
  NAS_TRY(space, keep_space(store, plan.problem.space));
  run.space_id = space;
  NAS_TRY(checkpoint, checkpoint_of(store, origin.supernet));
  if (checkpoint) run.checkpoint_id = checkpoint->id;
  for (const Origin::Session& s : origin.sessions) {
    NAS_TRY(session, store.db().value<results::Id>("SELECT id FROM session WHERE uid=?", s.id));
    NAS_TRY(device, store.db().value<results::Id>("SELECT device_id FROM session WHERE uid=?", s.id));
    if (!run.session_id) run.session_id = session;
    if (!run.device_id) run.device_id = device;
  }
  return {};
}

// The model of accuracy, known by what it is fitted to: the same sweep gives the same model.
Result<void> keep_surrogate(Store& store, const results::Run& run, const SearchPlan& plan,
                            const Origin& origin) {
  if (origin.accuracy.empty()) return {};
  results::Predictor predictor;
  predictor.uid = sha256("accuracy " + origin.accuracy_sha256).substr(0, 32);
  NAS_TRY(known, store.db().value<results::Id>("SELECT id FROM predictor WHERE uid=?", predictor.uid));
  if (known) return {};
  NAS_TRY(object, store.put_object_file(origin.accuracy_path));
  NAS_TRY(sweep, read_accuracy_file(origin.accuracy_path));
  predictor.name = "accuracy of " + origin.accuracy;
  predictor.target = "accuracy";
  predictor.checkpoint_id = run.checkpoint_id;
  predictor.algorithm = "surrogate";
  predictor.features = "genes";
  predictor.object = object;
  predictor.n_train = static_cast<std::int64_t>(sweep.networks.size());
  predictor.info = Json{{"object", "the sweep that it is fitted to"}, {"notes", plan.problem.notes}}.dump();
  NAS_CHECK(results::keep(store, predictor));
  return {};
}

results::Source source_of(std::span<const search::Metric> metrics) {
  const auto same = [&](const search::Metric& m) { return m.source == metrics.front().source; };
  if (metrics.empty() || !std::ranges::all_of(metrics, same)) return results::Source::mixed;
  return *results::from_word<results::Source>(search::to_string(metrics.front().source));
}

std::int64_t whole(double value, double unit) { return std::llround(value * unit); }

// The metrics that have columns of their own; the others go into `extra`.
void put_metric(Candidate& row, const std::string& name, double value, Json& extra) {
  if (name == "top1" || name == "accuracy")
    row.accuracy = value;
  else if (name == "latency_ms")
    row.latency_ms = value;
  else if (name == "ram_kb")
    row.ram_bytes = whole(value, 1024);
  else if (name == "flash_kb")
    row.flash_bytes = whole(value, 1024);
  else if (name == "energy_mj")
    row.energy_mj = value;
  else if (name == "macs_m")
    row.macs = whole(value, 1e6);
  else if (name == "params_m")
    row.params = whole(value, 1e6);
  else
    extra[name] = value;
}

Candidate to_candidate(const search::History& history, Row number, results::Id arch, results::Source source) {
  const search::RowInfo& info = history.info(number);
  Candidate row;
  row.number = number;
  row.arch_id = arch;
  row.generation = info.generation;
  if (info.parent_a >= 0) row.parent_a = info.parent_a;
  if (info.parent_b >= 0) row.parent_b = info.parent_b;
  row.made_by = search::to_string(info.origin);
  row.source = source;
  Json extra = Json::object();
  if (info.fidelity < 1) extra["fidelity"] = info.fidelity;
  if (history.failed(number)) {
    row.state = results::CandidateState::failed;
    row.error = history.reason(number);
  } else {
    row.state = info.violation > 0 ? results::CandidateState::infeasible : results::CandidateState::ok;
    row.violation = info.violation;
    const auto metrics = history.judge().metrics();
    for (std::size_t m = 0; m < metrics.size(); ++m)
      put_metric(row, metrics[m].name, history.values(number)[m], extra);
  }
  row.extra = extra.dump();
  return row;
}

std::vector<Row> rows_from(std::size_t first, const search::History& history) {
  std::vector<Row> rows;
  for (std::size_t row = first; row < history.size(); ++row) rows.push_back(static_cast<Row>(row));
  return rows;
}

}  // namespace

SearchLedger::SearchLedger(const Context& context, const SearchPlan& plan,
                           const std::filesystem::path& folder, const std::filesystem::path& base, bool fresh,
                           bool keep_all)
    : plan_(plan),
      folder_(folder),
      keep_all_(keep_all || std::ranges::any_of(plan.problem.evaluator.metrics,
                                                [](const search::Metric& m) {
                                                  return m.source == search::Source::measured;
                                                })),
      ledger_(context, folder) {
  const auto origin = read_origin(plan, base);
  if (!origin) return;  // the search has read the same files: they were removed this moment
  results::Run run = run_of(plan, *origin, folder.filename().string());
  ledger_.write([&](Store& store) -> Result<void> {
    NAS_CHECK(link_origin(store, run, plan, *origin));
    return keep_surrogate(store, run, plan, *origin);
  });
  ledger_.begin(run, fresh);
  next_ = std::chrono::steady_clock::now() + kBetweenWrites;
}

Result<void> SearchLedger::add_rows(Store& store, const search::History& history,
                                    const std::vector<Row>& rows) {
  std::vector<Genotype> genotypes;
  for (const Row row : rows) genotypes.push_back(history.genotype(row));
  NAS_TRY(ids, keep_networks(store, plan_.problem.space, genotypes));
  const results::Source source = source_of(history.judge().metrics());
  std::vector<Candidate> records;
  for (std::size_t i = 0; i < rows.size(); ++i)
    records.push_back(to_candidate(history, rows[i], ids[i], source));
  return results::add_candidates(store, ledger_.run(), records);
}

Result<void> SearchLedger::add_curve(Store& store, const std::vector<search::CurvePoint>& curve) {
  std::vector<results::CurvePoint> points;
  for (std::size_t i = points_; i < curve.size(); ++i)
    points.push_back({.owner = results::CurveOwner::run,
                      .owner_id = ledger_.run(),
                      .name = "hypervolume",
                      .step = static_cast<std::int64_t>(curve[i].evaluations),
                      .value = curve[i].hypervolume});
  return results::add_curve(store, points);
}

search::Journal SearchLedger::journal(search::Journal inner) {
  search::Journal journal;
  journal.rows = [this, rows = inner.rows](const search::History& history, std::size_t first) {
    history_ = &history;
    return rows(history, first);
  };
  journal.checkpoint = [this, inner](const search::Checkpoint& checkpoint) -> Result<void> {
    NAS_CHECK(inner.checkpoint(checkpoint));
    const auto now = std::chrono::steady_clock::now();
    if (history_ == nullptr || !ledger_.has_run() || now < next_) return {};
    write(checkpoint.curve, *history_);
    const auto end = std::chrono::steady_clock::now();
    next_ = end + std::max<std::chrono::steady_clock::duration>(kBetweenWrites, kShare * (end - now));
    return {};
  };
  return journal;
}

void SearchLedger::write(const std::vector<search::CurvePoint>& curve, const search::History& history) {
  const bool kept = ledger_.write([&](Store& store) -> Result<void> {
    if (keep_all_) NAS_CHECK(add_rows(store, history, rows_from(rows_, history)));
    NAS_CHECK(add_curve(store, curve));
    NAS_TRY(state, read_file(folder_ / "state.json"));
    return results::add_snapshot(store, ledger_.run(), static_cast<std::int64_t>(history.size()),
                                 results::Bytes8(state.begin(), state.end()), 1);
  });
  if (!kept) return;
  rows_ = history.size();
  points_ = curve.size();
}

void SearchLedger::finish(const search::Run& run, const std::vector<Row>& front) {
  if (!ledger_.has_run()) return;
  const std::string note = keep_all_
                               ? ""
                               : std::to_string(run.history.size()) +
                                     " candidates scored by models are in candidates.jsonl of the run's "
                                     "folder; the front is here";
  ledger_.write(
      [&](Store& store) -> Result<void> {
        NAS_CHECK(add_rows(store, run.history, keep_all_ ? rows_from(rows_, run.history) : front));
        NAS_CHECK(add_curve(store, run.curve));
        NAS_CHECK(store.db().run("UPDATE run SET note=? WHERE id=? AND note=''", note, ledger_.run()));
        const std::vector<std::int64_t> numbers(front.begin(), front.end());
        const auto best = numbers.empty() ? std::nullopt : std::optional(numbers.front());
        return results::set_front(store, ledger_.run(), numbers, best);
      },
      true);
}

Result<int> SearchLedger::end(Result<int> result) { return ledger_.end(std::move(result)); }

}  // namespace nas::apps
