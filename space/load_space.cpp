#include <algorithm>
#include <filesystem>

#include "space/base/embedded.h"
#include "space/base/file.h"
#include "space/family.h"

namespace nas {

std::span<const EmbeddedFile> builtin_space_files();

namespace {

SpaceTraits read_traits(JsonReader& reader) {
  JsonReader traits = reader.object("traits");
  SpaceTraits made;
  made.kernel_transform = traits.flag("kernel_transform", made.kernel_transform);
  made.bn_eps = traits.number("bn_eps", 1e-8, 1, made.bn_eps);
  made.bn_momentum = traits.number("bn_momentum", 0, 1, made.bn_momentum);
  made.dropout = traits.number("dropout", 0, 0.99, made.dropout);
  traits.done();
  return made;
}

Result<JsonDocument> changed(const JsonDocument& document, const SpaceOverrides& change) {
  if ((change.classes == 0 && change.resolutions.empty()) || !document.root().is_object()) return document;
  nlohmann::json root = document.root();
  if (change.classes > 0) root["classes"] = change.classes;
  if (!change.resolutions.empty()) {
    const std::string family = root.value("family", nlohmann::json("staged")).dump();
    if (family == "\"hat\"")
      return usage_error("space " + document.name() + ": reads tokens and takes no resolution");
    root["resolution"] = change.resolutions;
  }
  return JsonDocument::parse(root.dump(1), document.name());
}

}  // namespace

Result<SearchSpace> parse_space(std::string_view json_text, const std::string& where,
                                const SpaceOverrides& change) {
  NAS_TRY(original, JsonDocument::parse(json_text, where));
  NAS_TRY(document, changed(original, change));
  std::vector<Error> errors;
  JsonReader reader(document, errors);
  if (!errors.empty()) return join_errors(errors);  // no object at all
  const std::string name = reader.text("name");
  reader.text("description", "");
  const SpaceTraits traits = read_traits(reader);
  const std::string family =
      reader.word("family", {"staged", "resnet50d", "autoformer", "hat", "nasbench201"}, "staged");
  FamilyParts parts = family == "staged"       ? read_staged(reader)
                      : family == "resnet50d"  ? read_resnet50d(reader)
                      : family == "autoformer" ? read_autoformer(reader)
                      : family == "hat"        ? read_hat(reader)
                                               : read_nasbench201(reader);
  reader.done();
  if (!errors.empty()) return join_errors(errors);
  NAS_TRY(space, SearchSpace::make(name, document.root().dump(), std::move(parts.genes),
                                   std::move(parts.lower), traits));
  // The two ends of the space tell whether shapes can go wrong; the rest lies between.
  for (const Genotype& g : {space.smallest(), space.largest()})
    if (const auto valid = validate(space.lower(g)); !valid)
      return usage_error("space " + name + ": " + valid.error().message, where);
  return space;
}

std::vector<std::string> builtin_space_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : builtin_space_files())
    names.emplace_back(file.name.substr(0, file.name.rfind('.')));
  std::sort(names.begin(), names.end());
  return names;
}

Result<SearchSpace> load_space(const std::string& name_or_path, const SpaceOverrides& change) {
  for (const EmbeddedFile& file : builtin_space_files())
    if (file.name.substr(0, file.name.rfind('.')) == name_or_path)
      return parse_space(file.text, name_or_path, change);
  std::error_code ignored;
  if (name_or_path.ends_with(".json") || std::filesystem::exists(name_or_path, ignored)) {
    auto text = read_file(name_or_path, std::uint64_t{64} << 20);
    if (!text) return usage_error("search space: " + text.error().message, text.error().where);
    return parse_space(*text, name_or_path, change);
  }
  const std::string hint = nearest(name_or_path, builtin_space_names());
  return usage_error(
      "unknown search space \"" + name_or_path + "\"" +
      (hint.empty() ? "; `hwnas space list` shows the built-in ones" : "; did you mean \"" + hint + "\"?"));
}

}  // namespace nas
