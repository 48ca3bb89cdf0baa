#include "latency/csv.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "space/base/file.h"

namespace nas::latency {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string place(const Csv& csv, std::size_t row) {
  return csv.where + ":" + std::to_string(csv.lines[row]);
}

// Reads one record starting at `at`; `line` counts newlines passed. False on an open quote.
bool read_record(std::string_view text, std::size_t& at, std::size_t& line,
                 std::vector<std::string>& fields) {
  fields.assign(1, {});
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        fields.back() += c;
        ++at;
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r' || (at + 1 < text.size() && text[at + 1] != '\n')) {
      fields.back() += c;
    }
  }
  return !quoted;
}

const std::array<std::string, 6> kRelations{"=", "!=", "<", "<=", ">", ">="};

// Does the field stand in that relation to the value? An empty field is never smaller or larger.
Result<bool> holds_at(const Csv& csv, std::size_t row, std::size_t column, const std::string& relation,
                      const std::string& value) {
  const std::string& field = csv.rows[row][column];
  if (relation == "=" || relation == "!=") return (field == value) == (relation == "=");
  double limit = 0;
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), limit);
  if (code != std::errc() || end != value.data() + value.size())
    return usage_error("a filter with '" + relation + "' needs a number, found '" + value + "'");
  if (field.empty()) return false;
  NAS_TRY(number, number_at(csv, row, column));
  if (relation.size() == 2 && number == limit) return true;
  return relation[0] == '<' ? number < limit : number > limit;
}

}  // namespace

bool Csv::has(std::string_view name) const {
  return std::find(header.begin(), header.end(), name) != header.end();
}

Result<std::size_t> Csv::column(std::string_view name) const {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  const auto nearest = std::min_element(header.begin(), header.end(), [&](const auto& a, const auto& b) {
    return edit_distance(a, name) < edit_distance(b, name);
  });
  return usage_error("no column '" + std::string(name) + "'; did you mean '" + *nearest + "'? (" +
                         std::to_string(header.size()) + " columns)",
                     where + ":1");
}

Result<Csv> parse_csv(std::string_view text, std::string where) {
  Csv csv;
  csv.where = std::move(where);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::size_t at = 0;
  std::size_t line = 1;
  if (text.empty()) return usage_error("the file is empty; a header line and rows are needed", csv.where);
  if (text.find('\0') != std::string_view::npos)
    return usage_error("not a text file: it holds a zero byte", csv.where);
  const auto open_quote = [&](std::size_t start) {
    return usage_error("a quoted field is not closed", csv.where + ":" + std::to_string(start));
  };
  if (!read_record(text, at, line, csv.header)) return open_quote(1);
  std::set<std::string> seen;
  for (const std::string& name : csv.header) {
    if (name.empty()) return usage_error("a column has no name", csv.where + ":1");
    if (!seen.insert(name).second)
      return usage_error("column '" + name + "' appears twice", csv.where + ":1");
  }
  std::vector<std::string> fields;
  while (at < text.size()) {
    const std::size_t start = line;
    if (!read_record(text, at, line, fields)) return open_quote(start);
    if (fields.size() == 1 && fields[0].empty()) continue;  // a blank line
    if (fields.size() != csv.header.size()) {
      return usage_error("a row needs " + std::to_string(csv.header.size()) + " fields, found " +
                             std::to_string(fields.size()),
                         csv.where + ":" + std::to_string(start));
    }
    csv.rows.push_back(fields);
    csv.lines.push_back(start);
  }
  if (csv.rows.empty()) return usage_error("the file has a header but no rows", csv.where);
  return csv;
}

Result<Csv> read_csv(const std::string& path) {
  NAS_TRY(text, read_file(path, std::uint64_t{1} << 30));
  return parse_csv(text, path);
}

Result<Csv> filter(Csv csv, const std::vector<std::string>& conditions) {
  for (const std::string& condition : conditions) {
    const std::size_t begin = condition.find_first_of("=!<>");
    std::size_t end = begin;
    while (end < condition.size() && std::string_view("=!<>").find(condition[end]) != std::string_view::npos)
      ++end;
    const std::string relation = begin < end ? condition.substr(begin, end - begin) : "";
    if (begin == 0 || std::ranges::find(kRelations, relation) == kRelations.end())
      return usage_error("a filter is COLUMN=VALUE, or with !=, <, <=, > or >=, found '" + condition + "'");
    NAS_TRY(column, csv.column(condition.substr(0, begin)));
    const std::string value = condition.substr(end);
    Csv kept{csv.where, csv.header, {}, {}};
    for (std::size_t i = 0; i < csv.rows.size(); ++i) {
      NAS_TRY(holds, holds_at(csv, i, column, relation, value));
      if (!holds) continue;
      kept.rows.push_back(std::move(csv.rows[i]));
      kept.lines.push_back(csv.lines[i]);
    }
    if (kept.rows.empty()) return usage_error("no row has " + condition, csv.where);
    csv = std::move(kept);
  }
  return csv;
}

Result<double> number_at(const Csv& csv, std::size_t row, std::size_t column) {
  const std::string& text = csv.rows[row][column];
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return usage_error(
        "column '" + csv.header[column] + "' needs a finite number, found '" + text.substr(0, 40) + "'",
        place(csv, row));
  }
  return value;
}

Result<std::vector<double>> target_column(const Csv& csv, const std::string& expression, bool allow_missing) {
  std::vector<double> sum(csv.rows.size(), 0.0);
  for (std::size_t begin = 0; begin <= expression.size();) {
    const std::size_t end = std::min(expression.find('+', begin), expression.size());
    NAS_TRY(column, csv.column(expression.substr(begin, end - begin)));
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (allow_missing && csv.rows[i][column].empty()) {
        sum[i] = std::numeric_limits<double>::quiet_NaN();
        continue;
      }
      NAS_TRY(value, number_at(csv, i, column));
      sum[i] += value;
    }
    begin = end + 1;
  }
  return sum;
}

}  // namespace nas::latency
