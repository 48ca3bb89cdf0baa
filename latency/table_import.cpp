#include "latency/table_import.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "latency/csv.h"

namespace nas::latency {
namespace {

constexpr double kNanosecondsOfMs = 1e6;

SessionInfo imported_info() {
  SessionInfo info;
  info.device = info.profile = info.engine = "imported";
  info.precision = "fp32";
  info.unit = "ns";
  info.started = "unknown";
  return info;
}

void set_time(KernelRecord& r, double value) {
  r.median = r.low = r.high = r.mean = r.min = r.p05 = r.p90 = value;
  r.n = r.visits = 1;
  r.steady = true;
}

Result<void> check_keys(const Session& session, const std::string& where) {
  if (session.kernels.empty()) return usage_error("the table must hold at least one key, found none", where);
  std::set<std::string> seen;
  for (const KernelRecord& r : session.kernels) {
    if (r.signature.empty()) return usage_error("every entry needs a key, found an empty one", where);
    if (!seen.insert(r.signature).second)
      return usage_error("every key must stand once, found two of " + r.signature, where);
    if (r.failure.empty() && r.n == 0)
      return usage_error("every key needs a time, found none for " + r.signature, where);
  }
  return {};
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// The columns of numbers that export writes beside signature and failure.
constexpr std::array<std::pair<const char*, double KernelRecord::*>, 8> kNumbers{{
    {"median", &KernelRecord::median},
    {"low", &KernelRecord::low},
    {"high", &KernelRecord::high},
    {"mean", &KernelRecord::mean},
    {"deviation", &KernelRecord::deviation},
    {"min", &KernelRecord::min},
    {"p05", &KernelRecord::p05},
    {"p90", &KernelRecord::p90},
}};

// Reads the rows of a table in CSV.
class CsvTable {
 public:
  explicit CsvTable(const Csv& csv) : csv_(csv) {}

  Result<Session> read() {
    Session session;
    session.info = imported_info();
    for (const auto& [name, target] : {std::pair{"device", &session.info.device},
                                       {"precision", &session.info.precision},
                                       {"unit", &session.info.unit}})
      NAS_CHECK(same_everywhere(name, *target));
    if (session.info.unit != "ns" && session.info.unit != "instructions")
      return usage_error("unit must be ns or instructions, found " + session.info.unit, csv_.where);
    if (session.info.precision != "fp32" && session.info.precision != "int8")
      return usage_error("precision must be fp32 or int8, found " + session.info.precision, csv_.where);
    NAS_TRY(key, csv_.column("signature"));
    for (std::size_t i = 0; i < csv_.rows.size(); ++i) {
      NAS_TRY(record, read_row(i, session.info.unit));
      record.signature = csv_.rows[i][key];
      session.kernels.push_back(std::move(record));
    }
    return session;
  }

 private:
  const std::string* cell(std::size_t row, const char* name) const {
    if (!csv_.has(name)) return nullptr;
    const std::string& text = csv_.rows[row][*csv_.column(name)];
    return text.empty() ? nullptr : &text;
  }

  Result<void> same_everywhere(const char* name, std::string& target) const {
    if (!csv_.has(name)) return {};
    const std::size_t at = *csv_.column(name);
    for (const auto& row : csv_.rows)
      if (row[at] != csv_.rows[0][at])
        return usage_error(
            std::string("a table is of one ") + name + ", found " + csv_.rows[0][at] + " and " + row[at],
            csv_.where);
    if (!csv_.rows.empty()) target = csv_.rows[0][at];
    return {};
  }

  Result<KernelRecord> read_row(std::size_t i, const std::string& unit) const {
    KernelRecord record;
    const std::string place = csv_.where + ":" + std::to_string(csv_.lines[i]);
    if (const std::string* failure = cell(i, "failure")) {
      record.failure = *failure;
      return record;
    }
    const bool median = csv_.has("median");
    NAS_TRY(column, csv_.column(median ? "median" : "ms"));
    NAS_TRY(time, number_at(csv_, i, column));
    if (!median && unit != "ns") return usage_error("ms cannot be the time of a table of " + unit, place);
    if (!(time > 0)) return usage_error("a time must be above 0, found " + csv_.rows[i][column], place);
    set_time(record, median ? time : time * kNanosecondsOfMs);
    for (const auto& [name, member] : kNumbers)
      if (cell(i, name) != nullptr) {
        NAS_TRY(value, number_at(csv_, i, *csv_.column(name)));
        record.*member = value;
      }
    if (cell(i, "n") != nullptr) {
      NAS_TRY(n, number_at(csv_, i, *csv_.column("n")));
      if (!(n >= 1) || n > 1e15 || n != std::floor(n))
        return usage_error("n must be a whole number above 0, found " + *cell(i, "n"), place);
      record.n = static_cast<std::uint64_t>(n);
    }
    if (const std::string* steady = cell(i, "steady")) record.steady = *steady == "1";
    if (record.low > record.high) return usage_error("low must not be above high", place);
    return record;
  }

  const Csv& csv_;
};

}  // namespace

Result<Session> read_table_csv(const std::string& text, const std::string& where) {
  NAS_TRY(csv, parse_csv(text, where));
  NAS_TRY(session, CsvTable(csv).read());
  NAS_CHECK(check_keys(session, where));
  return session;
}

std::string to_csv(const Session& session) {
  std::string text = "device,precision,unit,signature,n";
  for (const auto& [name, member] : kNumbers) text += std::string(",") + name;
  text += ",steady,failure\n";
  for (const KernelRecord& r : session.kernels) {
    text += csv_cell(session.info.device) + "," + session.info.precision + "," + session.info.unit + "," +
            csv_cell(r.signature);
    if (r.failure.empty()) {
      text += "," + std::to_string(r.n);
      for (const auto& [name, member] : kNumbers) text += "," + nlohmann::json(r.*member).dump();
      text += r.steady ? ",1," : ",0,";
    } else {
      text += std::string(kNumbers.size() + 3, ',') + csv_cell(r.failure);
    }
    text += "\n";
  }
  return text;
}

}  // namespace nas::latency
