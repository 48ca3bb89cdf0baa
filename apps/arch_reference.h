#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "space/base/result.h"

namespace nas::apps {

// "RUN:best" (the best of the first objective on the front) or "RUN:front[3]" (its fourth network, in the
// order of `hwnas front`) as a genotype's text; RUN is a search's name or folder. Any other text comes back
// as it is.
Result<std::string> resolve_architecture(const std::filesystem::path& project, const std::string& text);

// The same for one or many: "RUN:front" is every network on the front, in its order.
Result<std::vector<std::string>> resolve_architectures(const std::filesystem::path& project,
                                                       const std::string& text);

// PROJECT/runs/NAME, or NAME itself where that is a run's folder.
std::filesystem::path run_folder(const std::filesystem::path& project, const std::string& name);

}  // namespace nas::apps
