#include "space/json/pointer.h"

#include <algorithm>
#include <utility>

namespace nas {

std::string escaped_key(const std::string& key) {
  std::string out;
  for (const char c : key)
    out += c == '~' ? std::string("~0") : c == '/' ? std::string("~1") : std::string(1, c);
  return out;
}

std::string dotted_path(const std::string& pointer) {
  std::string out;
  std::size_t i = 0;
  while (i < pointer.size()) {
    const std::size_t end = std::min(pointer.find('/', i + 1), pointer.size());
    std::string part = pointer.substr(i + 1, end - i - 1);
    for (const auto& [from, to] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
      for (std::size_t p = part.find(from); p != std::string::npos; p = part.find(from, p + 1))
        part.replace(p, 2, to);
    const bool index = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    out += index ? "[" + part + "]" : (out.empty() ? "" : ".") + part;
    i = end;
  }
  return out;
}

}  // namespace nas
