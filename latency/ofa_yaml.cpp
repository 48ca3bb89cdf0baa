#include "latency/ofa_yaml.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace nas::latency {

Result<Session> read_ofa_yaml(const std::string& text, const std::string& where) {
  Session session;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    const std::size_t mean = line.find("mean:");
    if (!line.empty() && line[0] != ' ' && line[0] != '#' && line.find(": {") == std::string::npos &&
        (line.back() == ':' || line.back() == '{')) {
      KernelRecord record;
      record.signature = line.substr(0, line.size() - 1);
      session.kernels.push_back(record);
    } else if (const std::size_t brace = line.find(": {"); brace != std::string::npos && line[0] != ' ') {
      KernelRecord record;
      record.signature = line.substr(0, brace);
      session.kernels.push_back(record);
    }
    if (mean == std::string::npos) continue;
    char* rest = nullptr;
    const char* begin = line.c_str() + mean + 5;
    const double ms = std::strtod(begin, &rest);
    if (session.kernels.empty() || rest == begin || !(ms > 0) || !std::isfinite(ms))
      return usage_error("mean must be a time above 0 ms below a key, found " + line,
                         where + ":" + std::to_string(number));
    KernelRecord& r = session.kernels.back();
    r.median = r.low = r.high = r.mean = r.min = r.p05 = r.p90 = ms * 1e6;
    r.n = r.visits = 1;
  }
  for (const KernelRecord& r : session.kernels)
    if (r.n == 0) return usage_error("every key needs a mean, found none for " + r.signature, where);
  if (session.kernels.empty()) return usage_error("the table must hold at least one key, found none", where);
  return session;
}

}  // namespace nas::latency
