#include "apps/report/crossed.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace nas::report {
namespace {

using Json = nlohmann::ordered_json;
using search::Row;
constexpr std::size_t kMostPoints = 60;  // of a front
constexpr double kSame = 0.01;           // relative difference of a sum and the search's own number

// Evenly over the front, its ends included.
std::vector<Row> some_of(const std::vector<Row>& front) {
  if (front.size() <= kMostPoints) return front;
  std::vector<Row> rows;
  for (std::size_t i = 0; i < kMostPoints; ++i)
    rows.push_back(front[i * (front.size() - 1) / (kMostPoints - 1)]);
  return rows;
}

std::optional<std::size_t> metric_at(const SearchSource& search, std::size_t objective) {
  const auto& record = search.record();
  if (record.problem.objectives.size() <= objective) return std::nullopt;
  const auto found =
      std::ranges::find(record.metrics, record.problem.objectives[objective].metric, &search::Metric::name);
  if (found == record.metrics.end()) return std::nullopt;
  return static_cast<std::size_t>(found - record.metrics.begin());
}

// The factor from the table's unit to the search's second objective: one for its whole front, else nothing.
std::optional<double> scale_of(const CrossedSearch& search) {
  const auto latency = metric_at(*search.source, 1);
  const auto front = some_of(search.source->history().front());
  if (!latency || front.empty()) return std::nullopt;
  std::optional<double> scale;
  for (const Row row : front) {
    const auto sum = search.book->time_on_first(search.source->texts()[row]);
    const double own = search.source->history().values(row)[*latency];
    if (!sum || !(*sum > 0) || !(own > 0)) return std::nullopt;
    if (!scale) scale = own / *sum;
    if (std::abs(own / *sum / *scale - 1) > kSame) return std::nullopt;
  }
  return scale;
}

Json points_of(const CrossedSearch& from, const CrossedSearch& on, double scale) {
  const auto first = metric_at(*from.source, 0);
  std::vector<Json> points;
  for (const Row row : some_of(from.source->history().front())) {
    const auto sum = on.book->time_on_first(from.source->texts()[row]);
    if (!sum || !first) return Json::array();
    points.push_back({scale * *sum, from.source->history().values(row)[*first], row});
  }
  std::ranges::sort(points, {}, [](const Json& p) { return p[0].get<double>(); });
  return points;
}

}  // namespace

Json crossed_fronts(const std::vector<CrossedSearch>& searches) {
  Json rows = Json::array();
  for (std::size_t on = 0; on < searches.size(); ++on) {
    if (!searches[on].book || searches.size() < 2) continue;
    const auto scale = scale_of(searches[on]);
    for (std::size_t from = 0; scale && from < searches.size(); ++from) {
      const auto &a = searches[from].source->record(), &b = searches[on].source->record();
      if (from == on || a.space != b.space ||
          a.problem.objectives[0].metric != b.problem.objectives[0].metric)
        continue;
      Json points = points_of(searches[from], searches[on], *scale);
      if (!points.empty())
        rows.push_back({{"from", from},
                        {"on", on},
                        {"metric", b.problem.objectives[1].metric},
                        {"points", std::move(points)}});
    }
  }
  return rows;
}

}  // namespace nas::report
