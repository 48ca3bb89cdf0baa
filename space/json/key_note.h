#pragma once
#include <optional>
#include <string>

#include "space/json/document.h"

namespace nas {

// Tells the keys_asked() of this thread, if one is reading this document, of a key that a reader asks for.
// An empty kind: optional, and what it is follows.
void note_key(const JsonDocument& document, const std::string& pointer, const std::string& key,
              const std::string& kind, const std::optional<nlohmann::json>& fallback);

}  // namespace nas
