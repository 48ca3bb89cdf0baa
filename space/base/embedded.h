#pragma once
#include <span>
#include <string_view>

namespace nas {

// A file compiled into the program (cmake/embed.cmake).
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

}  // namespace nas
