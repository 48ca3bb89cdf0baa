#include "devices/device_lock.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "devices/failure.h"
#include "space/base/file.h"

namespace nas::devices {
namespace {

namespace fs = std::filesystem;

fs::path path_of(const fs::path& folder, const std::string& device) { return folder / (device + ".lock"); }

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

std::string text_of(const LockInfo& info) {
  return one_line(info.device) + "\n" + one_line(info.owner) + "\n" + one_line(info.reason) + "\n" +
         std::to_string(info.pid) + "\n" + std::to_string(info.expires) + "\n" +
         std::to_string(info.started) + "\n";
}

std::optional<LockInfo> parse(const std::string& text) {
  std::istringstream lines(text);
  LockInfo info;
  if (!std::getline(lines, info.device) || !std::getline(lines, info.owner) ||
      !std::getline(lines, info.reason) || !(lines >> info.pid >> info.expires))
    return {};
  if (!(lines >> info.started)) info.started = 0;
  return info;
}

struct ProcessState {
  char state = 'X';
  std::int64_t started = 0;
};

// Of /proc/PID/stat; nothing where there is no such process, or no /proc.
std::optional<ProcessState> process_state(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");  // its size says 0: no read_file()
  std::string stat;
  std::getline(file, stat);
  const auto name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 2));
  ProcessState found;
  fields >> found.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  if (!(fields >> found.started)) return {};
  return found;
}

// A process that was killed may stay as a zombie until somebody collects it: it holds nothing any more.
bool is_alive(const LockInfo& info) {
  if (::kill(static_cast<pid_t>(info.pid), 0) != 0 && errno != EPERM) return false;
  const auto found = process_state(info.pid);
  if (!found) return true;  // no /proc here
  if (found->state == 'Z' || found->state == 'X') return false;
  return info.started == 0 || found->started == info.started;
}

bool in_force(const LockInfo& info, std::int64_t now) {
  if (info.expires <= now) return false;
  if (info.pid == 0 || info.owner != lock_owner()) return true;
  return is_alive(info);
}

std::string utc(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  std::array<char, 32> text;
  gmtime_r(&time, &parts);
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

// Makes look-and-write one step for all processes of the folder.
class FolderGuard {
 public:
  explicit FolderGuard(const fs::path& folder)
      : fd_(::open((folder / ".guard").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0) {
      ::close(fd_);
      fd_ = -1;
    }
  }
  FolderGuard(const FolderGuard&) = delete;
  FolderGuard& operator=(const FolderGuard&) = delete;
  ~FolderGuard() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool held() const { return fd_ >= 0; }

 private:
  int fd_;
};

}  // namespace

Result<std::optional<LockInfo>> DeviceLock::look(const fs::path& folder, const std::string& device,
                                                 std::int64_t now) {
  const fs::path path = path_of(folder, device);
  if (!fs::exists(path)) return std::optional<LockInfo>{};
  NAS_TRY(text, read_file(path, 1 << 16));
  const std::optional<LockInfo> info = parse(text);
  if (!info || !in_force(*info, now)) return std::optional<LockInfo>{};
  return info;
}

Result<DeviceLock> DeviceLock::take(const fs::path& folder, LockInfo wanted, std::int64_t now) {
  constexpr int kTries = 10;
  constexpr std::chrono::milliseconds kPause{100};
  std::error_code code;
  fs::create_directories(folder, code);
  if (wanted.pid != 0) wanted.started = process_state(wanted.pid).value_or(ProcessState{}).started;
  for (int attempt = 1;; ++attempt) {
    {
      const FolderGuard guard(folder);
      if (!guard.held())
        return Error{std::string("the lock folder cannot be used: ") + std::strerror(errno), folder.string()};
      NAS_TRY(held, look(folder, wanted.device, now));
      if (!held) {
        const std::string text = text_of(wanted);
        const fs::path path = path_of(folder, wanted.device);
        NAS_CHECK(write_file(path, text));
        return DeviceLock(path, text);
      }
      const bool of_here = held->pid != 0 && held->owner == lock_owner();
      if (!of_here || attempt == kTries)
        return device_failure(Failure::lock_held,
                              "by " + held->owner + " for \"" + held->reason + "\" until " +
                                  utc(held->expires) + " (hwnas device unlock " + wanted.device +
                                  " removes it)",
                              wanted.device);
    }
    std::this_thread::sleep_for(kPause);
  }
}

bool DeviceLock::release(const fs::path& folder, const std::string& device) {
  std::error_code code;
  return fs::remove(path_of(folder, device), code);
}

DeviceLock::~DeviceLock() {
  if (path_.empty()) return;
  // Somebody may have broken this lock and taken his own: only ours is removed.
  const auto text = read_file(path_, 1 << 16);
  std::error_code ignored;
  if (text && *text == text_) fs::remove(path_, ignored);
}

fs::path cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return fs::path(cache) / "hwnas";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return fs::path(home) / ".cache" / "hwnas";
  return fs::path("/tmp") / ("hwnas-" + std::to_string(::getuid()));
}

std::string lock_owner() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = 0;
  const passwd* user = ::getpwuid(::getuid());
  return (user != nullptr ? std::string(user->pw_name) : std::to_string(::getuid())) + "@" + host.data();
}

}  // namespace nas::devices
