#pragma once
#include <string_view>

namespace nas::devices::emulator {

// Texts of the C files beside this header, so that the built program needs no source folder.
std::string_view insn_plugin_source();
std::string_view board_header();
std::string_view cortex_m_start_source();
std::string_view user_start_source();
std::string_view cortex_m_linker_script();  // with @FLASH_ORIGIN@ and the like to fill in

}  // namespace nas::devices::emulator
