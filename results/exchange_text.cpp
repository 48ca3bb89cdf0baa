#include <nlohmann/json.hpp>

#include "results/exchange.h"
#include "results/tables.h"
#include "space/base/hash.h"

namespace nas::results {
namespace {

using nlohmann::ordered_json;

std::string hexadecimal(const Bytes8& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

ordered_json value_of(const Statement& row, int column) {
  switch (row.type(column)) {
    case 'i':
      return row.integer(column);
    case 'r':
      return row.real(column);
    case 't':
      return row.text(column);
    case 'b':
      return hexadecimal(row.blob(column));
    default:
      return nullptr;
  }
}

std::string csv_field(const ordered_json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  auto text = value.get<std::string>();
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string line_of(const Statement& row, TextFormat format) {
  constexpr auto kReplace = ordered_json::error_handler_t::replace;
  if (format == TextFormat::jsonl) {
    ordered_json object;
    for (int i = 0; i < row.columns(); ++i) object[std::string(row.name(i))] = value_of(row, i);
    return object.dump(-1, ' ', false, kReplace);
  }
  std::string line;
  for (int i = 0; i < row.columns(); ++i) line += (i == 0 ? "" : ",") + csv_field(value_of(row, i));
  return line;
}

Error write_error() { return {"the output could not be written: is the disk full, or the pipe closed?"}; }

}  // namespace

Result<std::int64_t> export_candidates(Store& store, std::optional<Id> run, TextFormat format,
                                       std::ostream& out) {
  NAS_TRY(rows,
          store.db().prepare("SELECT r.name AS run, lower(hex(a.hash)) AS arch, a.text AS genotype, " +
                             column_list<Candidate>("c.") +
                             " FROM candidate c JOIN run r ON r.id=c.run_id JOIN arch a ON a.id=c.arch_id "
                             "WHERE ?1 IS NULL OR c.run_id=?1 ORDER BY c.run_id, c.number"));
  rows.bind_all(run);
  if (format == TextFormat::csv) {
    std::string heading;
    for (int i = 0; i < rows.columns(); ++i) heading += (i == 0 ? "" : ",") + std::string(rows.name(i));
    out << heading << '\n';
  }
  for (std::int64_t n = 0;; ++n) {
    NAS_TRY(row, rows.step());
    if (!out) return write_error();
    if (!row) return n;
    out << line_of(rows, format) << '\n';
  }
}

Result<std::vector<std::string>> dump(Store& store, std::ostream& out) {
  std::vector<std::string> tables, broken;
  {
    NAS_TRY(names, store.db().prepare(
                       "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%' "
                       "ORDER BY name"));
    while (true) {
      NAS_TRY(row, names.step());
      if (!row) break;
      tables.push_back(names.text(0));
    }
  }
  for (const std::string& table : tables) {
    auto rows = store.db().prepare("SELECT '" + table + "' AS \"table\", * FROM \"" + table + "\"");
    while (rows) {
      const Result<bool> row = rows->step();
      if (!row) broken.push_back(table);
      if (!row || !*row) break;
      out << line_of(*rows, TextFormat::jsonl) << '\n';
    }
    if (!rows) broken.push_back(table);
  }
  if (!out.flush()) return write_error();
  return broken;
}

std::optional<double> metric(const Candidate& candidate, const std::string& name) {
  // Columns under the names that searches use, in their units.
  struct Alias {
    const char* name;
    const char* column;
    double unit;
  };
  constexpr Alias kAliases[] = {{"top1", "accuracy", 1},
                                {"ram_kb", "ram_bytes", 1024},
                                {"flash_kb", "flash_bytes", 1024},
                                {"macs_m", "macs", 1e6},
                                {"params_m", "params", 1e6}};
  for (const Alias& alias : kAliases)
    if (name == alias.name)
      if (const auto value = metric(candidate, alias.column)) return *value / alias.unit;
  std::optional<double> found;
  for_each_field(candidate, [&](const std::string_view column, const auto& value) {
    using Value = std::decay_t<decltype(value)>;
    if (column != name) return;
    if constexpr (std::is_arithmetic_v<Value>) found = static_cast<double>(value);
    if constexpr (std::is_same_v<Value, std::optional<double>> ||
                  std::is_same_v<Value, std::optional<std::int64_t>>)
      if (value) found = static_cast<double>(*value);
  });
  if (found || candidate.extra.size() <= 2) return found;
  const auto extra = ordered_json::parse(candidate.extra, nullptr, false);
  if (extra.is_object() && extra.contains(name) && extra[name].is_number()) return extra[name].get<double>();
  return found;
}

}  // namespace nas::results
