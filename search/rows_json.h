#pragma once
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "search/history.h"

namespace nas::search {

// Reads one key of a strategy's saved state; the error names the key.
template <class T>
Result<void> read_state(const nlohmann::json& state, const char* key, T& out) {
  const auto found = state.find(key);
  if (found == state.end()) return Error{std::string("saved search state: \"") + key + "\" is missing"};
  try {
    found->get_to(out);
  } catch (const nlohmann::json::exception& e) {
    return Error{std::string("saved search state: \"") + key + "\": " + e.what()};
  }
  return {};
}

}  // namespace nas::search
