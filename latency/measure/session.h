#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "latency/measure/device_state.h"
#include "space/base/result.h"

namespace nas::latency {

// One measuring of one device: everything that a number may depend on.
struct SessionInfo {
  std::string id;         // unique name of the session
  std::string device;     // the profile's name
  std::string profile;    // hash of the profile's text: two devices of one name are told apart
  std::string engine;     // "c", "torch", "onnxruntime", "tflite"
  std::string precision;  // "fp32", "int8"
  std::string unit;       // "ns" or "instructions"
  std::string space;      // what the kernels were reached from; empty for a network file
  std::string started;    // ISO 8601, UTC
  std::map<std::string, std::string> context =
      {};  // compiler, flags, governor, temperatures, load, options, …
};

// Energy of one run. `source`: "measured: …" with what was taken off, or "modelled: …" with the coefficients'
// origin.
struct KernelEnergy {
  double nanojoules = 0;
  std::string source;
};

// One kernel's (or whole network's) result. Numbers are in the session's unit, for one run.
struct KernelRecord {
  std::string signature;
  std::uint64_t n = 0;  // samples
  std::uint64_t visits = 0;
  double median = 0;                 // the estimate: median of the visits' medians, drift divided out
  double low = 0, high = 0;          // its interval, with what is common to the session's kernels
  double own_low = 0, own_high = 0;  // without that: at the session's speed
  double mean = 0, deviation = 0, min = 0, p05 = 0, p90 = 0;
  std::uint64_t outliers = 0;
  std::uint32_t inner = 1;
  double drift = 1;
  double spent = 0;  // seconds on the device
  bool steady = false;
  bool provisional = false;  // the session had not ended: it is measured on when that goes on
  std::uint64_t redone = 0;  // how often it was measured anew in the session; counted when a file is read
  std::uint64_t flash_bytes = 0;  // of the kernel's code and constants; 0: not known
  std::uint64_t arena_bytes = 0;
  std::vector<double> visit_medians = {};     // raw, in order
  std::vector<double> visit_references = {};  // the reference kernel's time around each; empty: not corrected
  std::map<std::string, std::uint64_t> classes = {};  // instruction classes, emulators only
  std::optional<KernelEnergy> energy = {};
  std::string failure = {};  // why there is no number
};

// What the signature of a whole network's record starts with; the architecture's text follows.
inline const std::string kNetworkPrefix = "network ";

struct Session {
  SessionInfo info;
  std::vector<KernelRecord> kernels;
  std::vector<DeviceState> states = {};  // in the order of the file
};

// One line of JSON each way; a session file is an info line and lines of records, states and context. Numbers
// survive to the last bit.
std::string to_line(const SessionInfo& info);
std::string to_line(const KernelRecord& record);
std::string to_line(const DeviceState& state);

// A session from a file's text. A last line without its end (a writer was killed) is left out; any other
// defect is an error that names file and line. Of several records of one kernel the last counts.
Result<Session> parse_session(const std::string& text, const std::string& where);
Result<Session> load_session(const std::filesystem::path& path);

// Appends records to a session file, each safe on disk before add() returns. A file that exists is continued:
// it must be of the same device, profile, engine, precision and unit.
class SessionLog {
 public:
  static Result<SessionLog> open(const std::filesystem::path& path, const SessionInfo& info);
  // A provisional record is safe with the next one that is not.
  Result<void> add(const KernelRecord& record);
  // A state is safe on disk with the next record.
  Result<void> add(const DeviceState& state);
  // Adds what was seen on the device to the session's context: one more line.
  Result<void> add_context(const std::map<std::string, std::string>& context);
  // What the file held when it was opened.
  const Session& session() const { return session_; }

  SessionLog(SessionLog&& other) noexcept;
  SessionLog& operator=(SessionLog&&) = delete;
  ~SessionLog();

 private:
  SessionLog() = default;
  int fd_ = -1;
  std::filesystem::path path_;
  Session session_;
};

}  // namespace nas::latency
