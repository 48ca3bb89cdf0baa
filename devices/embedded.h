#pragma once
#include "space/base/embedded.h"

namespace nas::devices {

// The agent's C sources and the shipped device profiles, so that the built program needs no source folder.
std::span<const EmbeddedFile> agent_files();
std::span<const EmbeddedFile> profile_files();

}  // namespace nas::devices
