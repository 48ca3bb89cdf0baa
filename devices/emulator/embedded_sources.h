#pragma once
#include <string>

#include "space/base/embedded.h"

namespace nas::devices::emulator {

// The C files beside this header, so that the built program needs no source folder.
std::span<const EmbeddedFile> emulator_files();

// The text of one of them, which must exist: "insn_plugin.c", "nas_board.h", "cortex_m_start.c",
// "user_start.c", or "cortex_m.ld" with @FLASH_ORIGIN@ and the like to fill in.
std::string emulator_file(std::string_view name);

}  // namespace nas::devices::emulator
