#pragma once
#include <filesystem>

#include "supernet/supernet.h"

namespace nas::supernet {

// A supernet's weights as a file, with the space they belong to.
Result<void> save_supernet(const std::filesystem::path& path, const Supernet& supernet,
                           const SearchSpace& space, const Provenance& provenance);
struct LoadedSupernet {
  Supernet supernet;
  Provenance provenance;
};
// Also reads a training checkpoint.
Result<LoadedSupernet> load_supernet(const std::filesystem::path& path, const SearchSpace& space,
                                     const SupernetOptions& options = {});

}  // namespace nas::supernet
