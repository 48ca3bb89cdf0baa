#pragma once
#include <string>

namespace nas {

// A key as it stands in a JSON pointer (RFC 6901): ~ and / written as ~0 and ~1.
std::string escaped_key(const std::string& key);

// A JSON pointer as people write paths: "/search/limits/0/max" -> "search.limits[0].max".
std::string dotted_path(const std::string& pointer);

}  // namespace nas
