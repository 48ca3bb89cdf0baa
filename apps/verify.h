#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// Checks the sums of an exported folder, then runs its test vectors here and on emulated boards: a record a
// runtime with "state" equal, differs or not run. Fails when a file was changed.
Result<std::vector<nlohmann::ordered_json>> verify_folder(const std::string& folder,
                                                          const std::string& cache);

// $HWNAS_CACHE, else ~/.cache/hwnas.
std::string cache_folder();

}  // namespace nas::apps
