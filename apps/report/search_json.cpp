#include "apps/report/search_json.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "search/hypervolume.h"
#include "search/pareto.h"

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
using search::History;
using search::Row;
constexpr std::size_t kCurvePoints = 200;

std::string hex(std::span<const std::uint8_t> genes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t g : genes) {
    text += kDigits[g >> 4];
    text += kDigits[g & 15];
  }
  return text;
}

// The non-dominated losses seen so far.
class RunningFront {
 public:
  explicit RunningFront(std::size_t dimension) : dimension_(dimension) {}
  void add(std::span<const double> losses) {
    for (std::size_t i = 0; i < flat_.size(); i += dimension_)
      if (search::weakly_dominates({flat_.data() + i, dimension_}, losses)) return;
    std::vector<double> kept;
    for (std::size_t i = 0; i < flat_.size(); i += dimension_)
      if (!search::weakly_dominates(losses, {flat_.data() + i, dimension_}))
        kept.insert(kept.end(), flat_.begin() + static_cast<std::ptrdiff_t>(i),
                    flat_.begin() + static_cast<std::ptrdiff_t>(i + dimension_));
    kept.insert(kept.end(), losses.begin(), losses.end());
    flat_ = std::move(kept);
  }
  double volume(std::span<const double> reference) const {
    return flat_.empty() ? 0 : search::hypervolume({flat_, dimension_}, reference);
  }

 private:
  std::size_t dimension_;
  std::vector<double> flat_;
};

Json question_json(const search::Problem& problem) {
  Json objectives = Json::array(), constraints = Json::array();
  for (const auto& o : problem.objectives)
    objectives.push_back({{"metric", o.metric}, {"goal", search::to_string(o.goal)}});
  for (const auto& c : problem.constraints)
    constraints.push_back({{"metric", c.metric},
                           {"min", c.min ? Json(*c.min) : Json(nullptr)},
                           {"max", c.max ? Json(*c.max) : Json(nullptr)}});
  return {{"objectives", objectives}, {"constraints", constraints}};
}

Json counts_json(const History& history) {
  std::size_t feasible = 0, failed = 0, partial = 0;
  for (Row row = 0; row < history.size(); ++row) {
    feasible += history.feasible(row);
    failed += history.failed(row);
    partial += !history.failed(row) && history.info(row).fidelity < 1;
  }
  return {{"candidates", history.size()}, {"feasible", feasible}, {"failed", failed}, {"partial", partial}};
}

