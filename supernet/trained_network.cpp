#include "supernet/trained_network.h"

#include <cmath>
#include <cstdlib>
#include <set>

#include "space/base/file.h"
#include "supernet/network_json.h"
#include "supernet/parts.h"

namespace nas::supernet {
namespace {

constexpr const char* kFormat = "hwnas-network-1";

std::string text(const std::vector<std::int64_t>& shape) {
  std::string s;
  for (const std::int64_t d : shape) s += (s.empty() ? "" : "x") + std::to_string(d);
  return s;
}

using Need = std::pair<std::string, std::vector<std::int64_t>>;
std::vector<Need> needs(const Layer& layer) {
  std::vector<Need> all;
  for (const PartShape& p : parts_of(layer)) all.emplace_back(std::string(to_string(p.part)), p.shape);
  if (layer.kind == LayerKind::batch_norm)
    for (const char* part : {"mean", "variance"})
      all.emplace_back(part, std::vector<std::int64_t>{layer.out.channels});
  return all;
}

}  // namespace

const NamedTensor* TrainedNetwork::find(std::size_t layer, std::string_view part) const {
  const std::string name = layer_name(network.layers[layer]) + "." + std::string(part);
  for (const NamedTensor& t : tensors)
    if (t.name == name) return &t;
  return nullptr;
}

Result<void> check(const TrainedNetwork& trained) {
  NAS_CHECK(validate(trained.network));
  std::set<std::string> used;
  for (std::size_t i = 0; i < trained.network.layers.size(); ++i)
    for (const auto& [part, shape] : needs(trained.network.layers[i])) {
      const NamedTensor* t = trained.find(i, part);
      const std::string name = layer_name(trained.network.layers[i]) + "." + part;
      if (!t) return Error{"trained network: no tensor \"" + name + "\""};
      if (t->shape != shape)
        return Error{"trained network: tensor \"" + name + "\" must be " + text(shape) + ", found " +
                     text(t->shape)};
      for (const float v : t->values)
        if (!std::isfinite(v) || (part == "variance" && v < 0))
          return Error{"trained network: tensor \"" + name + "\" holds " + std::to_string(v)};
      used.insert(name);
    }
  for (const NamedTensor& t : trained.tensors)
    if (!used.contains(t.name))
      return Error{"trained network: tensor \"" + t.name + "\" belongs to no layer"};
  return {};
}

std::string to_bytes(const TrainedNetwork& trained) {
  const Provenance& p = trained.provenance;
  TensorFile file;
  file.tensors = trained.tensors;
  file.metadata = {{"format", kFormat},
                   {"network", network_to_json(trained.network)},
                   {"batch_norm_epsilon", std::to_string(trained.batch_norm_epsilon * 1e12)},
                   {"space", p.space},
                   {"space_fingerprint", p.space_fingerprint},
                   {"genotype", p.genotype},
                   {"recipe", p.recipe},
                   {"data_fingerprint", p.data_fingerprint},
                   {"steps", std::to_string(p.steps)},
                   {"note", p.note}};
  return to_bytes(file);
}

Result<TrainedNetwork> trained_from_bytes(std::string_view bytes, const std::string& where) {
  NAS_TRY(file, from_bytes(bytes, where));
  const auto& m = file.metadata;
  const auto get = [&](const char* key) {
    const auto it = m.find(key);
    return it == m.end() ? std::string() : it->second;
  };
  if (get("format") != kFormat)
    return Error{
        "not a trained network: format must be " + std::string(kFormat) + ", found \"" + get("format") + "\"",
        where};
  TrainedNetwork trained;
  NAS_TRY(network, network_from_json(get("network"), where));
  trained.network = std::move(network);
  trained.tensors = std::move(file.tensors);
  trained.batch_norm_epsilon = std::strtod(get("batch_norm_epsilon").c_str(), nullptr) * 1e-12;
  if (!(trained.batch_norm_epsilon > 0 && trained.batch_norm_epsilon <= 1))
    return Error{"trained network: batch_norm_epsilon must be in (0, 1]", where};
  trained.provenance = {
      get("space"),  get("space_fingerprint"), get("genotype"),
      get("recipe"), get("data_fingerprint"),  std::strtoll(get("steps").c_str(), nullptr, 10),
      get("note")};
  if (auto good = check(trained); !good) return Error{good.error().message, where};
  return trained;
}

Result<void> save(const std::filesystem::path& path, const TrainedNetwork& trained) {
  NAS_CHECK(check(trained));
  return write_file(path, to_bytes(trained));
}

Result<TrainedNetwork> load_trained(const std::filesystem::path& path) {
  NAS_TRY(bytes, read_file(path));
  return trained_from_bytes(bytes, path.string());
}

}  // namespace nas::supernet
