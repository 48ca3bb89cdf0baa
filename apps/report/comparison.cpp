#include "apps/report/comparison.h"

#include <algorithm>
#include <set>

#include "apps/report/search_json.h"

namespace nas::report {

using Json = nlohmann::ordered_json;
using search::Row;

std::string objectives_of(const SearchSource& s) {
  std::string text;
  for (const auto& o : s.record().problem.objectives)
    text += (text.empty() ? "" : ", ") + std::string(search::to_string(o.goal)) + " " + o.metric;
  const std::string device = device_of(s);
  return text + (device.empty() ? "" : " on " + device);
}

namespace {

Json last_volume(const search::History& history, std::span<const double> reference) {
  const Json curve = progress_curve(history, reference);
  return curve["hypervolume"].empty() ? Json(nullptr) : curve["hypervolume"].back();
}

// How many of the one's front are on the other's.
std::size_t shared_front(const search::History& one, const search::History& other) {
  if (one.gene_count() != other.gene_count()) return 0;
  std::set<std::vector<std::uint8_t>> genes;
  for (const Row row : other.front()) genes.emplace(other.genes(row).begin(), other.genes(row).end());
  const auto mine = one.front();
  return static_cast<std::size_t>(std::ranges::count_if(mine, [&](Row row) {
    return genes.contains({one.genes(row).begin(), one.genes(row).end()});
  }));
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

Json row_of(const Compared& one, const SearchSource& first) {
  const auto& history = one.source->history();
  return {{"name", one.source->name()},
          {"objectives", objectives_of(*one.source)},
          {"strategy", one.source->record().strategy},
          {"seed", one.source->record().seed},
          {"candidates", history.size()},
          {"front", history.front().size()},
          {"hypervolume", last_volume(history, one.reference)},
          {"shared", shared_front(history, first.history())}};
}

Json baseline_row(const Compared& one, const std::vector<double>& volumes) {
  return {{"name", one.source->name() + ": random, median of " + std::to_string(volumes.size())},
          {"objectives", objectives_of(*one.source)},
          {"strategy", "random"},
          {"seed", nullptr},
          {"candidates", one.baselines->front().history().size()},
          {"front", nullptr},
          {"hypervolume", median(volumes)},
          {"shared", nullptr}};
}

}  // namespace

Json comparison_rows(const std::vector<Compared>& searches) {
  Json rows = Json::array();
  for (const Compared& one : searches) {
    rows.push_back(row_of(one, *searches.front().source));
    std::vector<double> volumes;
    for (const SearchSource& other : *one.baselines)
      if (const Json v = last_volume(other.history(), one.reference); v.is_number()) volumes.push_back(v);
    if (!volumes.empty()) rows.push_back(baseline_row(one, volumes));
  }
  return rows;
}

}  // namespace nas::report