// The words that a shell takes as one.
std::string shell_word(const std::string& text) {
  const std::string safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  if (!text.empty() && text.find_first_not_of(safe) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<Row> shown_rows(const History& history, std::size_t most) {
  std::vector<Row> rows;
  if (history.size() <= most) {
    rows.resize(history.size());
    std::iota(rows.begin(), rows.end(), Row{0});
    return rows;
  }
  std::vector<bool> keep(history.size(), false);
  for (const Row row : history.front()) keep[row] = true;
  if (const auto best = history.best()) keep[*best] = true;
  // Feasible rows have the room first, the others what is left; both evenly over the run.
  for (const bool feasible : {true, false}) {
    std::vector<Row> open;
    for (Row row = 0; row < history.size(); ++row)
      if (!keep[row] && history.feasible(row) == feasible) open.push_back(row);
    const auto kept = static_cast<std::size_t>(std::count(keep.begin(), keep.end(), true));
    const std::size_t room = std::min(open.size(), most > kept ? most - kept : 0);
    for (std::size_t i = 0; i < room; ++i) keep[open[i * open.size() / room]] = true;
  }
  for (Row row = 0; row < history.size(); ++row)
    if (keep[row]) rows.push_back(row);
  return rows;
}

Json candidate_columns(const SearchSource& source, std::span<const Row> rows) {
  const History& history = source.history();
  const auto metrics = history.judge().metrics();
  Json number = Json::array(), arch = Json::array(), genes = Json::array(), generation = Json::array(),
       origin = Json::array(), parents = Json::array(), fidelity = Json::array(), violation = Json::array(),
       failure = Json::array();
  std::vector<Json> values(metrics.size(), Json::array());
  for (const Row row : rows) {
    const search::RowInfo& info = history.info(row);
    number.push_back(row);
    arch.push_back(source.texts()[row]);
    genes.push_back(hex(history.genes(row)));
    generation.push_back(info.generation);
    origin.push_back(search::to_string(info.origin));
    parents.push_back({info.parent_a, info.parent_b});
    fidelity.push_back(info.fidelity);
    violation.push_back(info.violation);
    failure.push_back(history.failed(row) ? Json(history.reason(row)) : Json(nullptr));
    for (std::size_t m = 0; m < metrics.size(); ++m)
      values[m].push_back(history.failed(row) ? Json(nullptr) : Json(history.values(row)[m]));
  }
  return {{"number", number},   {"arch", arch},       {"genes", genes},       {"generation", generation},
          {"origin", origin},   {"parents", parents}, {"fidelity", fidelity}, {"violation", violation},
          {"failure", failure}, {"values", values}};
}

Json progress_curve(const History& history, std::span<const double> reference) {
  Json evaluations = Json::array(), volume = Json::array(), best = Json::array();
  RunningFront front(history.judge().objectives());
  const std::size_t step = std::max<std::size_t>(1, (history.size() + kCurvePoints - 1) / kCurvePoints);
  double least = std::numeric_limits<double>::infinity();
  const double sign = history.judge().problem().objectives[0].goal == search::Goal::maximise ? -1.0 : 1.0;
  for (Row row = 0; row < history.size(); ++row) {
    if (history.feasible(row)) {
      front.add(history.losses(row));
      least = std::min(least, history.losses(row)[0]);
    }
    if ((row + 1) % step != 0 && row + 1 != history.size()) continue;
    evaluations.push_back(row + 1);
    volume.push_back(reference.empty() ? Json(nullptr) : Json(front.volume(reference)));
    best.push_back(least < std::numeric_limits<double>::infinity() ? Json(sign * least) : Json(nullptr));
  }
  return {{"evaluations", evaluations}, {"hypervolume", volume}, {"best", best}};
}

std::vector<double> common_reference(std::span<const SearchSource* const> runs) {
  std::vector<double> worst, best;
  for (const SearchSource* run : runs)
    for (const Row row : run->history().front()) {
      const auto losses = run->history().losses(row);
      if (worst.empty()) {
        worst.assign(losses.begin(), losses.end());
        best = worst;
      }
      for (std::size_t k = 0; k < losses.size(); ++k) {
        worst[k] = std::max(worst[k], losses[k]);
        best[k] = std::min(best[k], losses[k]);
      }
    }
  for (std::size_t k = 0; k < worst.size(); ++k) worst[k] += 0.1 * std::max(worst[k] - best[k], 1e-12);
  return worst;
}

Json changing_part(const SearchSource& source, std::span<const Row> rows, std::span<const double> reference) {
  const History& history = source.history();
  const auto best = history.best();
  Json json{{"state", source.state()}, {"counts", counts_json(history)}, {"notes", source.notes()}};
  json["front"] = history.front();
  json["best"] = best ? Json(*best) : Json(nullptr);
  json["progress"] = progress_curve(history, reference);
  json["candidates"] = candidate_columns(source, rows);
  return json;
}

std::string device_of(const SearchSource& source) {
  const Json config = Json::parse(source.record().config, nullptr, false);
  const Json problem = config.is_object() ? config.value("problem", Json()) : Json();
  const Json devices = problem.is_object() ? problem.value("devices", Json()) : Json();
  if (!devices.is_array() || devices.empty() || !devices[0].is_object()) return {};
  const Json profile = devices[0].value("profile", Json());
  return profile.is_string() ? profile.get<std::string>() : "";
}

Json fixed_part(const SearchSource& source) {
  const search::RunRecord& record = source.record();
  Json metrics = Json::array();
  for (const auto& m : record.metrics)
    metrics.push_back({{"name", m.name}, {"unit", m.unit}, {"source", search::to_string(m.source)}});
  const std::string where = source.folder().empty() ? source.name() : source.folder().filename().string();
  return {{"name", source.name()},
          {"from", source.folder().empty() ? "store" : "folder"},
          {"space", record.space},
          {"strategy", record.strategy},
          {"seed", record.seed},
          {"question", question_json(record.problem)},
          {"device", device_of(source)},
          {"metrics", metrics},
          {"genes", record.genes},
          {"config", Json::parse(record.config, nullptr, false)},
          {"commands",
           {{"front", "hwnas front " + shell_word(where)}, {"report", "hwnas report " + shell_word(where)}}}};
}

}  // namespace nas::report
