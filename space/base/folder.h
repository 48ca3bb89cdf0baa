#pragma once
#include <filesystem>
#include <functional>

#include "space/base/result.h"

namespace nas {

// A folder as a whole: `fill` writes its files into a folder beside it, which is then renamed, so that an
// interruption leaves nothing behind the name; what it leaves beside goes with the next call for the same
// parent. Fails (usage) where `folder` exists already or another process writes it, and where `fill` does.
Result<void> write_folder(const std::filesystem::path& folder,
                          const std::function<Result<void>(const std::filesystem::path& beside)>& fill);

}  // namespace nas
