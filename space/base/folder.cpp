#include "space/base/folder.h"

#include "space/base/file.h"

namespace nas {

namespace fs = std::filesystem;

Result<void> write_folder(const fs::path& folder,
                          const std::function<Result<void>(const fs::path& beside)>& fill) {
  std::error_code failed;
  if (fs::exists(folder, failed)) return usage_error("the folder exists already", folder.string());
  const fs::path beside = folder.string() + ".tmp-" + sha256(folder.string()).substr(0, 8);
  fs::remove_all(beside, failed);
  fs::create_directories(beside, failed);
  if (failed) return Error{"cannot make the folder: " + failed.message(), beside.string()};
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
