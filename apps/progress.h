#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace nas::apps {

// Progress of one long step on stderr: a line redrawn at most ten times a second on a terminal, a plain line
// every 30 seconds otherwise, nothing when quiet. Drawing costs nothing that a step would notice.
class Progress {
 public:
  // `total` 0: unknown.
  Progress(std::string what, std::uint64_t total, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::uint64_t done, const std::string& note = {});

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::uint64_t total_;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point last_;
  // When the first step was done: what came before (building, opening) tells nothing of the pace.
  std::optional<std::pair<Clock::time_point, std::uint64_t>> first_;
};

// "42 s", "3 min 5 s", "2 h 10 min".
std::string duration_text(double seconds);

}  // namespace nas::apps
