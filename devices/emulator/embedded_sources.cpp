#include "devices/emulator/embedded_sources.h"

#include <cassert>

namespace nas::devices::emulator {

std::string emulator_file(std::string_view name) {
  for (const EmbeddedFile& file : emulator_files())
    if (file.name == name) return std::string(file.text);
  assert(false && "no such embedded file");
  return {};
}

}  // namespace nas::devices::emulator
