#include "latency/measure/session.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "space/base/file.h"

namespace nas::latency {
namespace {

using nlohmann::ordered_json;

// Reads one member into `value`; false when it is absent or of another type.
template <class T>
bool take(const ordered_json& object, const char* key, T& value) {
  const auto found = object.find(key);
  if (found == object.end()) return false;
  try {
    found->get_to(value);
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  return true;
}

template <class Record, class Visit>
void visit_fields(Record& r, const Visit& visit) {
  visit("n", r.n), visit("visits", r.visits), visit("median", r.median), visit("low", r.low);
  visit("high", r.high), visit("mean", r.mean), visit("deviation", r.deviation), visit("min", r.min);
  visit("p05", r.p05), visit("p90", r.p90), visit("outliers", r.outliers), visit("inner", r.inner);
  visit("drift", r.drift), visit("spent", r.spent), visit("steady", r.steady);
  visit("flash_bytes", r.flash_bytes), visit("arena_bytes", r.arena_bytes);
  visit("visit_medians", r.visit_medians), visit("classes", r.classes);
}

Result<SessionInfo> read_info(const ordered_json& line, const std::string& where) {
  SessionInfo info;
  std::string format;
  if (!take(line, "format", format) || format != "hwnas-session-1")
    return usage_error(
        "a session file must begin with format hwnas-session-1, found " + (format.empty() ? "none" : format),
        where);
  for (const auto& [key, target] : {std::pair{"id", &info.id},
                                    {"device", &info.device},
                                    {"profile", &info.profile},
                                    {"engine", &info.engine},
                                    {"precision", &info.precision},
                                    {"unit", &info.unit},
                                    {"space", &info.space},
                                    {"started", &info.started}})
    if (!take(line, key, *target))
      return usage_error(std::string("the session's ") + key + " is missing", where);
  if (!take(line, "context", info.context)) return usage_error("the session's context is missing", where);
  if (info.unit != "ns" && info.unit != "instructions")
    return usage_error("unit must be ns or instructions, found " + info.unit, where);
  return info;
}

Result<KernelRecord> read_record(const ordered_json& line, const std::string& where) {
  KernelRecord record;
  if (!take(line, "signature", record.signature) || record.signature.empty())
    return usage_error("a record needs the kernel's signature, found none", where);
  if (take(line, "failure", record.failure)) {
    if (record.failure.empty()) return usage_error("a failure needs its reason, found none", where);
    return record;
  }
  const char* missing = nullptr;
  visit_fields(record, [&](const char* key, auto& value) {
    if (!take(line, key, value)) missing = missing == nullptr ? key : missing;
  });
  // Not in files of earlier versions.
  if (!take(line, "own_low", record.own_low)) record.own_low = record.low;
  if (!take(line, "own_high", record.own_high)) record.own_high = record.high;
  take(line, "provisional", record.provisional);
  take(line, "visit_references", record.visit_references);
  if (missing != nullptr)
    return usage_error(std::string("a record needs ") + missing + ", found none", where);
  if (KernelEnergy energy; take(line, "nanojoules", energy.nanojoules)) {
    if (!(energy.nanojoules > 0) || !take(line, "energy_source", energy.source))
      return usage_error("an energy must be above 0 nJ and name its source", where);
    record.energy = std::move(energy);
  }
  if (!(record.median > 0) || !std::isfinite(record.median) || !(record.low <= record.high))
    return usage_error("a record's median must be above 0 and its interval in order, found median " +
                           std::to_string(record.median),
                       where);
  return record;
}

Result<DeviceState> read_state_line(const ordered_json& line, const std::string& where) {
  DeviceState state;
  if (!take(line, "time", state.time) || !take(line, "references", state.references) ||
      state.references.empty())
    return usage_error("a state needs time and references, found less", where);
  for (const auto& [kernel, value] : state.references)
    if (!(value > 0))
      return usage_error("a reference's value must be above 0, found " + std::to_string(value), where);
  for (const auto& [key, target] :
       {std::pair{"clock_mhz", &state.clock_mhz}, {"celsius", &state.celsius}, {"load", &state.load}})
    if (double value = 0; line.contains(key)) {
      if (!take(line, key, value))
        return usage_error(std::string("a state's ") + key + " must be a number, found something else",
                           where);
      *target = value;
    }
  return state;
}

// Is `later` the same measuring as `earlier`, with visits added or none?
bool goes_on(const KernelRecord& earlier, const KernelRecord& later) {
  return earlier.failure.empty() && later.visit_medians.size() >= earlier.visit_medians.size() &&
         std::equal(earlier.visit_medians.begin(), earlier.visit_medians.end(), later.visit_medians.begin());
}

void put(Session& session, KernelRecord record) {
  for (KernelRecord& known : session.kernels)
    if (known.signature == record.signature) {
      record.redone = known.redone + (goes_on(known, record) ? 0 : 1);
      known = std::move(record);
      return;
    }
  session.kernels.push_back(std::move(record));
}

Result<void> append(int fd, const std::string& line, const std::filesystem::path& path, bool safe = true) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t put = ::write(fd, line.data() + done, line.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0)
      return Error{std::string("cannot write the session file: ") + std::strerror(errno), path.string()};
    done += static_cast<std::size_t>(put);
  }
  if (safe && ::fdatasync(fd) != 0)
    return Error{std::string("cannot write the session file: ") + std::strerror(errno), path.string()};
  return {};
}

Result<void> same_session(const SessionInfo& file, const SessionInfo& now, const std::string& where) {
  for (const auto& [what, a, b] : {std::tuple{"device", &file.device, &now.device},
                                   {"profile", &file.profile, &now.profile},
                                   {"engine", &file.engine, &now.engine},
                                   {"precision", &file.precision, &now.precision},
                                   {"unit", &file.unit, &now.unit}})
    if (*a != *b)
      return usage_error(
          std::string("the session file is of another ") + what + ": it must be " + *b + ", found " + *a,
          where);
  return {};
}

}  // namespace

