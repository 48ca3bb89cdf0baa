#include "apps/front_rows.h"

#include <algorithm>

namespace nas::apps {

using Record = nlohmann::ordered_json;
using search::Row;

std::vector<Column> front_columns(const search::Judge& judge) {
  std::vector<Column> columns{{"number", "#"}};
  for (const search::Metric& m : judge.metrics()) columns.push_back({m.name, m.name, m.unit});
  columns.push_back({"arch", "architecture"});
  return columns;
}

std::vector<Record> front_records(const search::History& history, const std::vector<Row>& rows,
                                  const std::vector<std::string>& texts) {
  std::vector<Record> records;
  for (const Row row : rows) {
    Record record{{"number", row}};
    for (std::size_t m = 0; m < history.judge().metrics().size(); ++m)
      record[history.judge().metrics()[m].name] = history.values(row)[m];
    record["arch"] = texts[row];
    record["origin"] = std::string(to_string(history.info(row).origin));
    records.push_back(std::move(record));
  }
  return records;
}

std::vector<Row> spread_rows(const std::vector<Row>& rows, std::size_t most, Row keep) {
  if (rows.size() <= most || most < 2) return rows;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < most; ++i) places.push_back(i * (rows.size() - 1) / (most - 1));
  // The row to keep takes the place of its nearest neighbour inside the ends.
  const auto wanted = static_cast<std::size_t>(std::ranges::find(rows, keep) - rows.begin());
  if (wanted < rows.size() && !std::ranges::binary_search(places, wanted))
    *std::ranges::min_element(places.begin() + 1, places.end() - 1, {},
                              [&](std::size_t p) { return p > wanted ? p - wanted : wanted - p; }) = wanted;
  std::vector<Row> some;
  for (const std::size_t place : places) some.push_back(rows[place]);
  return some;
}

}  // namespace nas::apps
