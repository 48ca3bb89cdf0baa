#include "apps/progress.h"

#include <unistd.h>

#include <cstdio>

namespace nas::apps {

Progress::Progress(std::string what, std::uint64_t total, bool quiet)
    : what_(std::move(what)),
      total_(total),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) != 0),
      last_(Clock::now()) {}

Progress::~Progress() {
  if (terminal_ && drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::update(std::uint64_t done, const std::string& note) {
  if (quiet_) return;
  const Clock::time_point now = Clock::now();
  if (!first_) first_ = {now, done};
  const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(30'000);
  if (now - last_ < pause) return;
  last_ = now;
  std::string line = what_ + " " + std::to_string(done);
  if (total_ > 0) {
    line += "/" + std::to_string(total_);
    if (done > first_->second && done < total_) {
      const double elapsed = std::chrono::duration<double>(now - first_->first).count();
      const double pace = elapsed / static_cast<double>(done - first_->second);
      line += ", " + duration_text(pace * static_cast<double>(total_ - done)) + " left";
    }
  }
  if (!note.empty()) line += ", " + note;
  if (terminal_)
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  else
    std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

std::string duration_text(double seconds) {
  char text[48];
  if (seconds < 10)
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  else if (seconds < 100)
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  else if (seconds < 3600)
    std::snprintf(text, sizeof text, "%d min %d s", static_cast<int>(seconds) / 60,
                  static_cast<int>(seconds) % 60);
  else
    std::snprintf(text, sizeof text, "%d h %d min", static_cast<int>(seconds) / 3600,
                  static_cast<int>(seconds) / 60 % 60);
  return text;
}

}  // namespace nas::apps
