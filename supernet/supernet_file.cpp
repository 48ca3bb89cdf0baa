#include "supernet/supernet_file.h"

#include <algorithm>
#include <cstdlib>

#include "supernet/tensor_file.h"

namespace nas::supernet {

Result<void> save_supernet(const std::filesystem::path& path, const Supernet& supernet,
                           const SearchSpace& space, const Provenance& provenance) {
  TensorFile file;
  file.tensors = supernet.parameters();
  file.metadata = {{"format", "hwnas-supernet-1"},
                   {"space", space.name()},
                   {"space_fingerprint", to_string(space.fingerprint())},
                   {"recipe", provenance.recipe},
                   {"data_fingerprint", provenance.data_fingerprint},
                   {"steps", std::to_string(provenance.steps)},
                   {"note", provenance.note}};
  return save_tensors(path, file);
}

Result<LoadedSupernet> load_supernet(const std::filesystem::path& path, const SearchSpace& space,
                                     const SupernetOptions& options) {
  NAS_TRY(file, load_tensors(path));
  const auto get = [&](const char* key) {
    const auto it = file.metadata.find(key);
    return it == file.metadata.end() ? std::string() : it->second;
  };
  if (get("space_fingerprint") != to_string(space.fingerprint()))
    return usage_error("these weights belong to a space with fingerprint " + get("space_fingerprint") +
                           ", not to " + space.name() + " (" + to_string(space.fingerprint()) + ")",
                       path.string());
  std::vector<NamedTensor> values;
  const bool checkpoint = get("format") == "hwnas-checkpoint-1";
  const bool averaged = std::any_of(file.tensors.begin(), file.tensors.end(),
                                    [](const NamedTensor& t) { return t.name.starts_with("average/"); });
  const std::string prefix = !checkpoint ? "" : averaged ? "average/" : "weight/";
  for (NamedTensor& t : file.tensors)
    if (t.name.starts_with(prefix)) {
      t.name.erase(0, prefix.size());
      values.push_back(std::move(t));
    }
  NAS_TRY(supernet, Supernet::make(space, options));
  if (auto set = supernet.set_parameters(values); !set) return Error{set.error().message, path.string()};
  Provenance p{space.name(), get("space_fingerprint"), "", get("recipe"), get("data_fingerprint"), 0,
               get("note")};
  p.steps = std::strtoll(get(checkpoint ? "step" : "steps").c_str(), nullptr, 10);
  return LoadedSupernet{std::move(supernet), p};
}

}  // namespace nas::supernet
