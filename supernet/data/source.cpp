#include "supernet/data/source.h"

#include "supernet/data/procedural.h"

namespace nas::data {

std::string to_string(Part part) {
  switch (part) {
    case Part::whole:
      return "whole";
    case Part::train:
      return "train";
    case Part::validation:
      return "validation";
    case Part::test:
      break;
  }
  return "test";
}

Result<Source> open_source(const std::string& path) {
  constexpr std::string_view kGenerated = "procedural:";
  if (path.starts_with(kGenerated)) {
    NAS_TRY(options, parse_procedural(path.substr(kGenerated.size())));
    return procedural_source(options);
  }
  return usage_error("not a data set", path);
}

}  // namespace nas::data
