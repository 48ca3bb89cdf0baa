#pragma once
#include <string>
#include <vector>

#include "space/base/result.h"
#include "space/json/key_facts.h"

namespace nas::apps {

// The keys that the readers of hwnas.json and of search files ask for, in that order.
std::vector<KeyFact> project_keys();
std::vector<KeyFact> search_keys();

// docs/configuration.md: every key with its kind, default and meaning. Fails, naming it, on a key without a
// meaning and on a meaning without a key.
Result<std::string> configuration_page();

}  // namespace nas::apps
