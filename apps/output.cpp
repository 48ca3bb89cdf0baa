#include <algorithm>
#include <cstdio>

#include "apps/command.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

// Numbers with six significant digits for people; the JSON forms keep all of them.
std::string shown(const Record& record, const std::string& key, bool exact) {
  const auto found = record.find(key);
  if (found == record.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float() && !exact) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", found->get<double>());
    return text;
  }
  return found->dump();
}

// Columns on screen, not bytes: UTF-8 continuation bytes take no room.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::vector<Column> chosen(const Context& context, const std::vector<Column>& columns) {
  if (context.columns.empty()) return columns;
  std::vector<Column> out;
  for (const std::string& key : context.columns) {
    const auto known =
        std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.key == key; });
    out.push_back(known == columns.end() ? Column{key, key} : *known);
  }
  return out;
}

std::string heading(const Column& column) {
  return column.unit.empty() ? column.heading : column.heading + " [" + column.unit + "]";
}

void print_table(const std::vector<Column>& columns, const std::vector<Record>& records) {
  std::vector<std::vector<std::string>> cells(records.size());
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (const Column& column : columns) {
    std::size_t w = width(heading(column));
    bool numbers = !records.empty();
    for (std::size_t r = 0; r < records.size(); ++r) {
      cells[r].push_back(shown(records[r], column.key, false));
      w = std::max(w, width(cells[r].back()));
      const auto found = records[r].find(column.key);
      numbers = numbers && (found == records[r].end() || found->is_number() || found->is_null());
    }
    widths.push_back(w);
    right.push_back(numbers);
  }
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width(row[c]), ' ');
      text += (c > 0 ? "  " : "") + (right[c] ? pad + row[c] : row[c] + pad);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    std::puts(text.c_str());
  };
  std::vector<std::string> headings;
  for (const Column& column : columns) headings.push_back(heading(column));
  line(headings);
  for (const auto& row : cells) line(row);
}

// What is printed reaches a pipe before what is said on stderr next.
struct Flushed {
  Flushed() = default;
  Flushed(const Flushed&) = delete;
  Flushed& operator=(const Flushed&) = delete;
  ~Flushed() { std::fflush(stdout); }
};

}  // namespace

void print_records(const Context& context, const std::vector<Column>& columns,
                   const std::vector<Record>& records) {
  const Flushed flushed;
  const std::vector<Column> shown_columns = chosen(context, columns);
  if (context.format == "json") {
    std::puts(Record(records).dump(2).c_str());
  } else if (context.format == "jsonl") {
    for (const Record& record : records) std::puts(record.dump().c_str());
  } else if (context.format == "table") {
    print_table(shown_columns, records);
  } else {
    const bool csv = context.format == "csv";
    const auto row = [&](auto&& cell) {
      std::string text;
      for (std::size_t c = 0; c < shown_columns.size(); ++c)
        text += std::string(c > 0 ? (csv ? "," : "\t") : "") + cell(shown_columns[c]);
      std::puts(text.c_str());
    };
    if (csv) row([](const Column& column) { return csv_field(column.key); });
    for (const Record& record : records)
      row([&](const Column& column) {
        const std::string text = shown(record, column.key, true);
        return csv ? csv_field(text) : text;
      });
  }
}

void print_record(const Context& context, const std::vector<Column>& columns, const Record& record) {
  const Flushed flushed;
  if (context.format == "json" || context.format == "jsonl") {
    std::puts(record.dump(context.format == "json" ? 2 : -1).c_str());
    return;
  }
  if (context.format != "table") return print_records(context, columns, {record});
  std::size_t widest = 0;
  for (const Column& column : chosen(context, columns)) widest = std::max(widest, width(column.heading));
  for (const Column& column : chosen(context, columns)) {
    std::string text = column.heading + std::string(widest - width(column.heading) + 2, ' ');
    text += shown(record, column.key, false) + (column.unit.empty() ? "" : " " + column.unit);
    std::puts(text.c_str());
  }
}

}  // namespace nas::apps
