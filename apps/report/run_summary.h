#pragma once
#include <filesystem>

#include "apps/command.h"

namespace nas::apps {

// `hwnas show RUN`: the curves of a search (hypervolume, best) or of a training run (loss, accuracy), each as
// a line of blocks with its first, last, lowest and highest number; the JSON forms hold the curve itself.
// Fails (usage) when the folder is neither.
Result<int> show_curves(const Context& context, const std::filesystem::path& folder);

}  // namespace nas::apps
