#include "space/base/folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "space/base/file.h"

namespace nas {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".tmp-";
constexpr std::size_t kDigits = 8;

// A folder's lock; it ends with the process, also with one that is killed.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder)
      : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        held_(fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0) {}
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_;
};

bool half_written(const std::string& name) {
  if (name.size() <= kMark.size() + kDigits) return false;
  const std::size_t digits = name.size() - kDigits;
  return name.compare(digits - kMark.size(), kMark.size(), kMark) == 0 &&
         name.find_first_not_of("0123456789abcdef", digits) == std::string::npos;
}

// What interrupted writers left beside; folders that are being written are locked.
void remove_leftovers(const fs::path& parent) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(parent, ignored))
    if (entry.is_directory(ignored) && half_written(entry.path().filename().string()))
      found.push_back(entry.path());
  for (const fs::path& folder : found)
    if (const FolderLock lock(folder); lock.held()) fs::remove_all(folder, ignored);
}

}  // namespace

Result<void> write_folder(const fs::path& folder,
                          const std::function<Result<void>(const fs::path& beside)>& fill) {
  std::error_code failed;
  remove_leftovers(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
  if (fs::exists(folder, failed)) return usage_error("the folder exists already", folder.string());
  const fs::path beside = folder.string() + std::string(kMark) + sha256(folder.string()).substr(0, kDigits);
  fs::create_directories(beside, failed);
  if (failed) return Error{"cannot make the folder: " + failed.message(), beside.string()};
  const FolderLock lock(beside);
  if (!lock.held()) return usage_error("another process is writing this folder", folder.string());
  auto filled = fill(beside);
  if (filled) {
    fs::rename(beside, folder, failed);
    if (!failed) return {};
    filled = Error{"cannot rename the finished folder: " + failed.message(), folder.string()};
  }
  fs::remove_all(beside, failed);
  return filled;
}

}  // namespace nas
