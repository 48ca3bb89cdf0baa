#pragma once
#include <functional>
#include <string>
#include <vector>

namespace nas {

// A key that a JsonReader asked for: what a reference of a file's format is made of.
struct KeyFact {
  std::string path;      // "targets[].limits.ram_kb"
  std::string kind;      // "a string", "a number from 0 to 1", "one of a, b"
  std::string fallback;  // as JSON; empty: none
  bool required = false;
};

// What JsonReaders of documents of this name ask for while `reading` runs on this thread: each path once, in
// the order of asking.
std::vector<KeyFact> keys_asked(const std::string& document, const std::function<void()>& reading);

}  // namespace nas