std::string to_line(const SessionInfo& info) {
  ordered_json line{{"format", "hwnas-session-1"}, {"id", info.id},         {"device", info.device},
                    {"profile", info.profile},     {"engine", info.engine}, {"precision", info.precision},
                    {"unit", info.unit},           {"space", info.space},   {"started", info.started},
                    {"context", info.context}};
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string to_line(const KernelRecord& record) {
  ordered_json line{{"signature", record.signature}};
  if (!record.failure.empty())
    line["failure"] = record.failure;
  else {
    visit_fields(record, [&](const char* key, const auto& value) { line[key] = value; });
    if (record.own_high > 0) line["own_low"] = record.own_low, line["own_high"] = record.own_high;
    if (record.provisional) line["provisional"] = true;
    if (!record.visit_references.empty()) line["visit_references"] = record.visit_references;
  }
  if (record.energy) {
    line["nanojoules"] = record.energy->nanojoules;
    line["energy_source"] = record.energy->source;
  }
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string to_line(const DeviceState& state) {
  ordered_json json{{"time", state.time}, {"references", state.references}};
  if (state.clock_mhz) json["clock_mhz"] = *state.clock_mhz;
  if (state.celsius) json["celsius"] = *state.celsius;
  if (state.load) json["load"] = *state.load;
  return ordered_json{{"state", json}}.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<Session> parse_session(const std::string& text, const std::string& where) {
  Session session;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const std::string place = where + ":" + std::to_string(++number);
    const ordered_json line =
        ordered_json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    at = end + 1;
    if (!line.is_object()) return usage_error("a line must be a JSON object, found something else", place);
    if (number == 1) {
      NAS_TRY(info, read_info(line, place));
      session.info = std::move(info);
    } else if (std::map<std::string, std::string> more; take(line, "context", more)) {
      for (auto& [key, value] : more) session.info.context[key] = std::move(value);
    } else if (line.contains("state")) {
      NAS_TRY(state, read_state_line(line["state"], place));
      session.states.push_back(std::move(state));
    } else {
      NAS_TRY(record, read_record(line, place));
      put(session, std::move(record));
    }
  }
  if (number == 0) return usage_error("a session file must hold at least its first line, found none", where);
  return session;
}

Result<Session> load_session(const std::filesystem::path& path) {
  NAS_TRY(text, read_file(path, std::uint64_t{1} << 30));
  return parse_session(text, path.string());
}

Result<SessionLog> SessionLog::open(const std::filesystem::path& path, const SessionInfo& info) {
  SessionLog log;
  log.path_ = path;
  log.session_.info = info;
  bool fresh = true;
  std::uintmax_t whole = 0;
  if (std::filesystem::exists(path)) {
    NAS_TRY(text, read_file(path, std::uint64_t{1} << 30));
    // Cut off what a killed writer left of its last line.
    whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
    if (whole > 0) {
      NAS_TRY(session, parse_session(text, path.string()));
      NAS_CHECK(same_session(session.info, info, path.string()));
      log.session_ = std::move(session);
      fresh = false;
    }
  } else if (path.has_parent_path()) {
    std::error_code ignored;
    std::filesystem::create_directories(path.parent_path(), ignored);
  }
  log.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log.fd_ < 0 || ::ftruncate(log.fd_, static_cast<off_t>(whole)) != 0)
    return Error{std::string("cannot open the session file: ") + std::strerror(errno), path.string()};
  if (fresh) NAS_CHECK(append(log.fd_, to_line(info), path));
  return log;
}

Result<void> SessionLog::add(const KernelRecord& record) {
  NAS_CHECK(append(fd_, to_line(record), path_, !record.provisional));
  put(session_, record);
  return {};
}

Result<void> SessionLog::add(const DeviceState& state) {
  NAS_CHECK(append(fd_, to_line(state), path_, false));
  session_.states.push_back(state);
  return {};
}

Result<void> SessionLog::add_context(const std::map<std::string, std::string>& context) {
  for (const auto& [key, value] : context) session_.info.context[key] = value;
  const ordered_json line{{"context", context}};
  return append(fd_, line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n", path_);
}

SessionLog::SessionLog(SessionLog&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), session_(std::move(other.session_)) {}

SessionLog::~SessionLog() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace nas::latency
