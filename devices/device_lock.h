#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "space/base/result.h"

namespace nas::devices {

// Who measures on a device now, and until when at most.
struct LockInfo {
  std::string device;
  std::string owner;  // user@host
  std::string reason;
  std::int64_t pid = 0;      // 0: taken by hand, not bound to a process
  std::int64_t expires = 0;  // seconds since 1970
  std::int64_t started = 0;  // when the process was, in the kernel's ticks; take() looks it up. 0: unknown
};

// One exclusive lock per device: a file in a folder that all users of the device share. A lock is void when
// it has expired or when its process on this machine is gone (another one of the same number is not it).
// Releases itself when destroyed.
class DeviceLock {
 public:
  // `now` is seconds since 1970. Waits up to a second for a process here that is just ending. Fails with
  // "lock held: by … for … until …".
  static Result<DeviceLock> take(const std::filesystem::path& folder, LockInfo wanted, std::int64_t now);
  // The lock in force at `now`; empty when there is none.
  static Result<std::optional<LockInfo>> look(const std::filesystem::path& folder, const std::string& device,
                                              std::int64_t now);
  // Removes whatever lock there is; true when there was one.
  static bool release(const std::filesystem::path& folder, const std::string& device);

  // Leaves the lock in place for `device unlock` to remove.
  void keep() { path_.clear(); }
  DeviceLock(DeviceLock&& other) noexcept
      : path_(std::exchange(other.path_, {})), text_(std::move(other.text_)) {}
  DeviceLock& operator=(DeviceLock&&) = delete;
  ~DeviceLock();

 private:
  DeviceLock(std::filesystem::path path, std::string text) : path_(std::move(path)), text_(std::move(text)) {}
  std::filesystem::path path_;
  std::string text_;
};

// Where locks and builds are kept for this user: $XDG_CACHE_HOME/hwnas, else ~/.cache/hwnas, else
// /tmp/hwnas-UID.
std::filesystem::path cache_folder();
// user@host, of this process.
std::string lock_owner();

}  // namespace nas::devices
