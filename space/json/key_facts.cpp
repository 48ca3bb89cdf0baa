#include "space/json/key_facts.h"

#include <algorithm>

#include "space/json/key_note.h"
#include "space/json/pointer.h"

namespace nas {
namespace {

// Set by keys_asked() only: where to note the keys of which document.
thread_local std::vector<KeyFact>* t_noted = nullptr;
thread_local std::string t_document;

}  // namespace

std::vector<KeyFact> keys_asked(const std::string& document, const std::function<void()>& reading) {
  std::vector<KeyFact> facts;
  t_noted = &facts;
  t_document = document;
  reading();
  t_noted = nullptr;
  return facts;
}

void note_key(const JsonDocument& document, const std::string& pointer, const std::string& key,
              const std::string& kind, const std::optional<nlohmann::json>& fallback) {
  if (t_noted == nullptr || document.name() != t_document) return;
  std::string path;
  bool index = false;  // "targets[].name" of "/targets/0/name"
  for (const char c : dotted_path(pointer + "/" + escaped_key(key))) {
    if (!index || c == ']') path += c;
    index = c == '[' || (index && c != ']');
  }
  const auto known =
      std::find_if(t_noted->begin(), t_noted->end(), [&](const KeyFact& f) { return f.path == path; });
  if (known == t_noted->end())
    t_noted->push_back({path, kind, fallback ? fallback->dump() : "", !fallback && !kind.empty()});
  else if (known->kind.empty())
    known->kind = kind;
}

}  // namespace nas
